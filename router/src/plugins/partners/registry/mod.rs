//! The router's own copy of partners, keys and operations: read from Redis at the start, kept in step with the changes.
//!
//! A call looks here and nowhere else, so that Redis may be away. What is known is only replaced by a later version and
//! never taken out: a wiped or restored Redis brings no revoked key back.

mod follow;
mod records;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::config::RedisConfig;
use super::redis::Redis;
use crate::plugins::subscriptions;
pub use records::Limits;
pub(super) use records::{Key, Operation, Partner};
use records::{Record, operation_field};

/// The process's registry: it outlives the pipelines, which are replaced with each schema.
static SHARED: Mutex<Option<(RedisConfig, Arc<Registry>)>> = Mutex::new(None);

/// Records of one kind, by their field in Redis.
struct Table<R> {
    records: RwLock<HashMap<String, Arc<R>>>,
    size_max: usize,
}

pub(super) struct Registry {
    partners: Table<Partner>,
    keys: Table<Key>,
    operations: Table<Operation>,
    /// Whether anything was ever read.
    loaded: AtomicBool,
    /// Counts the changes of partners and keys.
    keys_changed: watch::Sender<u64>,
    /// Counts the changes of operations.
    operations_changed: watch::Sender<u64>,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Partner,
    Key,
    Operation,
}

/// The hashes in Redis. All of the registry's keys carry one tag: they are one slot of a cluster.
pub(super) mod hashes {
    pub const PARTNERS: &str = "accounts:partners:{registry}";
    pub const KEYS: &str = "accounts:partner_keys:{registry}";
    pub const OPERATIONS: &str = "accounts:operations:{registry}";
}

impl Kind {
    const ALL: [Self; 3] = [Self::Partner, Self::Key, Self::Operation];

    fn parse(kind: &str) -> Option<Self> {
        match kind {
            "partner" => Some(Self::Partner),
            "key" => Some(Self::Key),
            "operation" => Some(Self::Operation),
            _ => None,
        }
    }

    /// The hash in Redis.
    const fn hash(self) -> &'static str {
        match self {
            Self::Partner => hashes::PARTNERS,
            Self::Key => hashes::KEYS,
            Self::Operation => hashes::OPERATIONS,
        }
    }
}

impl Registry {
    fn new(config: &RedisConfig) -> Self {
        Self {
            partners: Table::new(config.keys_max),
            keys: Table::new(config.keys_max),
            operations: Table::new(config.operations_max),
            loaded: AtomicBool::new(false),
            keys_changed: watch::Sender::new(0),
            operations_changed: watch::Sender::new(0),
        }
    }

    /// The process's registry, which follows Redis from the first call on.
    pub(super) fn shared(config: &RedisConfig) -> Arc<Self> {
        let mut shared = SHARED.lock();
        if let Some((known, registry)) = &*shared
            && known == config
        {
            return Arc::clone(registry);
        }
        let registry = Arc::new(Self::new(config));
        let follow = follow::run(Arc::downgrade(&registry), Redis::new(config), config.reload_interval_seconds);
        tokio::spawn(follow);
        tokio::spawn(recheck_sockets(registry.keys_changed()));
        *shared = Some((config.clone(), Arc::clone(&registry)));
        registry
    }

    /// Whether anything was ever read: before that, nothing can be said about a key.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    pub(super) fn key(&self, prefix: &str) -> Option<Arc<Key>> {
        self.keys.get(prefix)
    }

    pub(super) fn partner(&self, id: &str) -> Option<Arc<Partner>> {
        self.partners.get(id)
    }

    pub(super) fn operation(&self, partner_id: &str, operation_id: &str) -> Option<Arc<Operation>> {
        self.operations.get(&operation_field(partner_id, operation_id))
    }

    /// Texts of operations that are not retired, at most so many.
    pub(super) fn live_bodies(&self, count_max: usize) -> Vec<Arc<str>> {
        let operations = self.operations.records.read();
        let live = operations.values().filter(|operation| operation.retired_at.is_none());
        live.take(count_max).map(|operation| Arc::clone(&operation.body)).collect()
    }

    fn keys_changed(&self) -> watch::Receiver<u64> {
        self.keys_changed.subscribe()
    }

    pub(super) fn operations_changed(&self) -> watch::Receiver<u64> {
        self.operations_changed.subscribe()
    }

    /// Takes in what a hash says.
    fn merge(&self, kind: Kind, values: &[String]) {
        let changed = match kind {
            Kind::Partner => self.partners.merge(values),
            Kind::Key => self.keys.merge(values),
            Kind::Operation => self.operations.merge(values),
        };
        if !values.is_empty() {
            self.loaded.store(true, Ordering::Release);
        }
        if changed {
            let counter = if kind == Kind::Operation { &self.operations_changed } else { &self.keys_changed };
            counter.send_modify(|count| *count += 1);
        }
    }
}

impl<R: Record> Table<R> {
    fn new(size_max: usize) -> Self {
        Self { records: RwLock::new(HashMap::new()), size_max }
    }

    fn get(&self, field: &str) -> Option<Arc<R>> {
        self.records.read().get(field).cloned()
    }

    /// True when something is new.
    fn merge(&self, values: &[String]) -> bool {
        let mut changed = false;
        for value in values {
            match serde_json::from_str::<R>(value) {
                Ok(record) => changed |= self.put(record),
                Err(error) => tracing::error!(error = %error, "a record of the registry does not parse"),
            }
        }
        changed
    }

    fn put(&self, record: R) -> bool {
        let field = record.field();
        let mut records = self.records.write();
        match records.get(&field) {
            Some(known) if known.is_final() || known.version() >= record.version() => return false,
            None if records.len() >= self.size_max => {
                tracing::error!(registry.size = records.len(), "the registry is full; a record was not taken");
                return false;
            }
            _ => {}
        }
        records.insert(field, Arc::new(record));
        true
    }
}

/// Whoever came in with a key that is in force no more has to leave.
async fn recheck_sockets(mut changed: watch::Receiver<u64>) {
    while changed.changed().await.is_ok() {
        subscriptions::recheck_callers();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(version: u64, revoked_at: Option<&str>) -> String {
        json!({
            "version": version, "prefix": "abcdef012345", "partnerId": "p", "mode": "live", "hash": "00",
            "scopes": ["*"], "requireSignature": false, "expiresAt": null, "revokedAt": revoked_at,
        })
        .to_string()
    }

    fn registry() -> Registry {
        Registry::new(&RedisConfig { urls: String::new(), reload_interval_seconds: 1, keys_max: 1, operations_max: 1 })
    }

    #[test]
    fn only_a_later_version_counts_and_a_revoked_key_stays_revoked() {
        let registry = registry();
        assert!(!registry.is_loaded());
        let merge = |version, revoked_at| {
            registry.merge(Kind::Key, &[key(version, revoked_at)]);
            let found = registry.key("abcdef012345").unwrap();
            (found.version, found.revoked_at.is_some())
        };
        assert_eq!(merge(2, None), (2, false));
        assert_eq!(merge(1, Some("2026-01-01T00:00:00Z")), (2, false));
        assert_eq!(merge(3, Some("2026-01-01T00:00:00Z")), (3, true));
        assert_eq!(merge(4, None), (3, true));
        assert!(registry.is_loaded());
    }

    #[test]
    fn the_registry_is_bounded_and_what_does_not_parse_is_left_out() {
        let registry = registry();
        registry.merge(Kind::Key, &["{".to_owned(), key(1, None), key(1, None).replace("abcdef", "ghijkl")]);
        assert!(registry.key("abcdef012345").is_some());
        assert!(registry.key("ghijkl012345").is_none());
    }
}
