//! Records of one partner, summed up by hour, operation and key: what waits for a batch grows with those, not with calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use super::outcome::Outcome;
use crate::plugins::limits::Cost;

/// Hours of operations in one batch, as the accounts subgraph takes them.
pub(super) const HOURS_MAX: usize = 500;
/// Keys in one batch.
const KEYS_MAX: usize = 200;
/// Hours of operations that wait; of more, the operations are not told apart.
const WAITING_MAX: usize = 10_000;
/// Upper ends of the buckets for how long calls took, in milliseconds; the accounts subgraph has the same.
const LATENCY_BOUNDS_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];

/// A call that is over.
pub(super) struct Record<'c> {
    pub(super) partner: &'c Arc<str>,
    /// The key's prefix.
    pub(super) key: &'c Arc<str>,
    /// The partner's operation; nothing when the call named none.
    pub(super) operation: Option<&'c Arc<str>>,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    pub(super) cost: Cost,
    pub(super) at: DateTime<Utc>,
}

/// Calls of one operation that ended in one hour.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tally {
    ok: u64,
    error: u64,
    refused: u64,
    rate_limited: u64,
    cost: u64,
    actual_cost: u64,
    latency: Vec<u64>,
    #[serde(serialize_with = "in_millis")]
    last_at: DateTime<Utc>,
}

#[derive(Default)]
struct OfKey {
    calls: u64,
    last_at: DateTime<Utc>,
}

/// Records, summed up.
#[derive(Default)]
pub(super) struct Tallies {
    hours: BTreeMap<(DateTime<Utc>, Option<Arc<str>>), Tally>,
    keys: BTreeMap<Arc<str>, OfKey>,
    /// How many there are.
    records: u64,
}

/// What a batch says, besides who sends it.
#[derive(Serialize)]
struct OfOperation<'t> {
    #[serde(serialize_with = "in_millis")]
    hour: DateTime<Utc>,
    operation: Option<&'t str>,
    #[serde(flatten)]
    tally: &'t Tally,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Key<'t> {
    prefix: &'t str,
    calls: u64,
    #[serde(serialize_with = "in_millis")]
    last_at: DateTime<Utc>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'t> {
    router: &'t str,
    sequence: u64,
    #[serde(serialize_with = "in_millis")]
    made_at: DateTime<Utc>,
    /// The prefix of the key whose hash it is signed with.
    key: &'t str,
    hours: Vec<OfOperation<'t>>,
    keys: Vec<Key<'t>>,
}

impl Tallies {
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn add(&mut self, record: &Record<'_>) {
        let hour = record.at.duration_trunc(TimeDelta::hours(1)).unwrap_or(record.at);
        let operation = record.operation.filter(|_| self.hours.len() < WAITING_MAX).cloned();
        self.hours.entry((hour, operation)).or_default().add(record);
        let key = self.keys.entry(Arc::clone(record.key)).or_default();
        key.calls += 1;
        key.last_at = key.last_at.max(record.at);
        self.records += 1;
    }

    /// Splits off what does not fit one batch.
    pub(super) fn split(mut self) -> Vec<Self> {
        let mut parts = Vec::new();
        loop {
            let hours = self.hours.keys().nth(HOURS_MAX).cloned();
            let keys = self.keys.keys().nth(KEYS_MAX).cloned();
            let rest = Self {
                hours: hours.map(|first| self.hours.split_off(&first)).unwrap_or_default(),
                keys: keys.map(|first| self.keys.split_off(&first)).unwrap_or_default(),
                records: 0,
            };
            let done = rest.hours.is_empty() && rest.keys.is_empty();
            self.records = self.hours.values().map(Tally::calls).sum();
            parts.push(self);
            if done {
                return parts;
            }
            self = rest;
        }
    }

    /// One of the keys, for the signature.
    pub(super) fn a_key(&self) -> Option<Arc<str>> {
        self.keys.keys().next().cloned()
    }

    /// The batch as it is sent.
    pub(super) fn to_json(&self, router: &str, sequence: u64, made_at: DateTime<Utc>, key: &str) -> Vec<u8> {
        let hours = self.hours.iter();
        let keys = self.keys.iter();
        let batch = Batch {
            router,
            sequence,
            made_at,
            key,
            hours: hours
                .map(|((hour, operation), tally)| OfOperation { hour: *hour, operation: operation.as_deref(), tally })
                .collect(),
            keys: keys.map(|(prefix, key)| Key { prefix, calls: key.calls, last_at: key.last_at }).collect(),
        };
        serde_json::to_vec(&batch).unwrap_or_default()
    }
}

impl Tally {
    fn calls(&self) -> u64 {
        self.ok + self.error + self.refused + self.rate_limited
    }

    fn add(&mut self, record: &Record<'_>) {
        *match record.outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Error => &mut self.error,
            Outcome::Refused => &mut self.refused,
            Outcome::RateLimited => &mut self.rate_limited,
        } += 1;
        self.cost = self.cost.saturating_add(record.cost.estimated);
        self.actual_cost = self.actual_cost.saturating_add(record.cost.actual.unwrap_or_default());
        self.last_at = self.last_at.max(record.at);
        if record.outcome.is_let_through() {
            let took_us = record.took.as_micros();
            let bucket = LATENCY_BOUNDS_MS.partition_point(|bound_ms| u128::from(*bound_ms) * 1_000 < took_us);
            if self.latency.len() <= bucket {
                self.latency.resize(bucket + 1, 0);
            }
            self.latency[bucket] += 1;
        }
    }
}

fn in_millis<S: serde::Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(tallies: &mut Tallies, operation: Option<&str>, outcome: Outcome, took_ms: u64) {
        let operation: Option<Arc<str>> = operation.map(Into::into);
        tallies.add(&Record {
            partner: &"acme".into(),
            key: &"abcdef012345".into(),
            operation: operation.as_ref(),
            outcome,
            took: Duration::from_millis(took_ms),
            cost: Cost { estimated: 5, actual: Some(2) },
            at: "2026-11-21T12:34:56.789Z".parse().unwrap(),
        });
    }

    fn json_of(tallies: &Tallies) -> Value {
        let made_at = "2026-11-21T12:35:00Z".parse().unwrap();
        serde_json::from_slice(&tallies.to_json("r", 7, made_at, "abcdef012345")).unwrap()
    }

    #[test]
    fn calls_are_summed_up_as_the_accounts_subgraph_reads_them() {
        let mut tallies = Tallies::default();
        record(&mut tallies, Some("deck"), Outcome::Ok, 3);
        record(&mut tallies, Some("deck"), Outcome::Error, 60_000);
        record(&mut tallies, None, Outcome::Refused, 1);
        assert_eq!(tallies.records(), 3);
        let hour = "2026-11-21T12:00:00.000Z";
        let last = "2026-11-21T12:34:56.789Z";
        let sent = json_of(&tallies);
        assert_eq!(
            sent["hours"],
            json!([
                { "hour": hour, "operation": null, "ok": 0, "error": 0, "refused": 1, "rateLimited": 0, "cost": 5,
                  "actualCost": 2, "latency": [], "lastAt": last },
                { "hour": hour, "operation": "deck", "ok": 1, "error": 1, "refused": 0, "rateLimited": 0, "cost": 10,
                  "actualCost": 4, "latency": [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "lastAt": last },
            ])
        );
        assert_eq!(sent["keys"], json!([{ "prefix": "abcdef012345", "calls": 3, "lastAt": last }]));
        assert_eq!((&sent["sequence"], &sent["router"]), (&json!(7), &json!("r")));
    }

    #[test]
    fn what_is_too_much_for_one_batch_is_several_and_nothing_is_lost() {
        let mut tallies = Tallies::default();
        for number in 0..1_201 {
            record(&mut tallies, Some(&format!("operation {number}")), Outcome::Ok, 1);
        }
        let parts = tallies.split();
        let hours: Vec<usize> = parts.iter().map(|part| json_of(part)["hours"].as_array().unwrap().len()).collect();
        assert_eq!(hours, [500, 500, 201]);
        assert_eq!(parts.iter().map(Tallies::records).sum::<u64>(), 1_201);
        let keys: u64 = parts.iter().filter_map(|part| json_of(part)["keys"][0]["calls"].as_u64()).sum();
        assert_eq!(keys, 1_201);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut tallies = Tallies::default();
        for number in 0..12_000 {
            record(&mut tallies, Some(&format!("operation {number}")), Outcome::Ok, 1);
        }
        assert_eq!((tallies.hours.len(), tallies.records()), (WAITING_MAX + 1, 12_000));
    }
}
