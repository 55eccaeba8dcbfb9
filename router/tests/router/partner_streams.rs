//! Partners' subscriptions over graphql-sse and Apollo's multipart protocol, and what one key may have open.

use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use velvet_edge::signature::Signed;

use crate::calls::{HEADER, LONG_AGO, answer, at, code, get, http, known, persisted, post};
use crate::client::Client;
use crate::process::{Stack, eventually};
use crate::registry::{Key, Registry};
use crate::signatures::{Proof, now};
use crate::streams::{Item, MULTIPART, SSE, Stream};

const TEXTS: &str = "subscription { texts }";

/// A router whose partner `acme` may follow texts and ask for its header.
async fn following(overrides: &str) -> (Registry, Stack, Key) {
    let registry = Registry::with_partners().await;
    registry.operation("acme", "header", HEADER, None).await;
    registry.operation("acme", "texts", TEXTS, None).await;
    let stack = registry.stack(overrides).await;
    let key = Key::of("acme");
    known(&stack, &key, "header").await;
    (registry, stack, key)
}

async fn open(accept: &str, request: RequestBuilder) -> Stream {
    Stream::of(request.header("accept", accept).send().await.unwrap())
}

fn by_id(stack: &Stack, key: &Key) -> RequestBuilder {
    post(&stack.router, Some(&key.text), &json!({ "documentId": "texts" }))
}

#[tokio::test]
async fn a_registered_subscription_is_followed_by_id_by_hash_and_by_address() {
    let (_registry, stack, key) = following("{}").await;
    let mut streams = Vec::new();
    for accept in [SSE, MULTIPART] {
        for request in [
            by_id(&stack, &key),
            post(&stack.router, Some(&key.text), &persisted("texts")),
            get(&stack.router, Some(&key.text), &json!({ "documentId": "texts" })),
            at(&stack.router, Some(&key.text), "texts"),
        ] {
            streams.push(open(accept, request).await);
        }
    }
    stack.streaming(streams.len()).await;
    assert_eq!(stack.router.metric("velvet_router_partners_subscriptions").await, 8);
    stack.world().post("one", "ann");
    for stream in &mut streams {
        let event = stream.event().await;
        assert_eq!(event, json!({ "data": { "texts": "one" }, "extensions": { "cursor": "1" } }));
    }
    // In the partner's own name, with a token that was exchanged once.
    assert_eq!(stack.world().exchanged.lock().unwrap().len(), 1);
    let subscribes = stack.world().subscribes.lock().unwrap().clone();
    assert!(subscribes.iter().all(|payload| payload["extensions"]["authorization"].is_string()));
    drop(streams);
    eventually("nothing is followed any more", async || {
        stack.router.metric("velvet_router_partners_subscriptions").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_partner_that_comes_back_gets_what_it_missed() {
    let (_registry, stack, key) = following("{}").await;
    for text in ["one", "two", "three"] {
        stack.world().post(text, "ann");
    }
    let extensions = json!({ "after": "1" });
    let after = json!({ "documentId": "texts", "extensions": extensions });
    let address = || {
        let url = format!("{}/op/texts", stack.router.graphql_url());
        http().get(url).query(&[("extensions", extensions.to_string())]).header("x-api-key", &key.text)
    };
    for (accept, request) in [
        (SSE, post(&stack.router, Some(&key.text), &after)),
        (MULTIPART, post(&stack.router, Some(&key.text), &after)),
        (SSE, address()),
        (MULTIPART, address()),
        // The header is the newer of the two.
        (SSE, by_id(&stack, &key).header("last-event-id", "1")),
        (SSE, at(&stack.router, Some(&key.text), "texts").header("last-event-id", "1")),
    ] {
        let mut stream = open(accept, request).await;
        assert_eq!(stream.event().await["data"]["texts"], "two");
        assert_eq!(stream.event().await["extensions"]["cursor"], "3");
    }
}

#[tokio::test]
async fn a_revoked_key_ends_its_streams_with_a_word_within_a_second() {
    let (registry, stack, key) = following("{}").await;
    let mut sse = open(SSE, by_id(&stack, &key)).await;
    let mut multipart = open(MULTIPART, by_id(&stack, &key)).await;
    let mut alice = Stream::open(&stack, SSE, "alice", TEXTS).await;
    stack.streaming(3).await;
    registry.key("acme", &Key { revoked_at: Some(LONG_AGO), ..key.clone() }).await;
    let started = Instant::now();
    assert_eq!(sse.event().await["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!((sse.item().await, sse.item().await), (Item::Complete, Item::End));
    let Item::Failure(errors) = multipart.said().await else { panic!("a failure was expected") };
    assert_eq!(errors[0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(multipart.item().await, Item::Complete);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let again = answer(by_id(&stack, &key).header("accept", SSE)).await;
    assert_eq!((again.0, code(&again.1)), (401, "UNAUTHENTICATED"));
    stack.world().post("one", "ann");
    assert_eq!(alice.event().await["data"]["texts"], "one");
}

#[tokio::test]
async fn a_key_that_expires_ends_its_streams_and_a_token_that_ends_does_not() {
    let (registry, stack, key) = following("{}").await;
    *stack.world().partner_token_seconds.lock().unwrap() = Some(4);
    let ends_at = chrono::DateTime::from_timestamp(i64::try_from(now()).unwrap() + 12, 0).unwrap().to_rfc3339();
    let short = Key { expires_at: Some(ends_at.leak()), ..Key::of("short") };
    registry.key("acme", &short).await;
    known(&stack, &short, "header").await;
    let mut outlives = open(SSE, by_id(&stack, &key)).await;
    let mut ends = open(SSE, by_id(&stack, &short)).await;
    // Twice each, and once more with a new token.
    stack.streaming(4).await;
    stack.world().post("one", "ann");
    assert_eq!(outlives.event().await["data"]["texts"], "one");
    assert_eq!(ends.event().await["data"]["texts"], "one");
    assert_eq!(ends.event().await["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(ends.item().await, Item::Complete);
    stack.world().post("two", "ann");
    assert_eq!(outlives.event().await["data"]["texts"], "two");
}

#[tokio::test]
async fn a_stream_is_signed_as_any_other_call() {
    let (registry, stack, _) = following("{}").await;
    let strict = Key { require_signature: true, ..Key::of("strict") };
    registry.key("acme", &strict).await;
    let call = |id: &str| json!({ "documentId": id });
    let signed = |nonce, id: &str| {
        let body = call(id).to_string();
        Proof::of(&strict, now(), nonce, Signed { method: "POST", path_and_query: "/graphql", body: body.as_bytes() })
    };
    let request = |id: &str| post(&stack.router, Some(&strict.text), &call(id)).header("accept", SSE);
    eventually("the key is known", async || {
        let proof = signed("nonce-0123456789-0", "nothing");
        answer(proof.on(request("nothing"))).await.0 == 404
    })
    .await;
    assert_eq!(answer(request("texts")).await.0, 401, "the key asks for a signature");
    let proof = signed("nonce-0123456789-1", "texts");
    let _stream = Stream::of(proof.on(request("texts")).send().await.unwrap());
    assert_eq!(answer(proof.on(request("texts"))).await.0, 401, "a second time");
    assert_eq!(answer(signed("nonce-0123456789-2", "header").on(request("texts"))).await.0, 401, "of another body");
    // A query that is answered as a stream is checked once: its nonce is good for that.
    let mut query = Stream::of(signed("nonce-0123456789-3", "header").on(request("header")).send().await.unwrap());
    assert!(query.event().await["data"]["header"].is_string());
    assert_eq!(query.item().await, Item::Complete);

    let address = "/graphql/op/texts?variables=%7B%7D";
    let url = format!("http://127.0.0.1:{}{address}", stack.router.port);
    let by_address = || http().get(&url).header("x-api-key", &strict.text).header("accept", SSE);
    let signed = Signed { method: "GET", path_and_query: address, body: b"" };
    let proof = Proof::of(&strict, now(), "nonce-0123456789-4", signed);
    let _by_address = Stream::of(proof.on(by_address()).send().await.unwrap());
    assert_eq!(answer(by_address()).await.0, 401);
}

#[tokio::test]
async fn what_a_key_may_not_follow_is_refused_as_over_http() {
    let (registry, stack, key) = following("{}").await;
    registry.operation("other", "theirs", TEXTS, None).await;
    registry.operation("acme", "old", TEXTS, Some(LONG_AGO)).await;
    let narrow = Key { scopes: vec!["accounts:query"], ..Key::of("narrow") };
    registry.key("acme", &narrow).await;
    known(&stack, &narrow, "header").await;
    let unknown = Key::of("unknown");
    for (key, body, expected) in [
        (&key, json!({ "documentId": "nothing" }), (404, "OPERATION_NOT_FOUND")),
        (&key, json!({ "documentId": "theirs" }), (404, "OPERATION_NOT_FOUND")),
        (&key, json!({ "documentId": "old" }), (404, "OPERATION_NOT_FOUND")),
        (&key, json!({ "query": TEXTS }), (400, "OPERATION_REQUIRED")),
        (&key, json!({ "query": TEXTS, "documentId": "texts" }), (400, "BAD_REQUEST")),
        (&narrow, json!({ "documentId": "texts" }), (403, "FORBIDDEN")),
        (&unknown, json!({ "documentId": "texts" }), (401, "UNAUTHENTICATED")),
    ] {
        for accept in [SSE, MULTIPART] {
            let request = post(&stack.router, Some(&key.text), &body).header("accept", accept);
            let (status, refused) = answer(request).await;
            assert_eq!((status, code(&refused)), expected, "{accept} {body}");
        }
    }
    let nobody = answer(at(&stack.router, None, "texts").header("accept", SSE)).await;
    assert_ne!(nobody.0, 200, "a page can send that");
    assert_eq!(stack.router.metric("velvet_router_sockets").await, 0);
}

#[tokio::test]
async fn a_users_token_beside_the_key_is_the_streams() {
    let (_registry, stack, key) = following("{}").await;
    let alice = format!("Bearer {}", stack.world().issuer.token("alice", 900));
    let _stream = open(SSE, by_id(&stack, &key).header("authorization", &alice)).await;
    stack.streaming(1).await;
    assert_eq!(stack.world().subscribes.lock().unwrap()[0]["extensions"]["authorization"], alice);
    let forged = answer(by_id(&stack, &key).header("accept", SSE).header("authorization", "Bearer a.b.c")).await;
    assert_eq!(forged.0, 401);
}

#[tokio::test]
async fn a_key_and_a_viewer_have_bounds_of_their_own() {
    let bounds = "{sockets_per_viewer_max: 1, sockets_per_key_max: 3}";
    let (_registry, stack, key) = following(&format!("plugins: {{velvet.subscriptions: {{client: {bounds}}}}}")).await;
    let init = async |payload: Value| Client::init_with(stack.router.port, payload).await;
    // The partner's service account is no viewer: its one socket is not the key's bound.
    let _socket = Client::ready_with(stack.router.port, json!({ "apiKey": key.text })).await;
    let _stream = open(SSE, by_id(&stack, &key)).await;
    let alice = stack.world().issuer.token("alice", 900);
    let as_alice = json!({ "apiKey": key.text, "authorization": format!("Bearer {alice}") });
    let hers = Client::ready_with(stack.router.port, as_alice.clone()).await;
    for accept in [SSE, MULTIPART] {
        let refused = by_id(&stack, &key).header("accept", accept).send().await.unwrap();
        assert_eq!(refused.headers()["retry-after"], "5");
        assert_eq!(refused.status(), 429);
        assert_eq!(code(&refused.json().await.unwrap()), "RATE_LIMITED");
    }
    assert_eq!(init(json!({ "apiKey": key.text })).await.close_code().await, 1013);
    // Her own sockets are full as well, with a key and without.
    assert_eq!(init(json!({ "authorization": format!("Bearer {alice}") })).await.close_code().await, 1013);
    let _other = Client::ready_with(stack.router.port, json!({ "apiKey": Key::of("other").text })).await;
    drop(hers);
    eventually("her socket has gone", async || stack.router.metric("velvet_router_sockets").await == 3).await;
    let _again = Client::ready_with(stack.router.port, as_alice).await;
}

#[tokio::test]
async fn operations_are_bounded_over_all_that_a_viewer_or_a_key_has_open() {
    let bounds = "{operations_per_viewer_max: 2, operations_per_key_max: 3}";
    let (_registry, stack, key) = following(&format!("plugins: {{velvet.subscriptions: {{client: {bounds}}}}}")).await;
    let (mut first, mut second) = (stack.viewer("alice").await, stack.viewer("alice").await);
    first.subscribe("a", TEXTS).await;
    second.subscribe("b", TEXTS).await;
    stack.streaming(2).await;
    first.subscribe("c", TEXTS).await;
    assert_eq!(first.error_code("c").await, "RATE_LIMITED");
    second.subscribe("q", "{ header }").await;
    assert_eq!(second.error_code("q").await, "RATE_LIMITED");
    let token = crate::streams::token(&stack, "alice");
    let over_http = http().post(stack.router.graphql_url()).header("authorization", token).header("accept", SSE);
    let refused = answer(over_http.json(&json!({ "query": TEXTS }))).await;
    assert_eq!((refused.0, code(&refused.1)), (429, "RATE_LIMITED"));

    let mut socket = Client::ready_with(stack.router.port, json!({ "apiKey": key.text })).await;
    let _stream = open(SSE, by_id(&stack, &key)).await;
    for id in ["a", "b", "c"] {
        socket.subscribe_with(id, json!({ "documentId": "texts" })).await;
    }
    assert_eq!(socket.error_code("c").await, "RATE_LIMITED");
    // What has ended makes room.
    second.send(&json!({ "id": "b", "type": "complete" })).await;
    second.subscribe("q", "{ header }").await;
    assert!(second.event("q").await["data"]["header"].is_string());
}
