//! Inputs and payloads of the mutations.

use super::{matches::Match, query::SwipeQuota};
use crate::{
    model::SwipeAction,
    quota::{Kind, Standing},
};
use async_graphql::{ID, InputObject, SimpleObject, Union};
use velvet_kernel::graph::UserNotFound;

/// A swipe.
#[derive(Debug, InputObject)]
pub struct SwipeInput {
    /// Who is meant.
    pub user_id: ID,
    /// What is said.
    pub action: SwipeAction,
    /// The same one again is the same swipe; without one a retry is a new request. 1 to 128 characters.
    pub idempotency_key: Option<String>,
}

/// What came of a swipe.
#[derive(Union)]
pub enum SwipeResult {
    /// It counts.
    Swiped(Swiped),
    /// The quota is used up.
    QuotaUsedUp(QuotaUsedUp),
    /// There is nobody to swipe.
    UserNotFound(UserNotFound),
}

/// The swipe counts.
#[derive(Debug, SimpleObject)]
pub struct Swiped {
    /// Set when this swipe completed a mutual like.
    #[graphql(name = "match")]
    pub completed: Option<Match>,
}

/// No like is left for now.
#[derive(Debug, SimpleObject)]
pub struct QuotaUsedUp {
    /// One sentence for the developer.
    reason: String,
    /// What there is, and when it starts again.
    quota: SwipeQuota,
}

impl QuotaUsedUp {
    /// The answer with what there is.
    pub fn new(kind: Kind, standing: Standing) -> Self {
        let reason = match kind {
            Kind::Likes => "no likes are left in this window",
            Kind::SuperLikes => "no super likes are left in this window",
        };
        Self { reason: reason.to_owned(), quota: standing.into() }
    }
}

/// The end of a match.
#[derive(Debug, InputObject)]
pub struct UnmatchInput {
    /// Which match.
    pub match_id: ID,
}

/// What came of ending a match.
#[derive(Union)]
pub enum UnmatchResult {
    /// It has ended.
    Unmatched(Unmatched),
    /// There is none to end.
    MatchNotFound(MatchNotFound),
}

/// The match has ended, for both.
#[derive(Debug, SimpleObject)]
pub struct Unmatched {
    /// Which one.
    pub match_id: ID,
}

/// The viewer has no such match: absent, foreign and ended ones look the same.
#[derive(Debug, SimpleObject)]
pub struct MatchNotFound {
    /// One sentence for the developer.
    reason: String,
}

impl MatchNotFound {
    /// The one answer there is.
    pub fn new() -> Self {
        Self { reason: "there is no such match".to_owned() }
    }
}

/// A block.
#[derive(Debug, InputObject)]
pub struct BlockUserInput {
    /// Whom.
    pub user_id: ID,
}

/// What came of a block.
#[derive(Union)]
pub enum BlockUserResult {
    /// It stands.
    UserBlocked(UserBlocked),
    /// There is nobody to block.
    UserNotFound(UserNotFound),
}

/// The block stands; a repeat is no different.
#[derive(Debug, SimpleObject)]
pub struct UserBlocked {
    /// Whom.
    pub user_id: ID,
}
