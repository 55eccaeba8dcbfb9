//! What the registry holds, as the accounts subgraph writes it to Redis.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use velvet_edge::key::Mode;

/// How much a partner may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Requests per second, on average.
    pub requests_per_second: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// The sum of operations' costs in a minute.
    pub cost_per_minute: u32,
    /// Requests in a calendar month.
    pub monthly_quota: u64,
}

/// A partner.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Partner {
    pub(super) version: u64,
    pub(in super::super) id: Arc<str>,
    pub(in super::super) slug: Arc<str>,
    pub(in super::super) limits: Limits,
    pub(in super::super) disabled: bool,
}

/// An API key; of the key itself only the hash is known.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Key {
    pub(super) version: u64,
    pub(in super::super) prefix: Arc<str>,
    pub(in super::super) partner_id: Arc<str>,
    pub(in super::super) mode: Mode,
    pub(in super::super) hash: String,
    pub(in super::super) scopes: Vec<String>,
    #[serde(default)]
    pub(in super::super) require_signature: bool,
    pub(in super::super) expires_at: Option<DateTime<Utc>>,
    pub(in super::super) revoked_at: Option<DateTime<Utc>>,
}

/// A partner's registered operation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Operation {
    pub(super) version: u64,
    pub(in super::super) partner_id: Arc<str>,
    pub(in super::super) id: Arc<str>,
    pub(in super::super) body: Arc<str>,
    pub(in super::super) retired_at: Option<DateTime<Utc>>,
}

/// What one field of a hash says.
pub(super) trait Record: for<'de> Deserialize<'de> {
    fn version(&self) -> u64;
    /// The field that it stands under.
    fn field(&self) -> String;
    /// Whether it may never take effect again, whatever a later version says.
    fn is_final(&self) -> bool;
}

impl Record for Partner {
    fn version(&self) -> u64 {
        self.version
    }
    fn field(&self) -> String {
        self.id.to_string()
    }
    fn is_final(&self) -> bool {
        false
    }
}

impl Record for Key {
    fn version(&self) -> u64 {
        self.version
    }
    fn field(&self) -> String {
        self.prefix.to_string()
    }
    /// A revoked key stays revoked.
    fn is_final(&self) -> bool {
        self.revoked_at.is_some()
    }
}

impl Record for Operation {
    fn version(&self) -> u64 {
        self.version
    }
    fn field(&self) -> String {
        operation_field(&self.partner_id, &self.id)
    }
    fn is_final(&self) -> bool {
        false
    }
}

/// Where a partner's operation stands.
pub(super) fn operation_field(partner_id: &str, operation_id: &str) -> String {
    format!("{partner_id}/{operation_id}")
}
