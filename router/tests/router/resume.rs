//! The subgraph goes and comes back; the client sees a pause.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::process::{eventually, start};
use crate::streams::{Item, MULTIPART, SSE, Stream};
use crate::subgraphs::schemas;

/// One socket upstream, so that the order of what comes is one.
const ONE_UPSTREAM: &str =
    "plugins: {velvet.subscriptions: {upstream: {sockets_per_subgraph: 1, backoff_max_ms: 200}}}";

#[tokio::test]
async fn a_subgraph_that_comes_back_has_lost_nothing_and_doubles_nothing() {
    let mut stack = start(ONE_UPSTREAM).await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("plain", "subscription { texts }").await;
    alice.subscribe("joined", "subscription { posts { ... on Posted { post { text author { name } } } } }").await;
    stack.streaming(2).await;
    let mut next = [0, 0];
    for round in 0..5 {
        for number in 0..40 {
            stack.world().post(format!("{}", round * 60 + number), "ann");
        }
        // In the middle of what is under way.
        while next[0] < round * 60 + 10 {
            read_one(&mut alice, &mut next).await;
        }
        stack.api.kill().await;
        for number in 40..60 {
            stack.world().post(format!("{}", round * 60 + number), "ann");
        }
        stack.api.restart().await;
        while next != [(round + 1) * 60; 2] {
            read_one(&mut alice, &mut next).await;
        }
    }
    assert!(stack.router.metric("velvet_router_upstream_reconnects_total").await >= 5);
}

async fn read_one(alice: &mut crate::client::Client, next: &mut [u32; 2]) {
    let message = alice.message().await;
    assert_eq!(message["type"], "next", "{message}");
    let data = &message["payload"]["data"];
    let (stream, text) = match message["id"].as_str() {
        Some("plain") => (0, &data["texts"]),
        // While the subgraph is away an event comes without what the other has to say, but it comes.
        _ => (1, &message["payload"]["data"]["posts"]["post"]["text"]),
    };
    if stream == 1 && data.is_null() {
        assert_eq!(message["payload"]["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{message}");
    } else {
        assert_eq!(text, &json!(next[stream].to_string()), "{message}");
    }
    assert_eq!(message["payload"]["extensions"]["cursor"], (next[stream] + 1).to_string());
    next[stream] += 1;
}

#[tokio::test]
async fn a_subgraph_that_is_back_before_what_is_behind_it_is_a_longer_pause() {
    let mut stack = start(ONE_UPSTREAM).await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { texts }").await;
    stack.streaming(1).await;
    stack.api.kill().await;
    stack.world().post("one", "ann");
    stack.world().streams_unavailable.store(true, Ordering::SeqCst);
    stack.api.restart().await;
    eventually("it is asked again and again", async || stack.world().streams_refused.load(Ordering::SeqCst) >= 3).await;

    // Whoever comes now had nothing yet, and is told.
    let mut bob = stack.viewer("bob").await;
    bob.subscribe("s", "subscription { texts }").await;
    assert_eq!(bob.event("s").await["errors"][0]["extensions"]["code"], "UNAVAILABLE");

    stack.world().streams_unavailable.store(false, Ordering::SeqCst);
    assert_eq!(alice.event("s").await, json!({ "data": { "texts": "one" }, "extensions": { "cursor": "1" } }));
    stack.world().post("two", "ann");
    assert_eq!(alice.event("s").await["data"]["texts"], "two");
}

#[tokio::test]
async fn a_subgraph_hears_messages_of_a_router_that_has_nothing_to_ask() {
    let overrides = "plugins: {velvet.subscriptions: {upstream: {ping_interval_ms: 50, pong_timeout_ms: 2000}}}";
    let stack = start(overrides).await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { silence }").await;
    eventually("several signs of life", async || stack.world().pings.load(Ordering::SeqCst) >= 3).await;
    assert_eq!(stack.router.metric("velvet_router_upstream_reconnects_total").await, 0);
}

#[tokio::test]
async fn a_stream_that_has_heard_nothing_yet_comes_back_to_where_it_began() {
    let mut stack = start(ONE_UPSTREAM).await;
    stack.world().post("before", "ann");
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("quiet", "subscription { silence }").await;
    stack.streaming(1).await;
    alice.subscribe("loud", "subscription { texts }").await;
    stack.streaming(2).await;
    stack.world().post("one", "ann");
    // What came before it on the same socket has come too.
    assert_eq!(alice.event("loud").await["data"]["texts"], "one");
    stack.api.kill().await;
    stack.world().post("two", "ann");
    stack.api.restart().await;
    assert_eq!(alice.event("loud").await["data"]["texts"], "two");
    eventually("both are back", async || stack.world().subscribes.lock().unwrap().len() >= 4).await;
    let subscribes = stack.world().subscribes.lock().unwrap();
    let quiet =
        subscribes.iter().skip(2).find(|payload| payload["query"].as_str().unwrap().contains("silence")).unwrap();
    assert_eq!(quiet["extensions"]["after"], "1");
}

#[tokio::test]
async fn a_client_that_comes_back_with_its_cursor_gets_what_it_missed() {
    let stack = start("{}").await;
    for text in ["one", "two", "three"] {
        stack.world().post(text, "ann");
    }
    let mut alice = stack.viewer("alice").await;
    let payload = json!({ "query": "subscription { texts }", "extensions": { "after": "1" } });
    alice.subscribe_with("s", payload).await;
    assert_eq!(alice.event("s").await, json!({ "data": { "texts": "two" }, "extensions": { "cursor": "2" } }));
    assert_eq!(alice.event("s").await, json!({ "data": { "texts": "three" }, "extensions": { "cursor": "3" } }));
}

#[tokio::test]
async fn a_stream_outlives_its_schema_for_a_while_and_is_then_told_to_come_back() {
    let told = "velvet.limits: {introspection: true}";
    let drain = "velvet.subscriptions: {drain: {retire_window_ms: 12000}}";
    let stack = start(&format!("{{supergraph: {{introspection: true}}, plugins: {{{told}, {drain}}}}}")).await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { texts }").await;
    let mut sse = Stream::open(&stack, SSE, "carol", "subscription { texts }").await;
    let mut multipart = Stream::open(&stack, MULTIPART, "carol", "subscription { texts }").await;
    stack.streaming(3).await;

    let [accounts, (name, sdl)] = schemas(stack.world());
    let wider = sdl.replace("hello(", "extra: Int\n\thello(");
    stack.router.recompose(&[accounts, (name, wider)], &stack.api.url());
    let query = json!({ "query": "{ __type(name: \"Query\") { fields { name } } }" });
    eventually("the new schema is live", async || {
        // The reload drops connections that have not asked anything yet.
        match reqwest::Client::new().post(stack.router.graphql_url()).json(&query).send().await {
            Ok(answer) => answer.text().await.is_ok_and(|text| text.contains("extra")),
            Err(_) => false,
        }
    })
    .await;
    stack.world().post("one", "ann");
    assert_eq!(alice.event("s").await["data"]["texts"], "one");
    assert_eq!(sse.event().await["data"]["texts"], "one");
    assert_eq!(multipart.event().await["data"]["texts"], "one");
    let mut bob = stack.viewer("bob").await;
    bob.subscribe("s", "subscription { texts }").await;
    stack.streaming(4).await;

    assert_eq!(alice.close_code().await, 1001);
    assert_eq!(sse.item().await, Item::Alive("1001 Going away".to_owned()));
    assert_eq!(sse.item().await, Item::End);
    assert!(matches!(multipart.said().await, Item::Failure(errors) if errors[0]["extensions"]["closeCode"] == 1001));
    assert_eq!(multipart.item().await, Item::Complete);
    stack.world().post("two", "ann");
    assert_eq!(bob.event("s").await["data"]["texts"], "two");
}
