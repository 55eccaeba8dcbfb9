//! What is counted of partners' calls, and that no answer is given before.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use velvet_edge::signature::sign_usage;

use crate::calls::{HEADER, LONG_AGO, answer, at, code, get, known, post, socket};
use crate::process::{Stack, eventually};
use crate::registry::{Key, Registry};
use crate::streams::SSE;

type Sums = BTreeMap<(String, &'static str), u64>;

/// The batches, each once, however often it was sent: by router and number.
fn batches(stack: &Stack) -> BTreeMap<(String, u64), (String, Value)> {
    let mut batches = BTreeMap::new();
    for (signature, text) in stack.world().usage.lock().unwrap().iter() {
        assert_eq!(*signature, sign_usage(&Key::of("acme").hash(), text.as_bytes()));
        let batch: Value = serde_json::from_str(text).unwrap();
        let name = (batch["router"].as_str().unwrap().to_owned(), batch["sequence"].as_u64().unwrap());
        let (first, _) = batches.entry(name).or_insert_with(|| (text.clone(), batch));
        assert_eq!(first, text, "what is sent again is the same");
    }
    batches
}

/// What was counted in all, by operation and outcome.
fn counted(stack: &Stack) -> Sums {
    let mut sums = Sums::new();
    for (_, batch) in batches(stack).into_values() {
        for hour in batch["hours"].as_array().unwrap() {
            for outcome in ["ok", "error", "refused", "rateLimited"] {
                let count = hour[outcome].as_u64().unwrap();
                if count > 0 {
                    let operation = hour["operation"].as_str().unwrap_or("none").to_owned();
                    *sums.entry((operation, outcome)).or_default() += count;
                }
            }
        }
    }
    sums
}

/// What all calls of an operation cost by estimate.
fn cost_of(stack: &Stack, operation: &str) -> u64 {
    let batches = batches(stack);
    let hours = batches.values().flat_map(|(_, batch)| batch["hours"].as_array().unwrap());
    hours.filter(|hour| hour["operation"] == operation).map(|hour| hour["cost"].as_u64().unwrap()).sum()
}

fn sums(expected: &[(&str, &'static str, u64)]) -> Sums {
    expected.iter().map(|(operation, outcome, count)| (((*operation).to_owned(), *outcome), *count)).collect()
}

/// A router that knows some operations, with nothing counted so far.
async fn start(registry: &Registry, options: &str) -> Stack {
    start_with(registry, &format!("{{plugins: {{velvet.partners: {{usage: {options}}}}}}}")).await
}

async fn start_with(registry: &Registry, overrides: &str) -> Stack {
    registry.operation("acme", "header", HEADER, None).await;
    registry.operation("acme", "failing", "{ failing }", None).await;
    registry.operation("acme", "wait", "{ wait }", None).await;
    registry.operation("acme", "texts", "subscription { texts }", None).await;
    registry.operation("acme", "posts", "subscription { posts { ... on Posted { post { text } } } }", None).await;
    registry.operation("acme", "old", "{ header }", Some(LONG_AGO)).await;
    let stack = registry.stack(overrides).await;
    known(&stack, &Key::of("acme"), "header").await;
    let undelivered = async || stack.router.metric("velvet_router_usage_undelivered").await;
    eventually("all is delivered", async || undelivered().await == 0).await;
    stack.world().usage.lock().unwrap().clear();
    stack
}

#[tokio::test]
async fn each_call_with_a_key_is_counted_by_what_came_of_it() {
    let registry = Registry::with_partners().await;
    let stack = start(&registry, "{wait_ms: 20000}").await;
    let key = Key::of("acme");
    let (router, text) = (&stack.router, Some(key.text.as_str()));
    let named = |id: &str| json!({ "documentId": id });
    for request in
        [post(router, text, &named("header")), get(router, text, &named("header")), at(router, text, "header")]
    {
        assert_eq!(answer(request).await.0, 200);
    }
    assert_eq!(code(&answer(post(router, text, &named("failing"))).await.1), "INTERNAL");
    for (refused, expected) in [
        (named("unknown"), "OPERATION_NOT_FOUND"),
        (named("old"), "OPERATION_NOT_FOUND"),
        (json!({ "query": HEADER }), "OPERATION_REQUIRED"),
    ] {
        assert_eq!(code(&answer(post(router, text, &refused)).await.1), expected);
    }
    assert_eq!(code(&answer(at(router, text, "no.id:at*all")).await.1), "OPERATION_NOT_FOUND");
    let mut acme = socket(router, &key.text).await;
    acme.subscribe_with("a", named("header")).await;
    assert!(acme.event("a").await["data"]["header"].is_string());
    assert_eq!(acme.message().await["type"], "complete");
    acme.subscribe_with("b", named("unknown")).await;
    assert_eq!(acme.error_code("b").await, "OPERATION_NOT_FOUND");
    acme.subscribe_with("c", named("texts")).await;
    stack.streaming(1).await;
    acme.subscribe_with("d", named("posts")).await;
    stack.streaming(2).await;
    // Nobody's: without a key, and with one that lets nobody in.
    assert_eq!(answer(post(router, None, &json!({ "query": HEADER }))).await.0, 200);
    assert_eq!(answer(post(router, Some(&Key::of("unknown").text), &named("header"))).await.0, 401);

    let expected = sums(&[
        ("header", "ok", 4),
        ("failing", "error", 1),
        ("none", "refused", 4),
        ("old", "refused", 1),
        ("posts", "ok", 1),
        ("texts", "ok", 1),
    ]);
    assert_eq!(counted(&stack), expected, "all that was answered is counted already");
    assert_eq!(cost_of(&stack, "posts"), 2, "a subscription costs what one event of it costs: two objects");
    let of_key: u64 = batches(&stack).values().map(|(_, batch)| batch["keys"][0]["calls"].as_u64().unwrap()).sum();
    assert_eq!(of_key, 12);
}

#[tokio::test]
async fn an_answer_waits_until_its_call_is_counted() {
    let registry = Registry::with_partners().await;
    let stack = start(&registry, "{wait_ms: 60000}").await;
    stack.world().usage_status.send_replace(None);
    let request = post(&stack.router, Some(&Key::of("acme").text), &json!({ "documentId": "header" }));
    let call = tokio::spawn(answer(request));
    eventually("the batch is sent", async || !stack.world().usage.lock().unwrap().is_empty()).await;
    assert!(!call.is_finished());
    stack.world().usage_status.send_replace(Some(200));
    assert_eq!(call.await.unwrap().0, 200);
    assert_eq!(counted(&stack), sums(&[("header", "ok", 1)]));
}

#[tokio::test]
async fn what_is_not_taken_is_sent_again_as_it_is_and_the_answer_waits_no_longer_than_it_may() {
    let registry = Registry::with_partners().await;
    let mut stack = start(&registry, "{wait_ms: 300}").await;
    stack.world().usage_status.send_replace(Some(503));
    let (acme, call) = (Key::of("acme"), json!({ "documentId": "header" }));
    for _ in 0..3 {
        assert_eq!(answer(post(&stack.router, Some(&acme.text), &call)).await.0, 200);
    }
    let sent = async |count: usize| stack.world().usage.lock().unwrap().len() >= count;
    eventually("it is sent again", async || sent(3).await).await;
    // The first batch holds the others up: one at a time.
    assert_eq!(batches(&stack).len(), 1);
    assert!(stack.router.metric("velvet_router_usage_late").await >= 3);
    stack.world().usage_status.send_replace(Some(200));
    let expected = sums(&[("header", "ok", 3)]);
    eventually("all is counted", async || counted(&stack) == expected).await;

    // With nobody there at all.
    stack.api.kill().await;
    assert_eq!(answer(post(&stack.router, Some(&acme.text), &json!({ "documentId": "unknown" }))).await.0, 404);
    stack.api.restart().await;
    let expected = sums(&[("header", "ok", 3), ("none", "refused", 1)]);
    eventually("that is counted as well", async || counted(&stack) == expected).await;
}

#[tokio::test]
async fn a_call_whose_caller_has_gone_counts_all_the_same() {
    let registry = Registry::with_partners().await;
    let stack = start(&registry, "{}").await;
    let request = post(&stack.router, Some(&Key::of("acme").text), &json!({ "documentId": "wait" }));
    let call = tokio::spawn(answer(request));
    eventually("the call runs", async || stack.world().waiting.load(Ordering::SeqCst) == 1).await;
    call.abort();
    stack.world().released.send_replace(true);
    let counted_once = async || counted(&stack).into_iter().map(|((id, _), count)| (id, count)).collect::<Vec<_>>();
    eventually("it is counted", async || counted_once().await == [("wait".to_owned(), 1)]).await;
}

#[tokio::test]
async fn a_refusal_over_the_socket_or_of_a_stream_waits_for_its_count_too() {
    let registry = Registry::with_partners().await;
    let limits = json!({ "requestsPerSecond": 100, "burst": 100, "costPerMinute": 1, "monthlyQuota": 10_000 });
    registry.partner_with("acme", false, limits).await;
    let wanting = "subscription($prefix: String!) { texts(prefix: $prefix) }";
    registry.operation("acme", "wanting", wanting, None).await;
    let deep = "subscription { posts { ... on Posted { post { author { id } } } } }";
    registry.operation("acme", "deep", deep, None).await;
    let overrides = "{plugins: {velvet.partners: {usage: {wait_ms: 60000}}, velvet.limits: {partner: {depth: 3}}}}";
    let stack = start_with(&registry, overrides).await;
    let key = Key::of("acme");
    let mut acme = socket(&stack.router, &key.text).await;
    stack.world().usage_status.send_replace(None);
    let records = async || stack.router.metric("velvet_router_usage_records").await;
    let before = records().await;

    let named = |id: &str| json!({ "documentId": id });
    let request = post(&stack.router, Some(&key.text), &named("wanting")).header("accept", SSE);
    let stream = tokio::spawn(answer(request));
    for id in ["unknown", "wanting", "deep"] {
        acme.subscribe_with(id, named(id)).await;
    }
    eventually("four are refused", async || records().await == before + 4).await;
    // What costs more than there is passes once, and is paid for afterwards.
    for id in ["one", "other"] {
        acme.subscribe_with(id, named("posts")).await;
    }
    eventually("one runs and one is refused", async || records().await == before + 6).await;
    acme.send(&json!({ "type": "ping" })).await;
    assert_eq!(acme.message().await["type"], "pong", "nothing was said before it was counted");
    assert!(!stream.is_finished());

    stack.world().usage_status.send_replace(Some(200));
    let mut codes = Vec::new();
    for _ in 0..4 {
        let message = acme.message().await;
        codes.push(message["payload"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned());
    }
    codes.sort_unstable();
    let expected = ["OPERATION_NOT_FOUND", "OPERATION_TOO_DEEP", "RATE_LIMITED", "VALIDATION_INVALID_TYPE_VARIABLE"];
    assert_eq!(codes, expected);
    assert_eq!(stream.await.unwrap().0, 200);
    let expected = sums(&[
        ("deep", "refused", 1),
        ("none", "refused", 1),
        ("posts", "ok", 1),
        ("posts", "rateLimited", 1),
        ("wanting", "refused", 2),
    ]);
    assert_eq!(counted(&stack), expected);
}

#[tokio::test]
async fn what_is_given_up_as_soon_as_it_was_asked_for_counts_once() {
    let registry = Registry::with_partners().await;
    let stack = start(&registry, "{}").await;
    let mut acme = socket(&stack.router, &Key::of("acme").text).await;
    for number in 0..20 {
        let (id, called) = (number.to_string(), ["header", "texts"][number % 2]);
        acme.subscribe_with(&id, json!({ "documentId": called })).await;
        acme.send(&json!({ "type": "complete", "id": id })).await;
    }
    let calls = async || {
        let mut calls = BTreeMap::new();
        for ((operation, _), count) in counted(&stack) {
            *calls.entry(operation).or_insert(0) += count;
        }
        calls.into_iter().collect::<Vec<_>>()
    };
    let expected = [("header".to_owned(), 10), ("texts".to_owned(), 10)];
    eventually("all are counted", async || calls().await == expected).await;
}
