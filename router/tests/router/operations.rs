//! Operations that are called by id, by partners and by clients without a key.

use serde_json::json;
use velvet_edge::sha256_hex;

use crate::calls::{HEADER, LONG_AGO, answer, at, code, get, http, known, persisted, post, socket};
use crate::process::{eventually, start};
use crate::registry::{Key, Registry};

#[tokio::test]
async fn a_partner_calls_its_own_registered_operations_in_its_own_name() {
    let registry = Registry::with_partners().await;
    let hash = sha256_hex(HEADER.as_bytes());
    registry.operation("acme", &hash, HEADER, None).await;
    registry.operation("acme", "hello", "query Hello($name: String!) { hello(name: $name) }", None).await;
    let stack = registry.stack("{}").await;
    let acme_key = Key::of("acme");
    known(&stack, &acme_key, &hash).await;
    let key = Some(acme_key.text.as_str());

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

    let mut acme = socket(&stack.router, &acme_key.text).await;
    acme.subscribe_with("q", call).await;
    assert_eq!(acme.event("q").await, hello);
    assert_eq!(acme.message().await, json!({ "id": "q", "type": "complete" }));
    acme.subscribe_with("h", persisted(&hash)).await;
    assert!(acme.event("h").await["data"]["header"].as_str().unwrap().starts_with("Bearer "));
    // All of that with one token.
    assert_eq!(*stack.world().exchanged.lock().unwrap(), [acme_key.text.as_str()]);
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
    let stack = start(&first_party("required", &folder)).await;
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
        let stack = start(&first_party(mode, &folder)).await;
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
