//! What callers are told of their limits.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{start_counting, status, viewer};
use crate::calls::{at, known};
use crate::process::eventually;
use crate::registry::Registry;

#[tokio::test]
async fn who_comes_again_when_it_was_told_to_is_let_in() {
    let registry = Registry::empty().await;
    let stack = start_counting(&registry, "{per_viewer: {requests: {count: 1, seconds: 3}}}").await;
    let first_sent = Instant::now();
    assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    let refused = viewer(&stack, "alice", "{ header }").send().await.unwrap();
    let refused_at = Instant::now();
    assert_eq!(refused.status(), 429);
    let told: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let policy = refused.headers()["ratelimit-policy"].to_str().unwrap().to_owned();
    let standing = refused.headers()["ratelimit"].to_str().unwrap().to_owned();
    let body: Value = refused.json().await.unwrap();
    let expected = json!({ "code": "RATE_LIMITED", "retryAfterSeconds": told, "policy": "viewer" });
    assert_eq!(body, json!({ "errors": [{ "message": "too many requests", "extensions": expected }] }));
    assert!((1..=3).contains(&told), "{told}");
    assert_eq!(
        (policy.as_str(), standing),
        ("\"viewer\";q=1;w=3, \"viewer-cost\";q=6000000;w=60;qu=\"cost\"", format!("\"viewer\";r=0;t={told}"))
    );
    eventually("it passes", async || {
        let sent = Instant::now();
        let passes = status(viewer(&stack, "alice", "{ header }")).await == 200;
        assert!(passes || sent < refused_at + Duration::from_secs(told), "not when it was told");
        passes
    })
    .await;
    assert!(first_sent.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn a_partner_sees_its_limits_in_every_answer() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "requestsPerSecond": 1, "burst": 100 })).await;
    registry.operation("acme", "recent", "{ recent(first: 10) { author { id } } }", None).await;
    let stack = start_counting(&registry, "{}").await;
    known(&stack, &acme, "recent").await;
    let told = async |request: reqwest::RequestBuilder| {
        let response = request.send().await.unwrap();
        let field = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), field("ratelimit-policy"), field("ratelimit"), field("etag"))
    };
    let length = {
        let now = DateTime::<Utc>::from(SystemTime::now()).date_naive();
        let first = |date: chrono::NaiveDate| chrono::Datelike::with_day(&date, 1).unwrap();
        let next = first(now).checked_add_months(chrono::Months::new(1)).unwrap();
        (next - first(now)).num_seconds()
    };
    let policy = format!("\"key\";q=100;w=100, \"key-cost\";q=10000;w=60;qu=\"cost\", \"quota\";q=10000;w={length}");
    let (status, policies, standing, tag) = told(at(&stack.router, Some(&acme.text), "recent")).await;
    assert_eq!((status, policies.as_deref()), (200, Some(policy.as_str())));
    let left = parse(&standing.unwrap());
    assert_eq!(left["key"].0, 98);
    assert!(left["key-cost"].0 >= 10_000 - 2 * 20 && left["key-cost"].0 < 10_000, "{left:?}");
    assert_eq!(left["quota"].0, 9_998);
    assert!(left["key"].1 <= 2 && left["key-cost"].1 <= 1 && left["quota"].1 <= length.unsigned_abs());

    let again = at(&stack.router, Some(&acme.text), "recent").header("if-none-match", tag.unwrap());
    let (status, _, standing, _) = told(again).await;
    assert_eq!((status, parse(&standing.unwrap())["quota"].0), (304, 9_997));
    // Of limits that are not reached, nobody else is told.
    let (status, policies, standing, _) = told(viewer(&stack, "alice", "{ header }")).await;
    assert_eq!((status, policies, standing), (200, None, None));
}

/// What is left of each policy, and when there will be all of it.
fn parse(field: &str) -> HashMap<String, (u64, u64)> {
    let items = field.split(", ").map(|item| {
        let mut parts = item.split(';');
        let name = parts.next().unwrap().trim_matches('"').to_owned();
        let mut number = |name: &str| parts.next().unwrap().strip_prefix(name).unwrap().parse().unwrap();
        (name, (number("r="), number("t=")))
    });
    items.collect()
}
