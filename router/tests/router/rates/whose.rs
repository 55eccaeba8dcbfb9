//! Limits of single operations, and of addresses.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{NONE_COMES_BACK, fixed, passed, start_counting, status, viewer};
use crate::calls::{known, post, socket};
use crate::process::eventually;
use crate::registry::Registry;

#[tokio::test]
async fn single_operations_have_limits_by_name_hash_and_id() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({})).await;
    registry.operation("acme", "other", "{ header }", None).await;
    let hash = format!("{:x}", Sha256::digest("{ hello(name: \"a\") }"));
    let [two, three] = [fixed(2), fixed(3)];
    let operations = format!(
        "{{Shared: {{per: everybody, requests: {two}}}, {hash}: {{requests: {three}}}, other: {{requests: {two}}}}}"
    );
    let stack = start_counting(&registry, &format!("{{operations: {operations}}}")).await;
    known(&stack, &acme, "header").await;
    let subject = |number: usize| if number.is_multiple_of(2) { "alice" } else { "bob" };
    assert_eq!(passed(20, |number| viewer(&stack, subject(number), "query Shared { header }")).await, 2);
    assert_eq!(passed(20, |number| viewer(&stack, subject(number), "{ hello(name: \"a\") }")).await, 6);
    assert_eq!(passed(20, |number| viewer(&stack, subject(number), "query Other { header }")).await, 20);
    let other = json!({ "documentId": "other" });
    assert_eq!(passed(10, |_| post(&stack.router, Some(&acme.text), &other)).await, 2);
    let mut partner = socket(&stack.router, &acme.text).await;
    partner.subscribe_with("q", other).await;
    assert_eq!(partner.error_code("q").await, "RATE_LIMITED");
}

#[tokio::test]
async fn addresses_are_limited_where_a_header_can_be_trusted() {
    let registry = Registry::empty().await;
    let rates = format!("{{per_address: {{header: x-forwarded-for, requests: {}}}}}", fixed(3));
    let stack = start_counting(&registry, &rates).await;
    let from =
        |address: &str| post(&stack.router, None, &json!({ "query": "{ header }" })).header("x-forwarded-for", address);
    assert_eq!(passed(9, |_| from("192.0.2.1")).await, 3);
    assert_eq!(passed(9, |number| from(&format!("10.0.0.{number}, 192.0.2.2"))).await, 3);
    assert_eq!(passed(9, |number| from(&format!("2001:db8::{number}"))).await, 3);
    assert_eq!(passed(9, |_| post(&stack.router, None, &json!({ "query": "{ header }" }))).await, 9);
    // A refusal by one limit takes nothing from another.
    let rates = format!(
        "{{per_viewer: {{requests: {}}}, per_address: {{header: x-forwarded-for, requests: {}}}}}",
        fixed(6),
        fixed(2)
    );
    let stack = start_counting(&registry, &rates).await;
    let from = |address: &'static str| viewer(&stack, "carol", "{ header }").header("x-forwarded-for", address);
    assert_eq!(passed(1, |_| from("192.0.2.3")).await + passed(8, |_| from("192.0.2.3")).await, 2);
    eventually("what was drawn for refused calls is given back", async || {
        let level: Option<String> = registry.ask(redis::cmd("GET").arg("router:rate:{viewer:carol}:requests")).await;
        let level: u64 = level.unwrap().split(' ').next().unwrap().parse().unwrap();
        level.div_ceil(NONE_COMES_BACK * 1_000_000) == 2
    })
    .await;
    eventually("others of the same viewer pass", async || status(from("192.0.2.4")).await == 200).await;
}
