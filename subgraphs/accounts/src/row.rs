//! Rows as the writer keeps them, and as every decided event carries them: complete, after the change.

mod partners;
mod usage;

pub use partners::{AuditRow, KeyRow, Operation, OperationRow, OperationsRow, PartnerRow};
pub use usage::{
    Total, TotalOf, USAGE_HOURS_KEPT, USAGE_ROUTERS_KEPT, UsageRouterRow, UsageRow, UsageRows, UsageTotalRow,
};

use crate::model::{Cell, Preferences, Side, VerificationStatus};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::{graph::Gender, id::UserId, identity::Role};

/// A user.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct UserRow {
    /// Who.
    pub user_id: UserId,
    /// The address, as its owner wrote it.
    pub email: String,
    /// The password's Argon2id hash, in PHC form. It leaves accounts' own views and rows never.
    pub password_hash: String,
    /// What others call the user.
    pub display_name: String,
    /// What the user says of themselves.
    pub bio: String,
    /// Where a picture is.
    pub avatar_url: Option<String>,
    /// The birth date; others learn the age alone.
    pub birth_date: NaiveDate,
    /// The gender.
    pub gender: Gender,
    /// The side.
    pub side: Side,
    /// Whom the user wants to meet.
    pub preferences: Preferences,
    /// What an operator has found out.
    pub verification_status: VerificationStatus,
    /// The cell that the user was last in.
    pub cell: Option<Cell>,
    /// Staff rights, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// When the user last did anything.
    pub last_active_at: DateTime<Utc>,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
    /// When the account last changed; being active is no change.
    pub updated_at: DateTime<Utc>,
    /// The id of the command that made the account.
    pub registration_id: Uuid,
}

impl std::fmt::Debug for UserRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No personal data in logs.
        f.debug_struct("UserRow").field("user_id", &self.user_id).finish_non_exhaustive()
    }
}

/// A session: a family of refresh tokens, of which only the newest is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub family_id: Uuid,
    /// SHA-256 of the newest token, in hex.
    pub current_hash: String,
    /// SHA-256 of the token before it, in hex.
    pub previous_hash: Option<String>,
    /// When that one was replaced.
    pub replaced_at: Option<DateTime<Utc>>,
    /// Whether that one was let in once more.
    pub grace_used: bool,
    /// When the user signed in.
    pub started_at: DateTime<Utc>,
    /// When the newest token ends.
    pub expires_at: DateTime<Utc>,
    /// When the session was ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Two users who neither see nor are seen by each other, as matching has decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRow {
    /// Who blocked.
    pub blocker_id: UserId,
    /// Whom.
    pub blocked_id: UserId,
    /// When.
    pub blocked_at: DateTime<Utc>,
}

/// What the writer reads back to rebuild states and views.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "table", rename_all = "snake_case")]
pub enum Row {
    /// A user.
    User(Box<UserRow>),
    /// A session.
    Session(SessionRow),
    /// A block; restoring it once hides both from each other.
    Block(BlockRow),
    /// A partner.
    Partner(PartnerRow),
    /// A partner's key.
    PartnerKey(KeyRow),
    /// A partner's operation.
    PartnerOperation(Box<OperationRow>),
    /// What an operator or a partner has done.
    PartnerAudit(AuditRow),
    /// A partner's calls of one operation in one hour.
    PartnerUsage(UsageRow),
    /// A partner's calls of a month, of an operation or with a key.
    PartnerUsageTotal(UsageTotalRow),
    /// Up to which batch a router's counts of a partner's calls are in.
    PartnerUsageRouter(UsageRouterRow),
}

impl Row {
    /// The entity that the row is read back under: a user's id, a partner's entity, or that of its usage.
    pub fn entity(&self) -> String {
        match self {
            Self::User(user) => user.user_id.to_string(),
            Self::Session(session) => session.user_id.to_string(),
            Self::Block(block) => block.blocker_id.to_string(),
            Self::Partner(partner) => partner.slug.entity(),
            Self::PartnerKey(key) => key.slug.entity(),
            Self::PartnerOperation(operation) => operation.slug.entity(),
            Self::PartnerAudit(audit) => audit.slug.entity(),
            Self::PartnerUsage(usage) => usage.slug.usage_entity(),
            Self::PartnerUsageTotal(total) => total.slug.usage_entity(),
            Self::PartnerUsageRouter(router) => router.slug.usage_entity(),
        }
    }
}
