//! One subgraph's stream: forwarded as it comes, or cut to what was asked.

use serde_json::json;

use crate::process::start;

#[tokio::test]
async fn an_event_is_forwarded_as_the_subgraph_sent_it() {
    let stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    let query = "subscription($p: String!) { texts(prefix: $p) }";
    alice.subscribe_with("s", json!({ "query": query, "variables": { "p": "> " } })).await;
    stack.streaming(1).await;
    stack.world().post("one", "ann");
    stack.world().post("two", "bob");
    assert_eq!(alice.event("s").await, json!({ "data": { "texts": "> one" }, "extensions": { "cursor": "1" } }));
    assert_eq!(alice.event("s").await, json!({ "data": { "texts": "> two" }, "extensions": { "cursor": "2" } }));

    // The way Apollo Client and urql ask: type names at the end of each selection.
    let query = "subscription { posts { ... on Posted { post { id text __typename } __typename } \
                 ... on Reset { reason __typename } __typename } }";
    alice.subscribe("t", query).await;
    stack.streaming(2).await;
    alice.send(&json!({ "id": "s", "type": "complete" })).await;
    // Answered in order: what was said before has been done.
    alice.send(&json!({ "type": "ping" })).await;
    assert_eq!(alice.message().await, json!({ "type": "pong" }));
    stack.world().post("three", "ann");
    let event = alice.event("t").await;
    assert_eq!(event["data"]["posts"]["post"], json!({ "id": "3", "text": "three", "__typename": "Post" }));
    assert_eq!(stack.router.metric("velvet_router_events_forwarded_total").await, 3);
}

#[tokio::test]
async fn an_event_that_says_more_than_was_asked_is_cut() {
    let stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    let query = "subscription($no: Boolean!) { news: posts { ...New ... on Reset { why: reason } } } \
                 fragment New on Posted { post { body: text } post { id @skip(if: $no) } }";
    alice.subscribe_with("s", json!({ "query": query, "variables": { "no": true } })).await;
    stack.streaming(1).await;
    stack.world().post("one", "ann");
    stack.world().post("reset", "too old");
    assert_eq!(alice.event("s").await["data"], json!({ "news": { "post": { "body": "one" } } }));
    assert_eq!(alice.event("s").await["data"], json!({ "news": { "why": "too old" } }));
    assert_eq!(stack.router.metric("velvet_router_events_projected_total").await, 2);
}

#[tokio::test]
async fn what_is_done_for_an_event_is_a_part_of_its_trace_and_the_client_is_not_told() {
    let stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("executed", "subscription { posts { ... on Posted { post { author { name } } } } }").await;
    stack.streaming(1).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    *stack.world().traceparent.lock().unwrap() = Some(format!("00-{trace}-b7ad6b7169203331-01"));
    stack.world().post("one", "ann");
    let event = alice.event("executed").await;
    assert_eq!(event["extensions"], json!({ "cursor": "1" }));
    assert_eq!(event["data"]["posts"]["post"]["author"]["name"], "ANN");
    let traces = stack.world().traces.lock().unwrap().clone();
    assert!(traces.iter().all(|parent| parent.as_deref().is_some_and(|parent| parent.contains(trace))), "{traces:?}");
    assert_eq!(traces.len(), 1);

    alice.send(&json!({ "id": "executed", "type": "complete" })).await;
    alice.subscribe("forwarded", "subscription { texts }").await;
    stack.streaming(2).await;
    stack.world().post("two", "ann");
    let event = alice.event("forwarded").await;
    assert_eq!(event, json!({ "data": { "texts": "two" }, "extensions": { "cursor": "2" } }));
}
