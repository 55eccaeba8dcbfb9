//! What is counted of partners' calls, on its way from the routers.

use crate::model::Tally;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A partner's calls were counted; data: [`crate::row::UsageRows`].
pub const PARTNER_USAGE: &str = "accounts.partner_usage";

/// Calls of one partner that one router has counted. Its key is the entity of the partner's usage, `usage:<slug>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFact {
    /// The router: another after each start.
    pub router: Uuid,
    /// Rises with each batch of this router for this partner. One is sent until it is acknowledged, then the next, so
    /// what is not above the highest that was seen is a repeat, however late it comes.
    pub sequence: u64,
    /// When the batch was closed: from then on it stays as it is.
    pub made_at: DateTime<Utc>,
    /// The calls.
    pub hours: Vec<HourTally>,
    /// The same calls, by key.
    pub keys: Vec<KeyTally>,
}

/// Calls of one operation that ended in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourTally {
    /// The hour's beginning.
    pub hour: DateTime<Utc>,
    /// The operation's id; empty for calls that named none of the partner's.
    pub operation: String,
    /// How many, and what came of them.
    #[serde(flatten)]
    pub tally: Tally,
}

/// Calls with one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyTally {
    /// The part of the key that names it.
    pub prefix: String,
    /// How many.
    pub calls: u64,
    /// When the last one ended.
    pub last_at: DateTime<Utc>,
}
