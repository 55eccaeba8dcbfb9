//! One subgraph's stream: forwarded, projected.

use serde_json::json;

use crate::process::{eventually, start};

/// Waits until the subgraph has that many running subscriptions of ours: events before would not be for us.
pub async fn subscribed(stack: &crate::process::Stack, count: usize) {
    eventually("subscribed at the subgraph", async || stack.world().subscribes.lock().unwrap().len() >= count).await;
}

#[tokio::test]
async fn an_event_is_forwarded_as_the_subgraph_sent_it() {
    let stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    alice
        .subscribe_with("s", json!({ "query": "subscription($p: String!) { texts(prefix: $p) }", "variables": { "p": "> " } }))
        .await;
    subscribed(&stack, 1).await;
    stack.world().post("one", "ann");
    stack.world().post("two", "bob");
    assert_eq!(alice.event("s").await, json!({ "data": { "texts": "> one" }, "extensions": { "cursor": "1" } }));
    assert_eq!(alice.event("s").await, json!({ "data": { "texts": "> two" }, "extensions": { "cursor": "2" } }));
}
