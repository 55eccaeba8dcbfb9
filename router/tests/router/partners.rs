//! What a key opens: by POST, by GET, by an operation's address and over the socket.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use velvet_edge::sha256_hex;
use velvet_edge::signature::{Signed, sign, signing_secret};

use crate::client::{Client, Received};
use crate::process::{Router, Stack, eventually};
use crate::registry::{Key, Registry};

const HEADER: &str = "query Header { header }";
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// An answer over HTTP: its status, and its body as JSON.
type Answer = (u16, Value);

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

fn http() -> reqwest::Client {
    reqwest::Client::new()
}

fn post(router: &Router, key: Option<&str>, body: &Value) -> reqwest::RequestBuilder {
    let request = http().post(router.graphql_url()).json(body);
    key.iter().fold(request, |request, key| request.header("x-api-key", *key))
}

/// By GET at the GraphQL endpoint, with the members as parameters.
fn get(router: &Router, key: Option<&str>, body: &Value) -> reqwest::RequestBuilder {
    let mut url = url::Url::parse(&router.graphql_url()).unwrap();
    for (name, value) in body.as_object().unwrap() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        url.query_pairs_mut().append_pair(name, &value);
    }
    let request = http().get(url).header("apollo-require-preflight", "1");
    key.iter().fold(request, |request, key| request.header("x-api-key", *key))
}

/// By an operation's own address.
fn at(router: &Router, key: Option<&str>, id: &str) -> reqwest::RequestBuilder {
    let request = http().get(format!("{}/op/{id}", router.graphql_url()));
    key.iter().fold(request, |request, key| request.header("x-api-key", *key))
}

async fn socket(router: &Router, key: &str) -> Client {
    Client::ready_with(router.port, json!({ "apiKey": key })).await
}

fn code(body: &Value) -> &str {
    body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

fn persisted(hash: &str) -> Value {
    json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } })
}

/// Waits until the router has read what was put into the registry.
async fn known(stack: &Stack, key: &Key, id: &str) {
    let body = json!({ "documentId": id });
    eventually("the registry is read", async || answer(post(&stack.router, Some(&key.text), &body)).await.0 == 200)
        .await;
}

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
async fn a_partner_calls_its_own_registered_operations_in_its_own_name() {
    let registry = Registry::with_partners().await;
    let hash = sha256_hex(HEADER.as_bytes());
    registry.operation("acme", &hash, HEADER, None).await;
    registry.operation("acme", "hello", "query Hello($name: String!) { hello(name: $name) }", None).await;
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    known(&stack, &key, &hash).await;
    let key = Some(key.text.as_str());

    let text_too = json!({ "documentId": hash, "query": HEADER });
    for request in [
        post(&stack.router, key, &json!({ "documentId": hash })),
        post(&stack.router, key, &persisted(&hash)),
        post(&stack.router, key, &text_too),
        get(&stack.router, key, &json!({ "documentId": hash })),
        get(&stack.router, key, &persisted(&hash)),
        at(&stack.router, key, &hash),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!(status, 200, "{body}");
        let token = body["data"]["header"].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        assert_eq!(token.split('.').count(), 3);
    }
    let hello = json!({ "data": { "hello": "hello ann" } });
    let variables = json!({ "name": "ann" });
    let call = json!({ "documentId": "hello", "variables": variables });
    assert_eq!(answer(post(&stack.router, key, &call)).await, (200, hello.clone()));
    assert_eq!(answer(get(&stack.router, key, &call)).await, (200, hello.clone()));
    let by_address = at(&stack.router, key, "hello").query(&[("variables", variables.to_string())]);
    assert_eq!(answer(by_address).await, (200, hello.clone()));

    let mut acme = socket(&stack.router, key.unwrap()).await;
    acme.subscribe_with("q", call).await;
    assert_eq!(acme.event("q").await, hello);
    assert_eq!(acme.message().await, json!({ "id": "q", "type": "complete" }));
    acme.subscribe_with("h", persisted(&hash)).await;
    assert!(acme.event("h").await["data"]["header"].as_str().unwrap().starts_with("Bearer "));
    // All of that with one token.
    assert_eq!(*stack.world().exchanged.lock().unwrap(), [key.unwrap()]);
}

#[tokio::test]
async fn what_a_partner_may_not_call_is_refused_by_post_by_get_and_over_the_socket() {
    let registry = Registry::with_partners().await;
    let narrow = Key { scopes: vec!["accounts:query"], ..Key::of("narrow") };
    registry.key("acme", &narrow).await;
    registry.operation("acme", "header", HEADER, None).await;
    registry.operation("acme", "retired", HEADER, Some(LONG_AGO)).await;
    registry.operation("acme", "hello", "{ hello(name: \"a\") }", None).await;
    registry.operation("acme", "both", "query { ...F header } fragment F on Query { hello(name: \"a\") }", None).await;
    registry.operation("acme", "publish", "mutation { publish(text: \"a\", author: \"b\") }", None).await;
    registry.operation("acme", "texts", "subscription { texts }", None).await;
    registry.operation("other", "theirs", HEADER, None).await;
    let stack = registry.stack("{}").await;
    known(&stack, &narrow, "header").await;
    let key = Some(narrow.text.as_str());
    let mut narrow = socket(&stack.router, &narrow.text).await;
    for (call, status, expected) in [
        (json!({ "query": HEADER }), 400, "OPERATION_REQUIRED"),
        (json!({ "query": "" }), 400, "OPERATION_REQUIRED"),
        (json!({ "documentId": "unknown" }), 404, "OPERATION_NOT_FOUND"),
        (json!({ "documentId": "theirs" }), 404, "OPERATION_NOT_FOUND"),
        (json!({ "documentId": "retired" }), 404, "OPERATION_NOT_FOUND"),
        (persisted(&sha256_hex(HEADER.as_bytes())), 404, "OPERATION_NOT_FOUND"),
        (json!({ "documentId": "header", "query": HEADER }), 400, "BAD_REQUEST"),
        (json!({ "documentId": "hello" }), 403, "FORBIDDEN"),
        (json!({ "documentId": "both" }), 403, "FORBIDDEN"),
        (json!({ "documentId": "texts" }), 403, "FORBIDDEN"),
        (json!({ "documentId": "publish" }), 403, "FORBIDDEN"),
    ] {
        for request in [post(&stack.router, key, &call), get(&stack.router, key, &call)] {
            let (got, body) = answer(request).await;
            assert_eq!((got, code(&body)), (status, expected), "{call}");
        }
        if let Some(id) = call["documentId"].as_str().filter(|_| call.get("query").is_none()) {
            let (got, body) = answer(at(&stack.router, key, id)).await;
            assert_eq!((got, code(&body)), (status, expected), "{call}");
        }
        narrow.subscribe_with("s", call).await;
        assert_eq!(narrow.error_code("s").await, expected);
    }
    // Who may do everything still may not change anything by GET.
    let wide = Key::of("acme");
    for request in [
        get(&stack.router, Some(&wide.text), &json!({ "documentId": "publish" })),
        at(&stack.router, Some(&wide.text), "publish"),
    ] {
        let (status, body) = answer(request).await;
        assert_eq!((status, code(&body)), (405, "METHOD_NOT_ALLOWED"));
    }
    for body in ["[]", "{", "[{\"documentId\":\"header\"}]"] {
        let request = http().post(stack.router.graphql_url()).header("content-type", "application/json");
        let (status, refused) = answer(request.header("x-api-key", &wide.text).body(body)).await;
        assert_eq!((status, code(&refused)), (400, "BAD_REQUEST"), "{body}");
    }
    assert_eq!(stack.world().posted(), 0);
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

/// The headers of a signed request.
struct Proof {
    timestamp: u64,
    nonce: &'static str,
    signature: String,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Proof {
    fn of(key: &Key, timestamp: u64, nonce: &'static str, request: Signed<'_>) -> Self {
        Self { timestamp, nonce, signature: sign(&signing_secret(&key.hash()), timestamp, nonce, request) }
    }

    fn on(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request
            .header("x-velvet-timestamp", self.timestamp)
            .header("x-velvet-nonce", self.nonce)
            .header("x-velvet-signature", &self.signature)
    }
}

#[tokio::test]
async fn a_signature_is_good_once_and_for_its_request_alone() {
    let registry = Registry::with_partners().await;
    let strict = Key { require_signature: true, ..Key::of("strict") };
    let lenient = Key::of("acme");
    registry.key("acme", &strict).await;
    registry.operation("acme", "header", HEADER, None).await;
    let stack = registry.stack("{}").await;
    known(&stack, &lenient, "header").await;
    let call = json!({ "documentId": "header" });
    let body = call.to_string();
    let signed = Signed { method: "POST", path_and_query: "/graphql", body: body.as_bytes() };
    let request = |key: &Key| post(&stack.router, Some(&key.text), &call);

    assert_eq!(answer(request(&strict)).await.0, 401, "the key asks for a signature");
    let good = Proof::of(&strict, now(), "nonce-0123456789-1", signed);
    assert_eq!(answer(good.on(request(&strict))).await.0, 200);
    assert_eq!(answer(good.on(request(&strict))).await.0, 401, "a second time");
    for (proof, why) in [
        (Proof::of(&strict, now() - 302, "nonce-0123456789-2", signed), "too old"),
        (Proof::of(&strict, now() + 310, "nonce-0123456789-3", signed), "of the future"),
        (Proof::of(&lenient, now(), "nonce-0123456789-4", signed), "of another key"),
        (Proof::of(&strict, now(), "nonce-5", signed), "its nonce is too short"),
        (Proof::of(&strict, now(), "nonce-0123456789-6", Signed { body: b"{}", ..signed }), "of another body"),
        (Proof::of(&strict, now(), "nonce-0123456789-7", Signed { method: "GET", ..signed }), "of another method"),
    ] {
        assert_eq!(answer(proof.on(request(&strict))).await.0, 401, "{why}");
    }
    // Where none is asked for, one that is there must be good.
    let tampered = Proof { nonce: "nonce-0123456789-9", ..Proof::of(&lenient, now(), "nonce-0123456789-8", signed) };
    assert_eq!(answer(tampered.on(request(&lenient))).await.0, 401);
    assert_eq!(answer(request(&lenient).header("x-velvet-nonce", "nonce-0123456789-a")).await.0, 401);

    let address = "/graphql/op/header?variables=%7B%7D";
    let signed = Signed { method: "GET", path_and_query: address, body: b"" };
    let url = format!("http://127.0.0.1:{}{address}", stack.router.port);
    let by_address = |proof: &Proof| proof.on(http().get(&url).header("x-api-key", &strict.text));
    let proof = Proof::of(&strict, now(), "nonce-0123456789-b", signed);
    assert_eq!(answer(by_address(&proof)).await.0, 200);
    assert_eq!(answer(by_address(&proof)).await.0, 401);

    let signed = Signed { method: "GET", path_and_query: "/ws", body: b"" };
    let proof = Proof::of(&strict, now(), "nonce-0123456789-c", signed);
    let signature = json!({ "timestamp": proof.timestamp, "nonce": proof.nonce, "signature": proof.signature });
    let payload = json!({ "apiKey": strict.text, "signature": signature });
    let mut acme = Client::ready_with(stack.router.port, payload.clone()).await;
    acme.subscribe_with("h", call.clone()).await;
    assert!(acme.event("h").await["data"]["header"].is_string());
    assert_eq!(Client::init_with(stack.router.port, payload).await.close_code().await, 4403);
    let unsigned = json!({ "apiKey": strict.text });
    assert_eq!(Client::init_with(stack.router.port, unsigned).await.close_code().await, 4403);
}

#[tokio::test]
async fn without_redis_nothing_that_is_signed_is_called_good() {
    let mut registry = Registry::with_partners().await;
    registry.operation("acme", "header", HEADER, None).await;
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    known(&stack, &key, "header").await;
    registry.stop();
    let call = json!({ "documentId": "header" });
    let body = call.to_string();
    let signed = Signed { method: "POST", path_and_query: "/graphql", body: body.as_bytes() };
    let proof = Proof::of(&key, now(), "nonce-0123456789-1", signed);
    let (status, refused) = answer(proof.on(post(&stack.router, Some(&key.text), &call))).await;
    assert_eq!((status, code(&refused)), (503, "UNAVAILABLE"));
}

#[tokio::test]
async fn an_answer_by_get_has_a_tag_and_is_not_sent_twice() {
    let registry = Registry::with_partners().await;
    registry.operation("acme", "hello", "query($n: String!) { hello(name: $n) }", None).await;
    registry.operation("acme", "header", HEADER, None).await;
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    known(&stack, &key, "header").await;
    let ask = async |name: &str, tag: Option<&str>| {
        let variables = json!({ "n": name }).to_string();
        let request = at(&stack.router, Some(&key.text), "hello").query(&[("variables", variables)]);
        let request = tag.iter().fold(request, |request, tag| request.header("if-none-match", *tag));
        let response = request.send().await.unwrap();
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), header("etag"), header("cache-control"), response.text().await.unwrap())
    };
    let (status, tag, cache_control, body) = ask("ann", None).await;
    assert_eq!((status, body.as_str()), (200, r#"{"data":{"hello":"hello ann"}}"#));
    assert_eq!(cache_control.as_deref(), Some("private, max-age=0"));
    let tag = tag.unwrap();
    assert_eq!(tag, format!("\"{}\"", sha256_hex(body.as_bytes())));
    let (status, again, _, body) = ask("ann", Some(&tag)).await;
    assert_eq!((status, again.as_deref(), body.as_str()), (304, Some(tag.as_str()), ""));
    assert_eq!(ask("bob", Some(&tag)).await.0, 200);
    // An answer with errors is nobody's to keep.
    let failed = at(&stack.router, Some(&key.text), "hello").send().await.unwrap();
    assert_eq!(failed.headers().get("cache-control").unwrap(), "no-store");
    assert!(failed.headers().get("etag").is_none());
    let posted = post(&stack.router, Some(&key.text), &json!({ "documentId": "header" })).send().await.unwrap();
    assert!(posted.headers().get("etag").is_none());
}

/// A folder of one manifest with `Header` in it.
fn manifests() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let id = sha256_hex(HEADER.as_bytes());
    let operation = json!({ "id": id, "body": HEADER, "name": "Header", "type": "query" });
    let manifest = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [operation] });
    std::fs::write(folder.path().join("web.json"), manifest.to_string()).unwrap();
    (folder, id)
}

fn first_party(mode: &str, folder: &tempfile::TempDir) -> String {
    let settings = json!({ "mode": mode, "manifests_dir": folder.path() });
    json!({ "plugins": { "velvet.partners": { "first_party": settings } } }).to_string()
}

#[tokio::test]
async fn where_operations_are_required_only_registered_ones_run() {
    let (folder, id) = manifests();
    let stack = crate::process::start(&first_party("required", &folder)).await;
    let nobody = json!({ "data": { "header": null } });
    for request in [
        post(&stack.router, None, &json!({ "documentId": id })),
        post(&stack.router, None, &persisted(&id)),
        get(&stack.router, None, &persisted(&id)),
        at(&stack.router, None, &id),
    ] {
        assert_eq!(answer(request).await, (200, nobody.clone()));
    }
    let mut anon = stack.anon().await;
    anon.subscribe_with("h", json!({ "documentId": id })).await;
    assert_eq!(anon.event("h").await, nobody);
    anon.message().await;
    let unknown = "0".repeat(64);
    for (call, expected) in [
        (json!({ "query": HEADER }), "OPERATION_REQUIRED"),
        (json!({ "query": "{ __schema { description } }" }), "OPERATION_REQUIRED"),
        (json!({ "query": "subscription { texts }" }), "OPERATION_REQUIRED"),
        (json!({}), "OPERATION_REQUIRED"),
        (persisted(&unknown), "OPERATION_NOT_FOUND"),
        (json!({ "documentId": unknown }), "OPERATION_NOT_FOUND"),
        (json!({ "documentId": id, "query": "{ header }" }), "BAD_REQUEST"),
    ] {
        for request in [post(&stack.router, None, &call), get(&stack.router, None, &call)] {
            assert_eq!(code(&answer(request).await.1), expected, "{call}");
        }
        anon.subscribe_with("s", call).await;
        assert_eq!(anon.error_code("s").await, expected);
    }
}

#[tokio::test]
async fn where_they_are_not_automatic_persisted_queries_work_beside_them() {
    let (folder, id) = manifests();
    let other = "{ hello(name: \"a\") }";
    let hash = sha256_hex(other.as_bytes());
    for mode in ["open", "logged"] {
        let stack = crate::process::start(&first_party(mode, &folder)).await;
        let hello = json!({ "data": { "hello": "hello a" } });
        assert_eq!(answer(post(&stack.router, None, &json!({ "query": other }))).await, (200, hello.clone()));
        assert_eq!(answer(post(&stack.router, None, &json!({ "documentId": id }))).await.0, 200);
        let (_, missed) = answer(post(&stack.router, None, &persisted(&hash))).await;
        assert_eq!(code(&missed), "PERSISTED_QUERY_NOT_FOUND");
        let mut register = persisted(&hash);
        register["query"] = other.into();
        assert_eq!(answer(post(&stack.router, None, &register)).await, (200, hello.clone()));
        eventually("the text is remembered", async || {
            answer(get(&stack.router, None, &persisted(&hash))).await == (200, hello.clone())
        })
        .await;
        let (status, body) = answer(post(&stack.router, None, &json!({ "documentId": hash }))).await;
        assert_eq!((status, code(&body)), (404, "OPERATION_NOT_FOUND"));
    }
}
