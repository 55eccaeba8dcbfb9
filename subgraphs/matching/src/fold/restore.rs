//! Stored rows back into states and views, in any order and more than once.
//!
//! Each row is merged into the state, then the views that it touches are written from the state, so
//! that they come out right even where only a part of Redis was lost.

use super::{
    pair,
    state::{Ended, Known, Matched, State, Swipe},
};
use crate::{
    DOMAIN_NAME,
    event::{BlockRow, MatchRow, Row, SwipeRow, UserRow},
    model::{MatchStatus, Pair, SwipeAction},
    view,
};
use velvet_kernel::fold::{Effects, Moment};

pub fn row(state: &mut State, row: Row, at: &Moment<'_>) -> Effects {
    let mut effects = Effects::none();
    match row {
        Row::Swipe(row) => swipe(state, &row, at, &mut effects),
        Row::Match(row) => matched(state, &row, at, &mut effects),
        Row::Block(row) => block(state, &row, at, &mut effects),
        Row::User(row) => user(state, row, &mut effects),
    }
    effects
}

fn swipe(state: &mut State, row: &SwipeRow, at: &Moment<'_>, effects: &mut Effects) {
    let Some(pair) = Pair::of(row.swiper_id, row.swiped_id) else { return };
    let waited = pair::waiting(state, pair);
    if state.swipe_of(pair, row.swiper_id).is_none_or(|swipe| swipe.version < at.version) {
        let swipe = Swipe {
            action: row.action,
            at: row.swiped_at,
            event_id: row.event_id,
            completed: row.matched,
            version: at.version,
        };
        state.set_swipe(pair, row.swiper_id, swipe);
    }
    effects.view(view::mark_swiped(row.swiper_id, row.swiped_id));
    show_super_likes(state, pair, waited, effects);
}

fn matched(state: &mut State, row: &MatchRow, at: &Moment<'_>, effects: &mut Effects) {
    let Some(pair) = Pair::of(row.owner_id, row.other_id) else { return };
    // What was stored was announced long ago, and messaging opened the conversation.
    state.matched.get_or_insert(Matched { at: row.matched_at, conversation_open: true, ended: None });
    if row.status != MatchStatus::Active {
        let (at, by) = (row.ended_at.unwrap_or(at.time), row.ended_by.unwrap_or(row.owner_id));
        end(state, Ended { at, by, status: row.status });
    } else if let Some(by) = state.blocked_by.first().copied() {
        end(state, Ended { at: at.time, by, status: MatchStatus::Blocked });
    }
    pair::show_match(state, pair, at.version, effects);
}

fn block(state: &mut State, row: &BlockRow, at: &Moment<'_>, effects: &mut Effects) {
    let Some(pair) = Pair::of(row.blocker_id, row.blocked_id) else { return };
    let waited = pair::waiting(state, pair);
    pair::add_block(state, row.blocker_id);
    // The match's own rows may have been stored before the block reached them.
    end(state, Ended { at: row.blocked_at, by: row.blocker_id, status: MatchStatus::Blocked });
    effects.block(DOMAIN_NAME, row.blocker_id, row.blocked_id);
    pair::show_match(state, pair, at.version, effects);
    show_super_likes(state, pair, waited, effects);
}

/// Ends the match, or says how it ended before that: the first end is the one that counts.
fn end(state: &mut State, ended: Ended) {
    if let Some(matched) = &mut state.matched
        && matched.ended.is_none_or(|known| known.at > ended.at)
    {
        matched.ended = Some(ended);
    }
}

fn user(state: &mut State, row: UserRow, effects: &mut Effects) {
    let (user, source_version) = (row.user_id, row.source_version);
    let before = state.known.take();
    let known = match &before {
        Some(known) if known.source_version >= source_version => known.clone(),
        _ => Known { profile: row.into(), source_version },
    };
    view::show_profile(effects, user, before.as_ref().map(|known| &known.profile), &known);
    state.known = Some(known);
}

fn show_super_likes(state: &State, pair: Pair, waited: [bool; 2], effects: &mut Effects) {
    let newest = [&state.low, &state.high].into_iter().flatten().map(|swipe| swipe.version).max().unwrap_or_default();
    for (liker, waited) in pair.both().into_iter().zip(waited) {
        let (Some(liked), Some(swipe)) = (pair.other(liker), state.swipe_of(pair, liker)) else { continue };
        if state.super_like_waits(pair, liker) {
            effects.view(view::show_super_like(liked, liker, swipe.at, swipe.version));
        } else if waited || swipe.action == SwipeAction::SuperLike {
            effects.view(view::hide_super_like(liked, liker, newest));
        }
    }
}
