//! The same limits over sockets and streams.

use serde_json::json;

use super::{fixed, passed, start_counting};
use crate::calls::{known, post, socket};
use crate::registry::Registry;
use crate::streams::{self, SSE};

#[tokio::test]
async fn the_socket_and_the_streams_are_held_to_the_same_limits() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "monthlyQuota": 4 })).await;
    registry.operation("acme", "texts", "subscription { texts }", None).await;
    let stack = start_counting(&registry, &format!("{{per_viewer: {{requests: {}}}}}", fixed(4))).await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("q", "{ hello(name: \"a\") }").await;
    assert_eq!(alice.event("q").await["data"]["hello"], "hello a");
    assert_eq!(alice.message().await, json!({ "id": "q", "type": "complete" }));
    alice.subscribe("s", "subscription { texts }").await;
    stack.streaming(1).await;
    let authorization = streams::token(&stack, "alice");
    let body = json!({ "query": "subscription { texts }" });
    let headers = [("authorization", authorization.as_str())];
    let stream = streams::post(&stack, SSE, &headers, &body).await;
    assert_eq!(stream.status(), 200);
    alice.subscribe("bound", &format!("subscription {{ {} }}", "a { ".repeat(20) + "a" + &" }".repeat(20))).await;
    assert_eq!(alice.error_code("bound").await, "OPERATION_TOO_DEEP", "which counts as well");

    for query in ["{ header }", "subscription { texts }", "subscription Other { texts }"] {
        alice.subscribe("r", query).await;
        let refused = alice.message().await;
        let extensions = &refused["payload"][0]["extensions"];
        assert_eq!((&refused["type"], &extensions["code"]), (&json!("error"), &json!("RATE_LIMITED")), "{query}");
        assert!(extensions["retryAfterSeconds"].as_u64().unwrap() > 0);
    }
    for accept in [SSE, streams::MULTIPART] {
        let refused = streams::post(&stack, accept, &headers, &body).await;
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(streams::refusal(refused).await, (429, "RATE_LIMITED".to_owned()));
        let refused = streams::post(&stack, accept, &headers, &json!({ "query": "{ header }" })).await;
        assert_eq!(refused.status(), 429);
    }
    // What runs goes on.
    stack.world().post("one", "ann");
    assert_eq!(alice.event("s").await["data"]["texts"], "one");

    known(&stack, &acme, "header").await;
    let mut partner = socket(&stack.router, &acme.text).await;
    partner.subscribe_with("s", json!({ "documentId": "texts" })).await;
    stack.streaming(3).await;
    partner.subscribe_with("q", json!({ "documentId": "header" })).await;
    assert!(partner.event("q").await["data"]["header"].is_string());
    assert_eq!(partner.message().await, json!({ "id": "q", "type": "complete" }));
    assert_eq!(passed(5, |_| post(&stack.router, Some(&acme.text), &json!({ "documentId": "header" }))).await, 1);
    partner.subscribe_with("q", json!({ "documentId": "header" })).await;
    assert_eq!(partner.error_code("q").await, "RATE_LIMITED");
}
