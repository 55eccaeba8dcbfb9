//! Facts of a pair.

use super::state::{Ended, Matched, State, Swipe, conversation_of};
use crate::{
    DOMAIN_NAME,
    event::{
        BLOCKED, BlockDecided, BlockOutcome, BlockRow, LiveEvent, MATCHED, MatchRow, SWIPE, SwipeOutcome, SwipeRow,
        UNMATCHED, UnmatchOutcome,
    },
    model::{MatchStatus, Pair, SwipeAction},
    view,
};
use velvet_kernel::{
    fold::{Effects, Moment, Version},
    id::UserId,
};

/// A swipe replaces the earlier one of the same person; the second like makes the one match.
pub fn swiped(
    state: &mut State,
    pair: Pair,
    swiper: UserId,
    action: SwipeAction,
    at: &Moment<'_>,
    effects: &mut Effects,
) {
    let Some(other) = pair.other(swiper) else { return };
    if let Some(first) = state.swipe_of(pair, swiper).filter(|swipe| swipe.event_id == at.event_id) {
        let completed = first.completed.then(|| state.document(pair)).flatten();
        effects.answer(&SwipeOutcome::Swiped { completed });
        return;
    }
    if !state.blocked_by.is_empty() {
        effects.answer(&SwipeOutcome::NotFound);
        return;
    }
    let waited = waiting(state, pair);
    let liked_back = state.swipe_of(pair, other).is_some_and(|swipe| swipe.action.likes());
    let completed = action.likes() && liked_back && state.matched.is_none();
    let swipe = Swipe { action, at: at.time, event_id: at.event_id, completed, version: at.version };
    state.set_swipe(pair, swiper, swipe);
    effects.view(view::mark_swiped(swiper, other));
    effects.decide(SWIPE, swiper.to_string(), &swipe_row(swiper, other, &swipe));
    if completed {
        state.matched = Some(Matched { at: at.time, conversation_open: false, ended: None });
        decide_rows(state, pair, MATCHED, effects);
        show_match(state, pair, at.version, effects);
    }
    show_super_likes(state, pair, waited, at.version, effects);
    let completed = completed.then(|| state.document(pair)).flatten();
    effects.answer(&SwipeOutcome::Swiped { completed });
}

/// Ends the match, for both and for good.
pub fn unmatched(state: &mut State, pair: Pair, by: UserId, at: &Moment<'_>, effects: &mut Effects) {
    if end(state, Ended { at: at.time, by, status: MatchStatus::Unmatched }) {
        announce_end(state, pair, at.version, effects);
        effects.answer(&UnmatchOutcome::Unmatched);
    } else {
        effects.answer(&UnmatchOutcome::NotFound);
    }
}

/// Hides the two from each other for good, and ends their match.
pub fn blocked(state: &mut State, pair: Pair, by: UserId, at: &Moment<'_>, effects: &mut Effects) {
    let Some(other) = pair.other(by) else { return };
    if state.blocked_by.contains(&by) {
        effects.answer(&BlockOutcome::Standing);
        return;
    }
    let waited = waiting(state, pair);
    add_block(state, by);
    let row = BlockRow { blocker_id: by, blocked_id: other, blocked_at: at.time };
    effects.decide(BLOCKED, by.to_string(), &BlockDecided { row, event_id: at.event_id });
    if end(state, Ended { at: at.time, by, status: MatchStatus::Blocked }) {
        announce_end(state, pair, at.version, effects);
    }
    show_super_likes(state, pair, waited, at.version, effects);
    effects.block(DOMAIN_NAME, by, other);
    effects.answer(&BlockOutcome::Blocked);
}

/// The conversation is there, so the match can be shown whole.
pub fn conversation_opened(state: &mut State, pair: Pair, at: &Moment<'_>, effects: &mut Effects) {
    let Some(matched) = state.matched.as_mut().filter(|matched| !matched.conversation_open) else { return };
    matched.conversation_open = true;
    let standing = matched.ended.is_none();
    show_match(state, pair, at.version, effects);
    if let Some(document) = state.document(pair).filter(|_| standing) {
        let [a, b] = pair.both();
        let event = LiveEvent::MatchCreated { matched: document };
        effects.deliver(DOMAIN_NAME, a, Some(b), &event);
        effects.deliver(DOMAIN_NAME, b, Some(a), &event);
    }
}

/// Ends the match if it stands.
pub fn end(state: &mut State, ended: Ended) -> bool {
    match state.matched.as_mut().filter(|matched| matched.ended.is_none()) {
        Some(matched) => {
            matched.ended = Some(ended);
            true
        }
        None => false,
    }
}

/// Notes who blocks; the order is that of the ids, so that it does not depend on who came first.
pub fn add_block(state: &mut State, by: UserId) {
    if !state.blocked_by.contains(&by) {
        state.blocked_by.push(by);
        state.blocked_by.sort();
    }
}

/// The views of the match as it now is.
pub fn show_match(state: &State, pair: Pair, version: Version, effects: &mut Effects) {
    if let Some(document) = state.document(pair) {
        view::show_match(effects, &document, version);
    }
}

/// Whose super like waits for an answer, the smaller id first.
pub fn waiting(state: &State, pair: Pair) -> [bool; 2] {
    pair.both().map(|liker| state.super_like_waits(pair, liker))
}

fn show_super_likes(state: &State, pair: Pair, waited: [bool; 2], version: Version, effects: &mut Effects) {
    for (liker, waited) in pair.both().into_iter().zip(waited) {
        let Some(liked) = pair.other(liker) else { continue };
        match (waited, state.super_like_waits(pair, liker)) {
            (false, true) => {
                if let Some(swipe) = state.swipe_of(pair, liker) {
                    effects.view(view::show_super_like(liked, liker, swipe.at, version));
                }
            }
            (true, false) => {
                effects.view(view::hide_super_like(liked, liker, version));
            }
            _ => {}
        }
    }
}

fn announce_end(state: &State, pair: Pair, version: Version, effects: &mut Effects) {
    decide_rows(state, pair, UNMATCHED, effects);
    show_match(state, pair, version, effects);
    for receiver in pair.both() {
        // Nobody's doing, so that it arrives in spite of a block.
        effects.deliver(DOMAIN_NAME, receiver, None, &LiveEvent::MatchEnded { match_id: pair.match_id() });
    }
}

fn decide_rows(state: &State, pair: Pair, kind: &'static str, effects: &mut Effects) {
    let Some(matched) = &state.matched else { return };
    for owner in pair.both() {
        let Some(other) = pair.other(owner) else { continue };
        let row = MatchRow {
            match_id: pair.match_id(),
            owner_id: owner,
            other_id: other,
            matched_at: matched.at,
            status: matched.ended.map_or(MatchStatus::Active, |ended| ended.status),
            ended_at: matched.ended.map(|ended| ended.at),
            ended_by: matched.ended.map(|ended| ended.by),
            conversation_id: conversation_of(pair),
        };
        effects.decide(kind, owner.to_string(), &row);
    }
}

fn swipe_row(swiper: UserId, other: UserId, swipe: &Swipe) -> SwipeRow {
    SwipeRow {
        swiper_id: swiper,
        swiped_id: other,
        action: swipe.action,
        event_id: swipe.event_id,
        swiped_at: swipe.at,
        matched: swipe.completed,
    }
}
