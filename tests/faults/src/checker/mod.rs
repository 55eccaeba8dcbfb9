//! The invariants, and the story that refutes one.
//!
//! Each invariant is a function from the evidence to what speaks against it: nothing, when it holds.

mod accounts;
mod blocks;
mod decisions;
mod matches;
mod messages;
mod reads;
mod refold;
mod replay;
mod story;
pub mod streams;
#[cfg(test)]
mod tests;
mod views;
mod writes;

use crate::evidence::Evidence;

/// What speaks against an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refutation {
    pub invariant: &'static str,
    /// What is so and should not be.
    pub claim: String,
    /// Ids, keys, request numbers (`#7 `), and people whose streams' comings and goings matter (`@p1`).
    pub about: Vec<String>,
}

/// A check by its name.
pub type Invariant = (&'static str, fn(&Evidence) -> Vec<Found>);

/// A claim and what it is about.
pub type Found = (String, Vec<String>);

/// All of them, those first whose stories are the shortest.
pub const INVARIANTS: &[Invariant] = &[
    ("an acknowledged write is in the log under one id and stored once", writes::acknowledged),
    ("a refused write is neither decided nor stored", writes::refused),
    ("a write that was not answered is stored at most once", writes::unanswered),
    ("every subscriber hears every event once and in order, or a reset", streams::messages),
    ("every subscriber hears of each match once, or a reset", streams::matches),
    ("positions are dense", messages::dense),
    ("unread counts equal recomputation", messages::unread),
    ("one match for each pair that likes each other", matches::one_for_each_mutual_pair),
    ("one account for each address", accounts::one_for_each_address),
    ("nothing shows the other after a block was acknowledged", blocks::nothing_shown_after),
    ("a reader never misses an acknowledged write of their own", reads::own_writes_are_seen),
    ("what is decided follows from the log alone", decisions::follow_from_the_log),
    ("what is decided is what the facts give, folded again", refold::decided_again),
    ("PostgreSQL equals a replay of the log", replay::database_equals_replay),
    ("views equal the rows", views::equal_rows),
    ("views equal a rebuild from PostgreSQL", views::equal_rebuild),
];

/// Everything that speaks against any of the invariants.
pub fn check(evidence: &Evidence) -> Vec<Refutation> {
    let checked = INVARIANTS.iter().flat_map(|(invariant, check)| {
        check(evidence).into_iter().map(|(claim, about)| Refutation { invariant, claim, about })
    });
    checked.collect()
}

pub use story::tell;

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}
