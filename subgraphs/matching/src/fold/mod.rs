//! What facts mean. Of a pair: which swipe completes a match, what ends it, what a block forbids.
//! Of a user: where the deck finds them.

mod pair;
mod restore;
mod state;
#[cfg(test)]
mod tests;

pub use state::{Ended, Known, Matched, State, Swipe};

use crate::{
    event::{BlockOutcome, Fact, Row, SwipeOutcome, UnmatchOutcome},
    model::{Pair, Profile},
    view,
};
use velvet_kernel::{
    fold::{Effects, Fold, Moment},
    id::UserId,
};

/// The rule of matching.
#[derive(Debug, Clone, Copy, Default)]
pub struct Matching;

impl Fold for Matching {
    type State = State;
    type Fact = Fact;
    type Row = Row;

    fn fold(&self, state: &mut State, fact: Fact, at: &Moment<'_>) -> Effects {
        let pair = Pair::parse(at.entity);
        let mut effects = Effects::none();
        match (fact, pair) {
            (Fact::Swiped { swiper, swiped, action }, Some(pair)) if pair.other(swiper) == Some(swiped) => {
                pair::swiped(state, pair, swiper, action, at, &mut effects);
            }
            (Fact::Swiped { .. }, _) => {
                effects.answer(&SwipeOutcome::NotFound);
            }
            (Fact::Unmatched { by }, Some(pair)) if pair.other(by).is_some() => {
                pair::unmatched(state, pair, by, at, &mut effects);
            }
            (Fact::Unmatched { .. }, _) => {
                effects.answer(&UnmatchOutcome::NotFound);
            }
            (Fact::Blocked { by }, Some(pair)) if pair.other(by).is_some() => {
                pair::blocked(state, pair, by, at, &mut effects);
            }
            (Fact::Blocked { .. }, _) => {
                effects.answer(&BlockOutcome::NotFound);
            }
            (Fact::ConversationOpened { .. }, Some(pair)) => pair::conversation_opened(state, pair, at, &mut effects),
            (Fact::ConversationOpened { .. }, None) => {}
            (Fact::Profile { user_id, profile, source_version }, _) => {
                known(state, user_id, profile, source_version, &mut effects);
            }
        }
        effects
    }

    fn restore(&self, state: &mut State, row: Row, at: &Moment<'_>) -> Effects {
        restore::row(state, row, at)
    }
}

/// Takes a user's newer profile and moves them in the index; an older one changes nothing.
fn known(state: &mut State, user: UserId, profile: Profile, source_version: u64, effects: &mut Effects) {
    let before = state.known.take();
    if before.as_ref().is_some_and(|known| known.source_version >= source_version) {
        state.known = before;
        return;
    }
    let known = Known { profile, source_version };
    view::show_profile(effects, user, before.as_ref().map(|known| &known.profile), &known);
    state.known = Some(known);
}
