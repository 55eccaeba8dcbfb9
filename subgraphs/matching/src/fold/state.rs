//! What is remembered of an entity: of a pair, or of a user.

use crate::model::{ConversationId, MatchDocument, MatchStatus, Pair, Profile, SwipeAction};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::{fold::Version, id::UserId};

/// The state of an entity. Its key says which of the two it is; the other part stays empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Of a pair: what the one with the smaller id said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<Swipe>,
    /// Of a pair: what the one with the larger id said last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<Swipe>,
    /// Of a pair: the one match that it can have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<Matched>,
    /// Of a pair: who has blocked the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<UserId>,
    /// Of a user: what the deck needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
}

/// The last swipe of one about the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swipe {
    /// How.
    pub action: SwipeAction,
    /// When.
    pub at: DateTime<Utc>,
    /// The fact's id; a repeat of it gets the first answer.
    pub event_id: Uuid,
    /// Whether it completed the match.
    pub completed: bool,
    /// The fact's position; a row from before it changes nothing.
    pub version: Version,
}

/// A match, standing or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// When the second like came.
    pub at: DateTime<Utc>,
    /// Whether its conversation is open.
    pub conversation_open: bool,
    /// How it ended; that is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// The end of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub by: UserId,
    /// How.
    pub status: MatchStatus,
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// What the deck needs.
    pub profile: Profile,
    /// The version that accounts gave it.
    pub source_version: u64,
}

impl State {
    /// What one of the two said last.
    pub fn swipe_of(&self, pair: Pair, user: UserId) -> Option<&Swipe> {
        if pair.both()[0] == user { self.low.as_ref() } else { self.high.as_ref() }
    }

    /// Notes what one of the two says.
    pub fn set_swipe(&mut self, pair: Pair, user: UserId, swipe: Swipe) {
        let slot = if pair.both()[0] == user { &mut self.low } else { &mut self.high };
        *slot = Some(swipe);
    }

    /// The match, as long as it stands.
    pub fn standing(&self) -> Option<&Matched> {
        self.matched.as_ref().filter(|matched| matched.ended.is_none())
    }

    /// Whether one's super like waits for the other's answer.
    pub fn super_like_waits(&self, pair: Pair, liker: UserId) -> bool {
        let answered = pair.other(liker).is_some_and(|other| self.swipe_of(pair, other).is_some());
        let super_liked = self.swipe_of(pair, liker).is_some_and(|swipe| swipe.action == SwipeAction::SuperLike);
        super_liked && !answered && self.blocked_by.is_empty()
    }

    /// The match as the views have it.
    pub fn document(&self, pair: Pair) -> Option<MatchDocument> {
        let matched = self.matched.as_ref()?;
        let [low, high] = pair.both();
        Some(MatchDocument {
            match_id: pair.match_id(),
            user_a_id: low,
            user_b_id: high,
            matched_at: matched.at,
            conversation_id: matched.conversation_open.then(|| conversation_of(pair)),
            status: matched.ended.map_or(MatchStatus::Active, |ended| ended.status),
        })
    }
}

/// The conversation that a pair's match opens.
pub fn conversation_of(pair: Pair) -> ConversationId {
    pair.match_id().conversation()
}
