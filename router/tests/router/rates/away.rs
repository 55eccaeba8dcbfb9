//! Counting while Redis is away, or slow, and when it is back.

use serde_json::json;

use super::{counts_locally, decisions, fixed, passed, start_counting, status, viewer};
use crate::calls::{known, post};
use crate::process::eventually;
use crate::registry::Registry;

#[tokio::test]
async fn a_router_without_redis_lets_its_part_through_and_says_so() {
    let mut registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "monthlyQuota": 20 })).await;
    let rates = format!("{{routers: 2, per_viewer: {{requests: {}}}}}", fixed(10));
    let stack = start_counting(&registry, &rates).await;
    known(&stack, &acme, "header").await;
    assert_eq!(passed(20, |_| viewer(&stack, "alice", "{ header }")).await, 10);

    registry.stop();
    assert_eq!(passed(20, |_| viewer(&stack, "bob", "{ header }")).await, 5);
    let refused = viewer(&stack, "bob", "{ header }").send().await.unwrap();
    let policy = refused.headers()["ratelimit-policy"].to_str().unwrap();
    assert!(policy.starts_with("\"viewer\";q=5;") && policy.contains(";velvet-local"), "{policy}");
    counts_locally(&stack.router, true).await;
    let call = json!({ "documentId": "header" });
    let of_acme = |_| post(&stack.router, Some(&acme.text), &call);
    assert_eq!(passed(20, of_acme).await, (20 - 1) / 2, "its part of what was left of the quota");

    registry.serve().await;
    counts_locally(&stack.router, false).await;
    assert_eq!(passed(20, |_| viewer(&stack, "bob", "{ header }")).await, 10, "the buckets are new");
    assert_eq!(passed(20, of_acme).await, 20 - 1 - 9, "what was let through without Redis is counted in it");
}

#[tokio::test]
async fn a_redis_that_is_too_slow_is_not_waited_for() {
    let registry = Registry::empty().await;
    // Each call is counted by itself.
    let rates = format!("{{redis_timeout_ms: 200, per_viewer: {{requests: {}}}}}", fixed(60));
    let stack = start_counting(&registry, &rates).await;
    assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    registry.ask::<()>(redis::cmd("CLIENT").arg("PAUSE").arg(4_000)).await;
    for _ in 0..3 {
        assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    }
    counts_locally(&stack.router, true).await;
    let redis = decisions(&stack.router, "redis").await;
    assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    counts_locally(&stack.router, false).await;
    eventually("calls are counted in Redis again", async || {
        assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
        decisions(&stack.router, "redis").await > redis
    })
    .await;
}
