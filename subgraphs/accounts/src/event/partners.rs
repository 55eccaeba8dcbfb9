//! What happens to partners.

use crate::model::{KeyMode, Limits, LimitsChange, OperationKind, Scope};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use velvet_kernel::id::UserId;

/// A partner was made or changed; data: [`crate::row::PartnerRow`].
pub const PARTNER: &str = "accounts.partner";
/// A key was made, got an end or was revoked; data: [`crate::row::KeyRow`].
pub const PARTNER_KEY: &str = "accounts.partner_key";
/// Operations were published or retired; data: [`crate::row::OperationsRow`].
pub const PARTNER_OPERATIONS: &str = "accounts.partner_operations";
/// Somebody has changed something of a partner; data: [`crate::row::AuditRow`].
pub const PARTNER_AUDIT: &str = "accounts.partner_audit";

/// A fact about a partner; its key is the partner's entity, `partner:<slug>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerFact {
    /// Who did it: `user:<id>`, `key:<prefix>` or `operator`.
    pub by: String,
    /// What happened.
    pub change: PartnerChange,
}

/// What happens to a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PartnerChange {
    /// It is made, unless there is one of this slug.
    Created {
        /// What people call it.
        name: String,
        /// Its service account.
        user_id: UserId,
        /// How much it may ask for.
        limits: Limits,
    },
    /// It changes.
    Updated(PartnerUpdate),
    /// It gets a key.
    KeyCreated(NewKey),
    /// A key is replaced by another, and ends after a while.
    KeyRotated {
        /// The key.
        prefix: String,
        /// The other.
        replacement: Replacement,
        /// How long both are good, in seconds.
        overlap_s: u32,
    },
    /// A key is good no more.
    KeyRevoked {
        /// The key.
        prefix: String,
    },
    /// Operations are published: all of them or none.
    Published {
        /// Which of the partner's clients uses them.
        client_name: String,
        /// The operations.
        operations: Vec<NewOperation>,
    },
    /// An operation is not to be called any more.
    OperationRetired {
        /// The operation.
        id: String,
        /// Its body, which the state does not keep; another one than was published retires nothing.
        body: String,
    },
}

/// What of a partner changes; the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartnerUpdate {
    /// What people call it.
    pub name: Option<String>,
    /// Its service account.
    pub user_id: Option<UserId>,
    /// How much it may ask for.
    pub limits: LimitsChange,
    /// Whether it is shut out.
    pub disabled: Option<bool>,
}

/// A key that was made, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// The part of the key that names it.
    pub prefix: String,
    /// SHA-256 of the whole key, in hex.
    pub hash: String,
    /// What it is made for.
    pub mode: KeyMode,
    /// What it lets in to.
    pub scopes: Vec<Scope>,
    /// Whether requests must be signed.
    pub require_signature: bool,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key that takes another's place: what it lets in to is the other's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The part of the key that names it.
    pub prefix: String,
    /// SHA-256 of the whole key, in hex.
    pub hash: String,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
}

/// An operation on its way to being published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOperation {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: OperationKind,
    /// The document.
    pub body: String,
    /// What it costs.
    pub cost: u32,
}

/// What came of a fact about a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PartnerOutcome {
    /// It is so.
    Done,
    /// This key is there. It is another than the one that was offered when the request is a repeat.
    Key {
        /// The part of the key that names it.
        prefix: String,
    },
    /// The operations can be called.
    Published {
        /// The newest release.
        release: u32,
        /// How many are new.
        added: u32,
        /// How many were there already.
        unchanged: u32,
    },
    /// There is a partner of this slug.
    Exists,
    /// There is no such partner.
    NotFound,
    /// There is no such key that is good.
    KeyNotFound,
    /// The partner has as many keys as it may.
    TooManyKeys,
    /// Operations were published under these ids with other bodies.
    OperationChanged {
        /// The first few ids.
        ids: Vec<String>,
    },
    /// The partner would have more operations than it may.
    TooManyOperations,
    /// There is no such operation.
    OperationNotFound,
}
