//! Facts of matching, their outcomes, what is decided, what is told live; and the stored rows.

use crate::model::{
    ConversationId, MatchDocument, MatchId, MatchStatus, Pair, Preferences, Profile, Side, SwipeAction,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::{graph::Gender, id::UserId};

pub use crate::model::Point;

/// A swipe was stored.
pub const SWIPE: &str = "matching.swipe";
/// A match was made; one for each partner.
pub const MATCHED: &str = "matching.matched";
/// A match has ended; one for each partner.
pub const UNMATCHED: &str = "matching.unmatched";
/// Somebody blocked somebody.
pub const BLOCKED: &str = "matching.blocked";

/// What the API and the relays append; under a pair's key but for the profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    /// Somebody swiped.
    Swiped {
        /// Who.
        swiper: UserId,
        /// Whom.
        swiped: UserId,
        /// How.
        action: SwipeAction,
    },
    /// Somebody ended the match of the pair.
    Unmatched {
        /// Who.
        by: UserId,
    },
    /// Somebody blocked the other of the pair.
    Blocked {
        /// Who.
        by: UserId,
    },
    /// Messaging has opened the conversation of the pair.
    ConversationOpened {
        /// Which.
        conversation_id: ConversationId,
    },
    /// Accounts has a new state of a user; under the user's key.
    Profile {
        /// The user.
        user_id: UserId,
        /// What the deck needs of it.
        profile: Profile,
        /// The version that accounts gave it.
        source_version: u64,
    },
}

impl Fact {
    /// The type of its event.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Swiped { .. } => "matching.fact.swiped",
            Self::Unmatched { .. } => "matching.fact.unmatched",
            Self::Blocked { .. } => "matching.fact.blocked",
            Self::ConversationOpened { .. } => "matching.fact.conversation_opened",
            Self::Profile { .. } => "matching.fact.profile",
        }
    }
}

/// What came of a swipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SwipeOutcome {
    /// It counts.
    Swiped {
        /// The match that it completed.
        completed: Option<MatchDocument>,
    },
    /// One of the two has blocked the other.
    NotFound,
}

/// What came of ending a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum UnmatchOutcome {
    /// It has ended.
    Unmatched,
    /// There was none to end.
    NotFound,
}

/// What came of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum BlockOutcome {
    /// It stands from now on; the other domains are about to follow.
    Blocked,
    /// It stood already.
    Standing,
    /// The two are no pair.
    NotFound,
}

/// What is told live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveEvent {
    /// A match was made and its conversation is open.
    MatchCreated {
        /// The match.
        #[serde(rename = "match")]
        matched: MatchDocument,
    },
    /// A match has ended.
    MatchEnded {
        /// Which.
        match_id: MatchId,
    },
}

/// A stored row, as the writer dumps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "table", rename_all = "snake_case")]
pub enum Row {
    /// The last swipe of one about the other.
    Swipe(SwipeRow),
    /// A match, as one partner has it.
    Match(MatchRow),
    /// A block.
    Block(BlockRow),
    /// What the deck needs of a user.
    User(UserRow),
}

impl Row {
    /// The entity that the row belongs to.
    pub fn entity(&self) -> String {
        let pair = |one, other| Pair::of(one, other).map(|pair| pair.to_string()).unwrap_or_default();
        match self {
            Self::Swipe(row) => pair(row.swiper_id, row.swiped_id),
            Self::Match(row) => pair(row.owner_id, row.other_id),
            Self::Block(row) => pair(row.blocker_id, row.blocked_id),
            Self::User(row) => row.user_id.to_string(),
        }
    }
}

/// The last swipe of one about the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwipeRow {
    /// Who.
    pub swiper_id: UserId,
    /// Whom.
    pub swiped_id: UserId,
    /// How.
    pub action: SwipeAction,
    /// The id of the fact.
    pub event_id: Uuid,
    /// When.
    pub swiped_at: DateTime<Utc>,
    /// Whether this very swipe completed a match.
    pub matched: bool,
}

/// A match, as one partner has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchRow {
    /// The match.
    pub match_id: MatchId,
    /// The partner that the row belongs to.
    pub owner_id: UserId,
    /// The other partner.
    pub other_id: UserId,
    /// When the second like came.
    pub matched_at: DateTime<Utc>,
    /// What has become of it.
    pub status: MatchStatus,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Who ended it.
    pub ended_by: Option<UserId>,
    /// The conversation that it opens.
    pub conversation_id: ConversationId,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRow {
    /// Who.
    pub blocker_id: UserId,
    /// Whom.
    pub blocked_id: UserId,
    /// When.
    pub blocked_at: DateTime<Utc>,
}

/// A block as it is decided: the row, and what the other domains acknowledge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDecided {
    /// The row.
    #[serde(flatten)]
    pub row: BlockRow,
    /// The id of the fact; the acknowledgements' ids are derived from it.
    pub event_id: Uuid,
}

/// What the deck needs of a row of users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserRow {
    /// The user.
    pub user_id: UserId,
    /// When they were born.
    pub birth_date: NaiveDate,
    /// Their gender.
    pub gender: Gender,
    /// Their side.
    pub side: Side,
    /// Whom they want to meet.
    pub preferences: Preferences,
    /// How far their identity is verified.
    pub verification_status: Verification,
    /// Where they are.
    pub cell: Option<Point>,
    /// When they were last active.
    pub last_active_at: DateTime<Utc>,
    /// The version of the row in accounts; in an event it travels outside the data.
    #[serde(default)]
    pub source_version: u64,
}

/// How far somebody's identity is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// Not at all.
    Unverified,
    /// It is being looked at.
    Pending,
    /// Verified.
    Verified,
    /// Refused.
    Rejected,
}

impl From<UserRow> for Profile {
    fn from(row: UserRow) -> Self {
        Self {
            side: row.side,
            gender: row.gender,
            birth_date: row.birth_date,
            preferences: row.preferences,
            verified: row.verification_status == Verification::Verified,
            cell: row.cell,
            last_active_at: row.last_active_at,
        }
    }
}
