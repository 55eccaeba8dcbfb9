//! A partner publishes its operations, and they are planned before they are called.

use serde_json::{Value, json};
use velvet_edge::sha256_hex;

use crate::process::{Stack, eventually};
use crate::registry::{Key, Registry};

const HEADER: &str = "query Header { header }";
const ABOUT: &str = "client=web&idempotencyKey=k1";

async fn publish(stack: &Stack, key: &Key, about: &str, manifest: String) -> (u16, Value) {
    let url = format!("{}/op?{about}", stack.router.graphql_url());
    let request = reqwest::Client::new().post(url).header("x-api-key", &key.text).body(manifest);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

fn apollo(operations: &[(&str, &str, &str)]) -> String {
    let operations: Vec<Value> = operations
        .iter()
        .map(
            |(body, name, kind)| json!({ "id": sha256_hex(body.as_bytes()), "body": body, "name": name, "type": kind }),
        )
        .collect();
    json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": operations }).to_string()
}

async fn start() -> (Registry, Stack, Key) {
    let registry = Registry::with_partners().await;
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    eventually("the registry is read", async || publish(&stack, &key, "", String::new()).await.0 == 400).await;
    (registry, stack, key)
}

#[tokio::test]
async fn good_operations_are_registered_in_the_partners_name() {
    let (_registry, stack, key) = start().await;
    let news = "subscription News { texts }";
    let manifest = apollo(&[(HEADER, "Header", "query"), (news, "News", "subscription")]);
    let (status, report) = publish(&stack, &key, ABOUT, manifest).await;
    let [header_id, news_id] = [HEADER, news].map(|body| sha256_hex(body.as_bytes()));
    // A scalar at the root costs nothing.
    let entry = |id: &str, name: &str, kind: &str, scope: &str| json!({ "id": id, "name": name, "kind": kind, "cost": 0, "scopes": [scope], "problems": [] });
    let operations = [
        entry(&header_id, "Header", "query", "accounts:query"),
        entry(&news_id, "News", "subscription", "matching:subscription"),
    ];
    assert_eq!((status, report), (200, json!({ "ok": true, "release": 7, "operations": operations })));
    let registered = stack.world().registered.lock().unwrap().clone();
    let [(Some(authorization), body)] = registered.as_slice() else { panic!("{registered:?}") };
    assert!(authorization.starts_with("Bearer "));
    let operation = |id: &str, name: &str, kind: &str, body: &str| json!({ "id": id, "name": name, "kind": kind, "body": body, "cost": 0 });
    let operations =
        [operation(&header_id, "Header", "query", HEADER), operation(&news_id, "News", "subscription", news)];
    let expected = json!({
        "partner": "acme", "clientName": "web", "idempotencyKey": "k1", "operations": operations,
    });
    assert_eq!(*body, expected);

    // Relay's form, with ids of its own.
    let relay = json!({ "header.1": HEADER }).to_string();
    let (status, report) = publish(&stack, &key, ABOUT, relay).await;
    assert_eq!((status, &report["operations"][0]["id"]), (200, &json!("header.1")), "{report}");
}

#[tokio::test]
async fn one_bad_operation_refuses_all_of_them() {
    let (registry, stack, _) = start().await;
    let narrow = Key { scopes: vec!["accounts:query"], ..Key::of("narrow") };
    registry.key("acme", &narrow).await;
    eventually("the key is known", async || publish(&stack, &narrow, "", String::new()).await.0 == 400).await;
    for (body, expected) in [
        ("{ header", "the operation does not parse"),
        ("query A { header } query B { header }", "exactly one operation may stand in a text"),
        ("fragment F on Query { header }", "exactly one operation may stand in a text"),
        ("{ hello(name: \"a\") }", "hello needs the scope matching:query"),
        ("{ __schema { description } }", "__schema needs the scope *"),
        ("{ header nothing }", "nothing"),
        ("query($a: Int) { header }", "unused variable"),
    ] {
        let manifest = json!({ "good": HEADER, "bad": body }).to_string();
        let (status, report) = publish(&stack, &narrow, ABOUT, manifest).await;
        assert_eq!((status, &report["ok"], &report["release"]), (422, &json!(false), &Value::Null), "{body}: {report}");
        let problems = |id: &str| {
            let operations = report["operations"].as_array().unwrap();
            operations.iter().find(|operation| operation["id"] == id).unwrap()["problems"].to_string()
        };
        assert_eq!(problems("good"), "[]");
        assert!(problems("bad").contains(expected), "{body}: {report}");
    }
    let wrong_id = apollo(&[(HEADER, "Header", "query")]).replace(&sha256_hex(HEADER.as_bytes()), "0123");
    for manifest in [
        wrong_id,
        apollo(&[(HEADER, "Header", "query"), (HEADER, "Header", "query")]),
        apollo(&[(HEADER, "Header", "mutation")]),
        apollo(&[(HEADER, "Other", "query")]),
        json!({ "large": format!("{{ header }} #{}", "a".repeat(64 * 1024)) }).to_string(),
    ] {
        let (status, report) = publish(&stack, &narrow, ABOUT, manifest).await;
        assert_eq!((status, &report["ok"]), (422, &json!(false)), "{report}");
    }
    assert!(stack.world().registered.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_manifest_is_refused_and_accounts_has_the_last_word() {
    let (_registry, stack, key) = start().await;
    let good = || apollo(&[(HEADER, "Header", "query")]);
    for (about, manifest, expected) in [
        (ABOUT, "{".to_owned(), 400),
        (ABOUT, "{}".to_owned(), 400),
        (ABOUT, json!({ "a": 1 }).to_string(), 400),
        (ABOUT, "a".repeat(1_000_001), 413),
        ("client=web", good(), 400),
        ("idempotencyKey=a", good(), 400),
        ("client=a&client=b&idempotencyKey=a", good(), 400),
        ("client=a&idempotencyKey=", good(), 400),
    ] {
        assert_eq!(publish(&stack, &key, about, manifest).await.0, expected, "{about}");
    }
    let refusal = json!({ "errors": [{ "message": "no", "extensions": { "code": "CONFLICT" } }] });
    *stack.world().register_refusal.lock().unwrap() = Some((409, refusal.clone()));
    assert_eq!(publish(&stack, &key, ABOUT, good()).await, (409, refusal));
    let by_get = reqwest::get(format!("{}/op", stack.router.graphql_url())).await.unwrap();
    assert_eq!(by_get.status().as_u16(), 405);
}

#[tokio::test]
async fn a_registered_operation_is_planned_and_not_executed_before_its_first_call() {
    let (registry, stack, _) = start().await;
    let plans = "apollo_router_query_planning_plan_duration_count";
    assert_eq!(stack.router.metric(plans).await, 0);
    registry.operation("acme", "publish", "mutation { publish(text: \"a\", author: \"b\") }", None).await;
    eventually("the operation is planned", async || stack.router.metric(plans).await == 1).await;
    assert_eq!(stack.world().posted(), 0);
    let key = Key::of("acme");
    let request = reqwest::Client::new().post(stack.router.graphql_url()).header("x-api-key", &key.text);
    let answer = request.json(&json!({ "documentId": "publish" })).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "data": { "publish": true } }));
    assert_eq!((stack.router.metric(plans).await, stack.world().posted()), (1, 1));
}
