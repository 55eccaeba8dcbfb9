//! Rows of partners' usage. Their owner is the partner; their entity is that of its usage.

use crate::model::{PartnerId, Slug, Tally};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// For how long hours are kept, counted back from the newest. Totals are kept for good.
pub const USAGE_HOURS_KEPT: u32 = 35 * 24;
/// For how long it is remembered which batches of a router were counted, in hours: longer than a batch may be sent.
pub const USAGE_ROUTERS_KEPT: u32 = 25;

/// One partner's calls of one operation in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRow {
    /// Whose.
    pub partner_id: PartnerId,
    /// The partner's short name.
    pub slug: Slug,
    /// The hour's beginning.
    pub hour: DateTime<Utc>,
    /// The operation's id; empty for calls that named none of the partner's.
    pub operation: String,
    /// How many, and what came of them.
    #[serde(flatten)]
    pub tally: Tally,
}

/// What calls are summed up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TotalOf {
    /// A calendar month, such as `2026-11`: calls that were let through.
    Month,
    /// An operation, by its id: all calls.
    Operation,
    /// A key, by its prefix: all calls.
    Key,
}

/// How often, at what cost, and when last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// How many calls.
    pub calls: u64,
    /// Their estimated cost; of keys it is not kept.
    pub cost: u64,
    /// When the last one ended.
    pub last_at: DateTime<Utc>,
}

/// One partner's calls of a month, of an operation or with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageTotalRow {
    /// Whose.
    pub partner_id: PartnerId,
    /// The partner's short name.
    pub slug: Slug,
    /// What they are summed up by.
    pub of: TotalOf,
    /// Which month, operation or key.
    pub name: String,
    /// The sum.
    #[serde(flatten)]
    pub total: Total,
}

/// Up to which batch one router's counts are in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRouterRow {
    /// Whose calls it counts.
    pub partner_id: PartnerId,
    /// The partner's short name.
    pub slug: Slug,
    /// The router.
    pub router: Uuid,
    /// The batch.
    pub sequence: u64,
    /// When that one came.
    pub last_at: DateTime<Utc>,
}

/// What one batch of a router has changed: all of it is one event, so that no part is stored without the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRows {
    /// Hours.
    pub hours: Vec<UsageRow>,
    /// Totals.
    pub totals: Vec<UsageTotalRow>,
    /// The router.
    pub router: UsageRouterRow,
}
