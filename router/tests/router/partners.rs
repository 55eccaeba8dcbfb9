//! What a key opens, and for how long.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::calls::{HEADER, LONG_AGO, answer, at, code, get, http, known, post, socket};
use crate::client::{Client, Received};
use crate::process::eventually;
use crate::registry::{Key, Registry};

#[tokio::test]
async fn a_key_that_is_not_good_gets_one_and_the_same_answer_everywhere() {
    let registry = Registry::with_partners().await;
    registry.partner("closed", true).await;
    let revoked = Key { revoked_at: Some(LONG_AGO), ..Key::of("revoked") };
    let expired = Key { expires_at: Some(LONG_AGO), ..Key::of("expired") };
    registry.key("acme", &revoked).await;
    registry.key("acme", &expired).await;
    registry.key("closed", &Key::of("closed")).await;
    registry.key("nobody", &Key::of("orphan")).await;
    registry.operation("acme", "header", HEADER, None).await;
    let stack = registry.stack("{}").await;
    let acme = Key::of("acme");
    known(&stack, &acme, "header").await;

    let body = json!({ "documentId": "header" });
    let message = "the API key is not valid";
    let refused = json!({ "errors": [{ "message": message, "extensions": { "code": "UNAUTHENTICATED" } }] });
    for (key, why) in [
        (revoked.text, "revoked"),
        (expired.text, "expired"),
        (Key::of("closed").text, "of a disabled partner"),
        (Key::of("orphan").text, "of no partner"),
        (Key::of("unknown").text, "unknown"),
        (acme.text.replace("SSS_", "SST_").replace("_SSS", "_TSS"), "another secret"),
        (acme.text.replace("vk_live", "vk_test"), "of another mode"),
        ("nonsense".to_owned(), "no key"),
        (String::new(), "empty"),
    ] {
        let key = key.as_str();
        let publish = http().post(format!("{}/op?client=a&idempotencyKey=b", stack.router.graphql_url()));
        for request in [
            post(&stack.router, Some(key), &body),
            get(&stack.router, Some(key), &body),
            at(&stack.router, Some(key), "header"),
            publish.header("x-api-key", key).body("{}"),
            post(&stack.router, Some(key), &json!({ "query": "{ header }" })),
        ] {
            assert_eq!(answer(request).await, (401, refused.clone()), "{why}");
        }
        let mut socket = Client::init_with(stack.router.port, json!({ "apiKey": key })).await;
        assert_eq!(socket.close_code().await, 4403, "{why}");
    }
    let two = post(&stack.router, Some(&acme.text), &body).header("x-api-key", &Key::of("other").text);
    assert_eq!(answer(two).await.0, 401);
}

#[tokio::test]
async fn a_users_own_token_goes_before_the_partners() {
    let registry = Registry::with_partners().await;
    registry.operation("acme", "header", HEADER, None).await;
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    known(&stack, &key, "header").await;
    let alice = format!("Bearer {}", stack.world().issuer.token("alice", 900));
    let call = json!({ "documentId": "header" });
    let as_alice = post(&stack.router, Some(&key.text), &call).header("authorization", &alice);
    assert_eq!(answer(as_alice).await, (200, json!({ "data": { "header": alice } })));
    let as_forged = post(&stack.router, Some(&key.text), &call).header("authorization", "Bearer a.b.c");
    assert_eq!(answer(as_forged).await.0, 401);
    let by_address = at(&stack.router, Some(&key.text), "header").header("authorization", "Bearer a.b.c");
    assert_eq!(answer(by_address).await.0, 401);
    let payload = json!({ "apiKey": key.text, "authorization": alice });
    let mut socket = Client::ready_with(stack.router.port, payload).await;
    socket.subscribe_with("h", call).await;
    assert_eq!(socket.event("h").await, json!({ "data": { "header": alice } }));
}

#[tokio::test]
async fn a_token_is_exchanged_once_however_many_call() {
    let registry = Registry::with_partners().await;
    registry.operation("other", "header", HEADER, None).await;
    let stack = registry.stack("{}").await;
    let other = Key::of("other");
    *stack.world().partner_token_seconds.lock().unwrap() = None;
    let call = json!({ "documentId": "header" });
    let request = || post(&stack.router, Some(&other.text), &call);
    eventually("a token is asked for", async || {
        let (status, body) = answer(request()).await;
        assert_ne!(status, 200, "{body}");
        !stack.world().exchanged.lock().unwrap().is_empty()
    })
    .await;
    let (status, body) = answer(request()).await;
    assert_eq!((status, code(&body)), (503, "UNAVAILABLE"));
    *stack.world().partner_token_seconds.lock().unwrap() = Some(900);
    eventually("the failure is forgotten", async || answer(request()).await.0 == 200).await;
    let before = stack.world().exchanged.lock().unwrap().len();
    let all = futures::future::join_all((0..20).map(|_| answer(request()))).await;
    assert!(all.iter().all(|(status, _)| *status == 200));
    assert_eq!(stack.world().exchanged.lock().unwrap().len(), before);

    // A token that is about to end is replaced before: each call here comes after half of its life.
    stack.world().exchanged.lock().unwrap().clear();
    *stack.world().partner_token_seconds.lock().unwrap() = Some(2);
    registry.operation("acme", "header", HEADER, None).await;
    let acme = Key::of("acme");
    known(&stack, &acme, "header").await;
    eventually("a new token is asked for", async || {
        assert_eq!(answer(post(&stack.router, Some(&acme.text), &call)).await.0, 200);
        stack.world().exchanged.lock().unwrap().len() > 1
    })
    .await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_a_second_and_its_sockets_are_closed() {
    let registry = Registry::with_partners().await;
    registry.operation("acme", "header", HEADER, None).await;
    registry.operation("acme", "texts", "subscription { texts }", None).await;
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    known(&stack, &key, "header").await;
    let mut acme = socket(&stack.router, &key.text).await;
    let mut alice = stack.viewer("alice").await;
    acme.subscribe_with("s", json!({ "documentId": "texts" })).await;
    alice.subscribe("s", "subscription { texts }").await;
    stack.streaming(2).await;
    stack.world().post("one", "ann");
    assert_eq!(acme.event("s").await["data"]["texts"], "one");
    assert_eq!(alice.event("s").await["data"]["texts"], "one");

    let revoked = Key { revoked_at: Some(LONG_AGO), ..key.clone() };
    registry.key("acme", &revoked).await;
    let started = Instant::now();
    assert_eq!(acme.error_code("s").await, "UNAUTHENTICATED");
    assert_eq!(acme.receive().await, Received::Closed(4403));
    assert_eq!(answer(post(&stack.router, Some(&key.text), &json!({ "documentId": "header" }))).await.0, 401);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    stack.world().post("two", "ann");
    assert_eq!(alice.event("s").await["data"]["texts"], "two");
}

#[tokio::test]
async fn a_partners_socket_outlives_its_token() {
    let registry = Registry::with_partners().await;
    registry.operation("acme", "texts", "subscription { texts }", None).await;
    registry.operation("acme", "header", HEADER, None).await;
    let stack = registry.stack("{}").await;
    *stack.world().partner_token_seconds.lock().unwrap() = Some(4);
    let key = Key::of("acme");
    known(&stack, &key, "header").await;
    let mut acme = socket(&stack.router, &key.text).await;
    acme.subscribe_with("s", json!({ "documentId": "texts" })).await;
    stack.streaming(1).await;
    let first = stack.world().subscribes.lock().unwrap()[0]["extensions"]["authorization"].clone();
    stack.streaming(3).await;
    let later = stack.world().subscribes.lock().unwrap()[2]["extensions"]["authorization"].clone();
    assert_ne!(first, later);
    stack.world().post("one", "ann");
    assert_eq!(acme.event("s").await["data"]["texts"], "one");
}

#[tokio::test]
async fn the_registry_stays_when_redis_goes_and_a_wiped_redis_revives_no_key() {
    let mut registry = Registry::with_partners().await;
    registry.operation("acme", "header", HEADER, None).await;
    let stack = registry.stack("{}").await;
    let (acme, other) = (Key::of("acme"), Key::of("other"));
    known(&stack, &acme, "header").await;
    registry.key("other", &Key { revoked_at: Some(LONG_AGO), ..other.clone() }).await;
    let call = json!({ "documentId": "header" });
    eventually("the key is revoked", async || answer(post(&stack.router, Some(&other.text), &call)).await.0 == 401)
        .await;

    registry.stop();
    assert_eq!(answer(post(&stack.router, Some(&acme.text), &call)).await.0, 200);
    assert_eq!(answer(post(&stack.router, Some(&other.text), &call)).await.0, 401);

    registry.serve().await;
    registry.old_key("other", &other).await;
    registry.partner("third", false).await;
    registry.key("third", &Key::of("third")).await;
    registry.operation("third", "header", HEADER, None).await;
    known(&stack, &Key::of("third"), "header").await;
    assert_eq!(answer(post(&stack.router, Some(&acme.text), &call)).await.0, 200);
    assert_eq!(answer(post(&stack.router, Some(&other.text), &call)).await.0, 401);

    // The stream was lost while the connection was not.
    registry.ask::<()>(&redis::cmd("FLUSHALL")).await;
    registry.operation("third", "hello", "{ hello(name: \"a\") }", None).await;
    known(&stack, &Key::of("third"), "hello").await;
    assert_eq!(answer(post(&stack.router, Some(&acme.text), &call)).await.0, 200);
}

#[tokio::test]
async fn a_registry_in_a_cluster_is_followed_as_well() {
    let registry = Registry::cluster().await;
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    registry.partner("acme", false).await;
    registry.key("acme", &key).await;
    registry.operation("acme", "header", HEADER, None).await;
    known(&stack, &key, "header").await;
    registry.key("acme", &Key { revoked_at: Some(LONG_AGO), ..key.clone() }).await;
    let call = json!({ "documentId": "header" });
    eventually("the key is revoked", async || answer(post(&stack.router, Some(&key.text), &call)).await.0 == 401).await;
}

#[tokio::test]
async fn a_router_that_has_never_seen_the_registry_says_that_it_cannot_tell() {
    let mut registry = Registry::empty().await;
    registry.stop();
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    let call = json!({ "documentId": "header" });
    let (status, body) = answer(post(&stack.router, Some(&key.text), &call)).await;
    assert_eq!((status, code(&body)), (503, "UNAVAILABLE"));
    let mut socket = Client::init_with(stack.router.port, json!({ "apiKey": key.text })).await;
    assert_eq!(socket.close_code().await, 1013);
    // Those without a key notice nothing.
    let everybody = post(&stack.router, None, &json!({ "query": "{ header }" }));
    assert_eq!(answer(everybody).await, (200, json!({ "data": { "header": null } })));

    registry.serve().await;
    registry.partner("acme", false).await;
    registry.key("acme", &key).await;
    registry.operation("acme", "header", HEADER, None).await;
    known(&stack, &key, "header").await;
}
