//! What routers have counted of partners' calls: one batch of one partner at a time.
//!
//! A router is let in by what it knows and nobody outside does: the hash of one of the partner's keys, with which it
//! signs the batch. That holds for keys that have ended, whose last calls are counted as well.

use super::{Answer, Refusal, Service};
use crate::{
    event::{HourTally, KeyTally, UsageFact},
    model::{self, LATENCY_BUCKETS, Tally},
    service::usage::BATCH_AGE_MAX,
};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;
use velvet_kernel::fault::{Code, Fault};

/// The header that has the batch's signature.
const SIGNATURE: &str = "x-velvet-usage-signature";
/// Entries of one batch: with the longest ids, what it changes is still one record of the log.
const HOURS_MAX: usize = 500;
/// Keys of one batch: more than a partner has.
const KEYS_MAX: usize = 200;
/// The largest number that is taken: far more than any batch counts, and whole in every language.
const COUNT_MAX: u64 = 1 << 50;

/// A batch, as a router sends it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    router: Uuid,
    sequence: u64,
    made_at: DateTime<Utc>,
    /// The prefix of the key whose hash it is signed with.
    key: String,
    hours: Vec<OfOperation>,
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfOperation {
    hour: DateTime<Utc>,
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    ok: u64,
    #[serde(default)]
    error: u64,
    #[serde(default)]
    refused: u64,
    #[serde(default)]
    rate_limited: u64,
    #[serde(default)]
    cost: u64,
    #[serde(default)]
    actual_cost: u64,
    #[serde(default)]
    latency: Vec<u64>,
    last_at: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    prefix: String,
    calls: u64,
    last_at: DateTime<Utc>,
}

/// Takes a batch; the answer means that the log has it.
pub(super) async fn count(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Answer {
    let batch: Batch = serde_json::from_slice(&body).map_err(|_| malformed())?;
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = service.usage.key(&batch.key).await?.filter(|key| key.has_signed(&body, signature));
    let key = key.ok_or_else(|| Fault::new(Code::Unauthenticated, "the signature is not that of a router"))?;
    let fact = batch.fact().ok_or_else(malformed)?;
    let age = service.serve.clock.now() - fact.made_at;
    if age > BATCH_AGE_MAX {
        let message = "the batch is too old to be told from one that was counted".to_owned();
        let code = Code::InvalidArgument.as_str();
        return Err(Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, code, message, more: json!({}) });
    }
    service.usage.count(&key, fact).await?;
    Ok(Json(json!({ "counted": true })))
}

fn malformed() -> Refusal {
    Fault::invalid("this is no batch of counted calls").into()
}

impl Batch {
    /// The fact, if all is within its bounds.
    fn fact(self) -> Option<UsageFact> {
        let Self { router, sequence, made_at, hours, keys, .. } = self;
        let sizes = hours.len() <= HOURS_MAX && keys.len() <= KEYS_MAX && sequence > 0 && hours.len() + keys.len() > 0;
        let hours = sizes.then(|| hours.into_iter().map(OfOperation::tally).collect::<Option<Vec<_>>>())??;
        let keys = keys.into_iter().map(Key::tally).collect::<Option<Vec<_>>>()?;
        Some(UsageFact { router, sequence, made_at, hours, keys })
    }
}

impl OfOperation {
    fn tally(self) -> Option<HourTally> {
        let Self { hour, operation, ok, error, refused, rate_limited, cost, actual_cost, latency, last_at } = self;
        let operation = operation.unwrap_or_default();
        let named = operation.is_empty() || model::operation_id(&operation).is_ok();
        let counts = [ok, error, refused, rate_limited, cost, actual_cost];
        let bounded = counts.iter().chain(&latency).all(|count| *count <= COUNT_MAX);
        let tally = Tally { ok, error, refused, rate_limited, cost, actual_cost, latency, last_at };
        (named && bounded && tally.latency.len() <= LATENCY_BUCKETS).then_some(HourTally { hour, operation, tally })
    }
}

impl Key {
    fn tally(self) -> Option<KeyTally> {
        let Self { prefix, calls, last_at } = self;
        let sound = (1..=64).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (sound && calls <= COUNT_MAX).then_some(KeyTally { prefix, calls, last_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn fact(change: impl FnOnce(&mut Value)) -> Option<UsageFact> {
        let mut batch = json!({
            "router": "0123456789abcdef0123456789abcdef", "sequence": 1, "madeAt": "2026-07-27T12:00:00Z", "key": "k",
            "hours": [{ "hour": "2026-07-27T12:00:00Z", "operation": "deck", "ok": 2, "latency": [0, 2],
                "lastAt": "2026-07-27T12:00:01Z" }],
            "keys": [{ "prefix": "k", "calls": 2, "lastAt": "2026-07-27T12:00:01Z" }],
        });
        change(&mut batch);
        serde_json::from_value::<Batch>(batch).ok().and_then(Batch::fact)
    }

    #[test]
    fn a_batch_is_bounded_in_all_its_parts() {
        assert_eq!(fact(|_| ()).unwrap().hours[0].tally.calls(), 2);
        assert_eq!(fact(|batch| batch["hours"][0]["operation"] = Value::Null).unwrap().hours[0].operation, "");
        let odd: [fn(&mut Value); 9] = [
            |batch| (batch["hours"], batch["keys"]) = (json!([]), json!([])),
            |batch| batch["hours"] = vec![batch["hours"][0].clone(); HOURS_MAX + 1].into(),
            |batch| batch["keys"] = vec![batch["keys"][0].clone(); KEYS_MAX + 1].into(),
            |batch| batch["sequence"] = 0.into(),
            |batch| batch["hours"][0]["operation"] = "a b".into(),
            |batch| batch["hours"][0]["ok"] = (-1).into(),
            |batch| batch["hours"][0]["cost"] = (COUNT_MAX + 1).into(),
            |batch| batch["hours"][0]["latency"] = vec![0; LATENCY_BUCKETS + 1].into(),
            |batch| batch["keys"][0]["prefix"] = "a/b".into(),
        ];
        for (index, change) in odd.into_iter().enumerate() {
            assert!(fact(change).is_none(), "{index}");
        }
    }
}
