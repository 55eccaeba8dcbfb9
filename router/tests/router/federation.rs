//! Events that other subgraphs have a part in.

use serde_json::json;

use crate::process::start;

#[tokio::test]
async fn an_event_is_completed_by_the_other_subgraph_in_the_viewers_name() {
    let stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    let query =
        "subscription { posts { __typename ... on Posted { post { text author { name } likers { id name } } } } }";
    alice.subscribe("s", query).await;
    stack.streaming(1).await;
    for number in 0..20 {
        stack.world().post(number.to_string(), "bob");
    }
    let likers = json!([{ "id": "ann", "name": "ANN" }, null, { "id": "ann", "name": "ANN" }]);
    for number in 0..20 {
        let event = alice.event("s").await;
        let post = json!({ "text": number.to_string(), "author": { "name": "BOB" }, "likers": likers });
        assert_eq!(event["data"]["posts"], json!({ "__typename": "Posted", "post": post }), "{event}");
        assert_eq!(event["extensions"]["cursor"], (number + 1).to_string());
    }
    let headers = stack.world().entity_requests.lock().unwrap().clone();
    assert!(headers.iter().all(|header| header.as_deref().is_some_and(|header| header.starts_with("Bearer "))));
}

#[tokio::test]
async fn a_missing_entity_is_null_and_a_failing_one_an_error_at_its_place() {
    let stack = start("plugins: {velvet.subscriptions: {execution: {event_patience_ms: 1000}}}").await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { posts { ... on Posted { post { text editor { name nickname } } } } }").await;
    stack.streaming(1).await;
    stack.world().post("one", "missing");
    stack.world().post("two", "broken");
    stack.world().post("three", "ann");

    let missing = alice.event("s").await;
    assert_eq!(missing["data"]["posts"]["post"], json!({ "text": "one", "editor": null }));

    let broken = alice.event("s").await;
    assert_eq!(broken["data"]["posts"]["post"], json!({ "text": "two", "editor": null }));
    assert_eq!(broken["errors"][0]["path"], json!(["posts", "post", "editor", "name"]), "{broken}");
    assert_eq!(broken["errors"][0]["extensions"]["code"], "UNAVAILABLE");

    let whole = alice.event("s").await;
    assert_eq!(whole["data"]["posts"]["post"]["editor"], json!({ "name": "ANN", "nickname": "a" }));
    assert!(whole.get("errors").is_none());
}

#[tokio::test]
async fn a_null_where_there_is_always_a_value_empties_the_nearest_that_may_be_null() {
    let stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { posts { ... on Posted { post { author { name } } } } }").await;
    stack.streaming(1).await;
    stack.world().post("one", "missing");
    let event = alice.event("s").await;
    assert_eq!(event["data"], json!(null));
    assert_eq!(event["errors"][0]["path"], json!(["posts", "post", "author", "name"]), "{event}");
}
