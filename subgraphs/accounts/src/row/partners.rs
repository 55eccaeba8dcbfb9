//! Rows of partners. Their owner is the partner; each has its slug, which its entity is made of.

use crate::model::{KeyMode, Limits, OperationKind, PartnerId, Scope, Slug};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::id::UserId;

/// A partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerRow {
    /// Which.
    pub partner_id: PartnerId,
    /// Its short name.
    pub slug: Slug,
    /// What people call it.
    pub name: String,
    /// The service account: whom its calls act as when no user's token comes along.
    pub user_id: UserId,
    /// How much it may ask for.
    pub limits: Limits,
    /// Whether it is shut out.
    pub disabled: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The request that made it.
    pub request_id: Uuid,
}

/// A partner's key. The key itself is nowhere but with the partner.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Whose.
    pub partner_id: PartnerId,
    /// The partner's short name.
    pub slug: Slug,
    /// The part of the key that names it.
    pub prefix: String,
    /// SHA-256 of the whole key, in hex. The key has 256 random bits, so nobody finds it by trying,
    /// however fast the hash is.
    pub hash: String,
    /// What it is made for.
    pub mode: KeyMode,
    /// What it lets in to.
    pub scopes: Vec<Scope>,
    /// Whether requests must be signed.
    pub require_signature: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The request that made it.
    pub request_id: Uuid,
}

impl std::fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Requests are signed with what follows from the hash.
        f.debug_struct("KeyRow").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What is known of an operation besides its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id: the SHA-256 of its body in hex, or whatever the partner's tools call it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: OperationKind,
    /// What it costs, as the router has planned it.
    pub cost: u32,
    /// Which of the partner's clients uses it; may be empty.
    pub client_name: String,
    /// The release that it came with.
    pub release: u32,
    /// When that was.
    pub published_at: DateTime<Utc>,
    /// When it was retired.
    pub retired_at: Option<DateTime<Utc>>,
}

/// An operation that a partner may call by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationRow {
    /// Whose.
    pub partner_id: PartnerId,
    /// The partner's short name.
    pub slug: Slug,
    /// All but the body.
    #[serde(flatten)]
    pub about: Operation,
    /// The document.
    pub body: String,
}

/// Operations that have changed together; a fact has room for fewer versions than a release may have
/// operations, so several are one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationsRow {
    /// The rows.
    pub operations: Vec<OperationRow>,
}

/// What an operator or a partner has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// With whom.
    pub partner_id: PartnerId,
    /// The partner's short name.
    pub slug: Slug,
    /// The fact that said so.
    pub event_id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: `user:<id>`, `key:<prefix>` or `operator`.
    pub by: String,
    /// What, such as `key.revoked`.
    pub action: String,
    /// What it was done to: a key's prefix, an operation's id, a release.
    pub subject: String,
}
