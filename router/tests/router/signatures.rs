//! Requests that are signed with a key.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use velvet_edge::signature::{Signed, sign, signing_secret};

use crate::calls::{HEADER, answer, code, http, known, post};
use crate::client::Client;
use crate::registry::{Key, Registry};

/// The headers of a signed request.
pub struct Proof {
    timestamp: u64,
    nonce: &'static str,
    signature: String,
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Proof {
    pub fn of(key: &Key, timestamp: u64, nonce: &'static str, request: Signed<'_>) -> Self {
        Self { timestamp, nonce, signature: sign(&signing_secret(&key.hash()), timestamp, nonce, request) }
    }

    pub fn on(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
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
