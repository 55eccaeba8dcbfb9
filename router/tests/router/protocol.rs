//! graphql-transport-ws at its edges: every close code, every bound.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::process::{eventually, start};

#[tokio::test]
async fn what_is_against_the_protocol_closes_the_socket_with_its_code() {
    let stack =
        start("plugins: {velvet.subscriptions: {client: {init_timeout_ms: 300, message_bytes_max: 4096}}}").await;
    let port = stack.router.port;
    let init = json!({ "type": "connection_init" });
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": "subscription { silence }" } });

    let mut silent = Client::open(port, Some("graphql-transport-ws")).await;
    assert_eq!(silent.close_code().await, 4408);

    let mut early = Client::open(port, Some("graphql-transport-ws")).await;
    early.send(&subscribe).await;
    assert_eq!(early.close_code().await, 4401);

    let mut twice = Client::ready(port, None).await;
    twice.send(&init).await;
    assert_eq!(twice.close_code().await, 4429);

    let mut duplicate = Client::ready(port, None).await;
    duplicate.send(&subscribe).await;
    duplicate.send(&subscribe).await;
    assert_eq!(duplicate.close_code().await, 4409);

    for malformed in [
        Message::text("hello"),
        Message::text(r#"{"type":"start"}"#),
        Message::text(r#"{"type":"subscribe","id":"1","payload":7}"#),
        Message::text(r#"{"type":"subscribe","payload":{"query":"{ hello }"}}"#),
        Message::binary(vec![1, 2, 3]),
    ] {
        let mut client = Client::ready(port, None).await;
        client.send_raw(malformed.clone()).await;
        assert_eq!(client.close_code().await, 4400, "{malformed:?}");
    }

    let mut large = Client::ready(port, None).await;
    large.send_raw(Message::text("x".repeat(5000))).await;
    assert_eq!(large.close_code().await, 1009);

    let mut other = Client::open(port, None).await;
    assert_eq!(other.close_code().await, 4406);
}

#[tokio::test]
async fn operations_beyond_the_bound_are_refused_one_by_one() {
    let stack = start("plugins: {velvet.subscriptions: {client: {operations_max: 3}}}").await;
    let mut alice = stack.viewer("alice").await;
    for number in 0..3 {
        alice.subscribe(&number.to_string(), "subscription { texts }").await;
    }
    stack.streaming(3).await;
    // Read as they are refused: a client that does not would be too slow instead.
    for number in 3..10_000 {
        alice.subscribe(&number.to_string(), "subscription { texts }").await;
        assert_eq!(alice.error_code(&number.to_string()).await, "RATE_LIMITED");
    }
    alice.send(&json!({ "id": "0", "type": "complete" })).await;
    alice.subscribe("again", "subscription { texts }").await;
    stack.streaming(4).await;
    stack.world().post("one", "ann");
    let mut ids: Vec<_> = Vec::new();
    for _ in 0..3 {
        ids.push(alice.message().await["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    assert_eq!(ids, ["1", "2", "again"]);
}

#[tokio::test]
async fn who_starts_after_others_starts_however_theirs_ended() {
    let stack = start("plugins: {velvet.subscriptions: {execution: {starts_max: 1}}}").await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("known", "subscription { texts }").await;
    stack.streaming(1).await;
    for number in 0..50 {
        let id = number.to_string();
        alice.subscribe(&id, "subscription { texts }").await;
        alice.send(&json!({ "id": id, "type": "complete" })).await;
    }
    let mut bob = stack.viewer("bob").await;
    for number in 0..50 {
        bob.subscribe(&number.to_string(), "subscription { texts }").await;
    }
    stack.streaming(51).await;
}

#[tokio::test]
async fn a_viewer_and_the_process_have_only_so_many_sockets() {
    let bounds = "{sockets_per_viewer_max: 2, sockets_max: 4}";
    let stack = start(&format!("plugins: {{velvet.subscriptions: {{client: {bounds}}}}}")).await;
    let token = stack.world().issuer.token("alice", 900);
    let first = stack.viewer("alice").await;
    let _second = stack.viewer("alice").await;
    assert_eq!(Client::init(stack.router.port, Some(&token)).await.close_code().await, 1013);
    let _bob = stack.viewer("bob").await;
    eventually("three sockets are open", async || stack.router.metric("velvet_router_sockets").await == 3).await;
    let _anon = stack.anon().await;
    let full = reqwest::Client::new()
        .get(format!("http://127.0.0.1:{}/ws", stack.router.port))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send()
        .await
        .unwrap();
    assert_eq!(full.status(), 503);
    drop(first);
    eventually("a socket has been closed", async || stack.router.metric("velvet_router_sockets").await == 3).await;
    let _third = stack.viewer("alice").await;
}

#[tokio::test]
async fn a_slow_reader_is_told_so_and_others_get_everything() {
    let stack =
        start("plugins: {velvet.subscriptions: {client: {queue_bytes_max: 200000, close_grace_ms: 20000}}}").await;
    let mut slow = stack.viewer("alice").await;
    let mut quick = stack.viewer("bob").await;
    slow.subscribe("s", "subscription { texts }").await;
    quick.subscribe("s", "subscription { texts }").await;
    stack.streaming(2).await;
    // More than the kernel's buffers and the queue hold.
    let text = "x".repeat(50_000);
    for number in 1..=500 {
        stack.world().post(&text, "ann");
        let event = quick.event("s").await;
        assert_eq!(event["extensions"]["cursor"], number.to_string());
    }
    eventually("the slow one is found", async || stack.router.metric("velvet_router_sockets_slow_total").await == 1)
        .await;
    assert_eq!(slow.close_code().await, 4008);
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed() {
    let stack = start("plugins: {velvet.subscriptions: {client: {ping_interval_ms: 100, pong_timeout_ms: 200}}}").await;
    // This client answers while it reads.
    let mut alive = stack.anon().await;
    let mut gone = stack.anon().await;
    let reading = tokio::spawn(async move { alive.message().await });
    eventually("the silent one is closed", async || stack.router.metric("velvet_router_sockets").await == 1).await;
    assert_eq!(gone.close_code().await, 4499);
    reading.abort();
}

#[tokio::test]
async fn a_router_that_is_late_reads_what_its_clients_said_before_it_calls_them_silent() {
    let patience = Duration::from_secs(3);
    let stack = start("plugins: {velvet.subscriptions: {client: {ping_interval_ms: 50, pong_timeout_ms: 3000}}}").await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(stack.anon().await);
    }
    // All have been pinged, and nobody has answered yet.
    let opened = Instant::now();
    eventually("all are waited for", async || opened.elapsed() > Duration::from_millis(300)).await;
    stack.router.pause();
    for client in &mut clients {
        client.send(&json!({ "type": "ping" })).await;
    }
    let paused = Instant::now();
    eventually("the patience is over", async || paused.elapsed() > patience).await;
    stack.router.go_on();
    for client in &mut clients {
        assert_eq!(client.message().await, json!({ "type": "pong" }));
    }
}

#[tokio::test]
async fn a_router_that_is_asked_to_end_says_goodbye() {
    let mut stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { texts }").await;
    stack.streaming(1).await;
    let mut anon = stack.anon().await;
    stack.router.terminate();
    assert_eq!(alice.close_code().await, 1001);
    assert_eq!(anon.close_code().await, 1001);
    stack.router.ended().await;
}
