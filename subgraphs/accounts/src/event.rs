//! What is appended to the intake, what callers are answered, and what is decided.

mod partners;
mod usage;

pub use partners::{
    NewKey, NewOperation, PARTNER, PARTNER_AUDIT, PARTNER_KEY, PARTNER_OPERATIONS, PartnerChange, PartnerFact,
    PartnerOutcome, PartnerUpdate, Replacement,
};
pub use usage::{HourTally, KeyTally, PARTNER_USAGE, UsageFact};

use crate::{
    DOMAIN_NAME,
    model::{Cell, PreferencesChange, VerificationStatus},
    row::UserRow,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::{id::UserId, identity::Role, log::NewEvent};

/// An account was made; data: [`UserRow`].
pub const USER_CREATED: &str = "user.created";
/// A profile, preferences or a status changed; data: [`UserRow`].
pub const USER_UPDATED: &str = "user.updated";
/// A user is in another cell; data: [`UserRow`].
pub const USER_LOCATED: &str = "user.located";
/// A user did something; data: [`UserRow`].
pub const USER_ACTIVE: &str = "user.active";
/// An operator has found a user to be who they say they are; data: [`UserRow`].
pub const USER_VERIFIED: &str = "user.verified";
/// A user signed in; data: [`crate::row::SessionRow`].
pub const SESSION_STARTED: &str = "session.started";
/// A refresh token was replaced by a fresh one; data: [`crate::row::SessionRow`].
pub const SESSION_ROTATED: &str = "session.rotated";
/// A session is over; data: [`crate::row::SessionRow`].
pub const SESSION_ENDED: &str = "session.ended";

/// A fact about one user, whose id is its key, or about one partner, or about its usage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    /// The writer has given the address to this account.
    Registered {
        /// The command that asked for it; told [`RegisterOutcome`].
        command_id: Uuid,
        /// The account.
        user: Box<UserRow>,
    },
    /// The address is another account's. Its key is the command's id.
    RegisterRefused {
        /// The command that asked for it; told [`RegisterOutcome`].
        command_id: Uuid,
    },
    /// The user edits the profile. Answered by [`ProfileOutcome`].
    ProfileUpdated(ProfileChange),
    /// The user is in a cell. Answered by [`ProfileOutcome`].
    Located {
        /// The cell.
        cell: Cell,
    },
    /// The user did something. Nobody waits for it.
    Active,
    /// An operator has decided. Answered by [`ProfileOutcome`].
    Verified {
        /// What was found out.
        status: VerificationStatus,
    },
    /// An operator gives or takes staff rights. Answered by [`ProfileOutcome`].
    RoleSet {
        /// Which.
        role: Role,
        /// Whether the user has them from now on.
        held: bool,
    },
    /// The user has signed in. Answered by [`SessionOutcome`].
    SessionStarted {
        /// The new session.
        family_id: Uuid,
        /// SHA-256 of its first token, in hex.
        token_hash: String,
    },
    /// A refresh token was presented. Answered by [`SessionOutcome`].
    SessionRotated {
        /// The session.
        family_id: Uuid,
        /// SHA-256 of the token, in hex.
        presented_hash: String,
        /// SHA-256 of the token that is to replace it, in hex.
        next_hash: String,
    },
    /// The user has signed out. Answered by [`Ended`].
    SessionEnded {
        /// The session.
        family_id: Uuid,
    },
    /// Matching has decided that this user and another do not see each other.
    Hidden {
        /// The other.
        other: UserId,
        /// What matching's API waits for.
        acknowledge: Uuid,
    },
    /// Something happens to a partner. Answered by [`PartnerOutcome`].
    Partner(Box<PartnerFact>),
    /// A router has counted calls of a partner. Nobody waits for it.
    Usage(Box<UsageFact>),
}

/// What of a profile changes; the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProfileChange {
    /// What others call the user.
    pub display_name: Option<String>,
    /// What the user says of themselves.
    pub bio: Option<String>,
    /// Where a picture is.
    pub avatar_url: Option<String>,
    /// Whom the user wants to meet.
    pub preferences: Option<PreferencesChange>,
}

impl Fact {
    /// The type of the event that carries the fact.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "accounts.fact.registered",
            Self::RegisterRefused { .. } => "accounts.fact.register_refused",
            Self::ProfileUpdated(_) => "accounts.fact.profile_updated",
            Self::Located { .. } => "accounts.fact.located",
            Self::Active => "accounts.fact.active",
            Self::Verified { .. } => "accounts.fact.verified",
            Self::SessionStarted { .. } => "accounts.fact.session_started",
            Self::SessionRotated { .. } => "accounts.fact.session_rotated",
            Self::SessionEnded { .. } => "accounts.fact.session_ended",
            Self::RoleSet { .. } => "accounts.fact.role_set",
            Self::Partner(_) => "accounts.fact.partner",
            Self::Usage(_) => "accounts.fact.usage",
            Self::Hidden { .. } => "accounts.fact.hidden",
        }
    }

    /// The event that carries the fact to its entity.
    pub fn event(&self, id: Uuid, entity: impl Into<String>, time: DateTime<Utc>) -> NewEvent {
        NewEvent::new(id, self.kind(), entity, time, self)
    }
}

/// What came of a registration. It holds no secret: the session is made by whoever answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RegisterOutcome {
    /// The address is this account's now.
    Registered {
        /// The account.
        user_id: UserId,
    },
    /// The address is another account's.
    EmailTaken,
}

/// What came of a change to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProfileOutcome {
    /// It is made.
    Changed,
    /// The preferred ages would not be in order.
    AgesCrossed,
    /// There is no such account.
    NoAccount,
}

/// What came of starting or continuing a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SessionOutcome {
    /// The token that was offered is the newest now.
    Granted {
        /// When it ends.
        expires_at: DateTime<Utc>,
    },
    /// The token is unknown, old or ended.
    Refused,
}

/// The session is over, whatever it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended;

/// The id of what follows from `cause`, such as the fact that a command came to.
pub fn following(cause: Uuid, what: &str) -> Uuid {
    velvet_kernel::time::derived_id(&[DOMAIN_NAME, what, &cause.to_string()])
}
