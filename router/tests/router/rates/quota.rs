//! A month's quota: of all routers together, over wipes of Redis.

use serde_json::json;

use super::{counting, counts_locally, passed, start_counting, status};
use crate::calls::{answer, known, post};
use crate::process::eventually;
use crate::registry::Registry;

#[tokio::test]
async fn a_months_quota_is_the_partners_on_all_routers() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "monthlyQuota": 40 })).await;
    registry.used("acme", 7).await;
    let stacks = [start_counting(&registry, "{}").await, start_counting(&registry, "{}").await];
    for stack in &stacks {
        known(stack, &acme, "header").await;
    }
    let call = json!({ "documentId": "header" });
    let request = |number: usize| post(&stacks[number % 2].router, Some(&acme.text), &call);
    assert_eq!(passed(100, request).await, 40 - 7 - 2, "the counter begins where the durable count is");
    let (_, body) = answer(request(0)).await;
    assert_eq!(body["errors"][0]["message"], "the quota of this month is used up");
    let seconds = body["errors"][0]["extensions"]["retryAfterSeconds"].as_u64().unwrap();
    assert!(seconds > 0 && seconds <= 31 * 24 * 3_600, "{body}");
}

#[tokio::test]
async fn a_quota_survives_a_wipe_of_redis() {
    let registry = Registry::empty().await;
    let limits = json!({ "monthlyQuota": 10 });
    let acme = registry.calling("acme", limits.clone()).await;
    let mut stack = start_counting(&registry, "{}").await;
    known(&stack, &acme, "header").await;
    let call = json!({ "documentId": "header" });
    assert_eq!(passed(3, |_| post(&stack.router, Some(&acme.text), &call)).await, 3);
    registry.ask::<()>(&redis::cmd("FLUSHALL")).await;
    assert_eq!(
        passed(20, |_| post(&stack.router, Some(&acme.text), &call)).await,
        6,
        "a router knows what it has seen"
    );

    registry.ask::<()>(&redis::cmd("FLUSHALL")).await;
    registry.used("acme", 10).await;
    registry.calling("acme", limits).await;
    stack.restart_router(&counting(&registry, "{}")).await;
    counts_locally(&stack.router, false).await;
    eventually("the registry is read", async || {
        let status = status(post(&stack.router, Some(&acme.text), &call)).await;
        assert_ne!(status, 200, "what was used before the wipe is used");
        status == 429
    })
    .await;
}

#[tokio::test]
async fn a_durable_count_that_is_restored_later_counts_from_then_on() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "monthlyQuota": 100_000 })).await;
    let stack = start_counting(&registry, "{}").await;
    known(&stack, &acme, "header").await;
    registry.used("acme", 100_000).await;
    let call = json!({ "documentId": "header" });
    eventually("the durable count is found", async || {
        status(post(&stack.router, Some(&acme.text), &call)).await == 429
    })
    .await;
}
