//! Who may pass: by HTTP and over the socket.

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{Stack, eventually, start};
use crate::tokens::{Issuer, claims};

async fn post(stack: &Stack, authorization: Option<&str>) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(stack.router.graphql_url()).json(&json!({ "query": "{ header }" }));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn with(mut claims: Value, name: &str, value: &str) -> Value {
    claims[name] = value.into();
    claims
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_before_anything_runs() {
    let stack = start("{}").await;
    let issuer = &stack.world().issuer;
    let good = issuer.token("alice", 900);
    let (head, tail) = good.rsplit_once('.').unwrap();
    for (bad, why) in [
        (issuer.token("alice", -120), "expired"),
        (Issuer::new(2).token("alice", 900), "signed by another"),
        (issuer.sign(&with(claims("alice", 900), "iss", "other")), "of another issuer"),
        (issuer.sign(&with(claims("alice", 900), "aud", "other")), "for another audience"),
        (format!("{head}x.{tail}"), "tampered with"),
        ("nonsense".to_owned(), "no token"),
    ] {
        let (status, body) = post(&stack, Some(&format!("Bearer {bad}"))).await;
        assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (401, &json!("UNAUTHENTICATED")), "{why}");
        let mut socket = Client::init(stack.router.port, Some(&bad)).await;
        assert_eq!(socket.close_code().await, 4403, "{why}");
    }
    assert_eq!(post(&stack, Some("Basic YTpi")).await.0, 401);
    let bearer = format!("Bearer {good}");
    assert_eq!(post(&stack, Some(&bearer)).await, (200, json!({ "data": { "header": bearer } })));
    assert_eq!(post(&stack, None).await, (200, json!({ "data": { "header": null } })));
}

#[tokio::test]
async fn without_keys_nothing_is_called_good() {
    let mut stack = start("{}").await;
    stack.world().keys_served.send_replace(false);
    // A router that has never seen the keys.
    stack.restart_router("plugins: {velvet.auth: {refresh_cooldown_ms: 1}}").await;
    let token = stack.world().issuer.token("alice", 900);
    let (status, body) = post(&stack, Some(&format!("Bearer {token}"))).await;
    assert_eq!((status, &body["errors"][0]["extensions"]["code"]), (503, &json!("UNAVAILABLE")));
    assert_eq!(Client::init(stack.router.port, Some(&token)).await.close_code().await, 1013);
    stack.world().keys_served.send_replace(true);
    eventually("the keys are read", async || post(&stack, Some(&format!("Bearer {token}"))).await.0 == 200).await;
}

#[tokio::test]
async fn what_needs_a_viewer_is_refused_to_nobody() {
    let stack = start("{}").await;
    let mut anon = stack.anon().await;
    anon.subscribe("s", "subscription { secrets }").await;
    assert_eq!(anon.error_code("s").await, "UNAUTHENTICATED");
    // Only that operation is over.
    anon.subscribe("s", "subscription { texts }").await;
    stack.streaming(2).await;
    stack.world().post("open", "ann");
    assert_eq!(anon.event("s").await["data"]["texts"], "open");
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { secrets }").await;
    stack.streaming(3).await;
    stack.world().post("secret", "ann");
    assert_eq!(alice.event("s").await["data"]["secrets"], "secret");
}

#[tokio::test]
async fn an_ended_token_ends_the_streams_and_the_socket() {
    let stack = start("{}").await;
    let token = stack.world().issuer.token("alice", 3);
    let mut alice = Client::ready(stack.router.port, Some(&token)).await;
    alice.subscribe("s", "subscription { texts }").await;
    assert_eq!(alice.error_code("s").await, "UNAUTHENTICATED");
    assert_eq!(alice.close_code().await, 4403);
}

#[tokio::test]
async fn a_renewed_token_carries_the_streams_on() {
    let stack = start("{}").await;
    let issuer = &stack.world().issuer;
    let mut alice = Client::ready(stack.router.port, Some(&issuer.token("alice", 4))).await;
    alice.subscribe("s", "subscription { texts }").await;
    stack.streaming(1).await;
    stack.world().post("one", "ann");
    assert_eq!(alice.event("s").await["data"]["texts"], "one");
    let renewed = format!("Bearer {}", issuer.token("alice", 900));
    alice.send(&json!({ "type": "ping", "payload": { "authorization": renewed } })).await;
    assert_eq!(alice.message().await, json!({ "type": "pong" }));
    stack.streaming(2).await;
    let resubscribed = stack.world().subscribes.lock().unwrap()[1]["extensions"].clone();
    assert_eq!(resubscribed, json!({ "position": true, "authorization": renewed, "after": "1" }));
    // Past the end of the first token.
    stack.world().post("two", "ann");
    assert_eq!(alice.event("s").await["data"]["texts"], "two");
    alice.send(&json!({ "type": "ping" })).await;
    assert_eq!(alice.message().await, json!({ "type": "pong" }));

    let bobs = format!("Bearer {}", issuer.token("bob", 900));
    alice.send(&json!({ "type": "ping", "payload": { "authorization": bobs } })).await;
    assert_eq!(alice.close_code().await, 4403);
}
