//! How long answers to registered operations may be kept.

use serde_json::json;

use crate::calls::{at, known, post};
use crate::registry::{Key, Registry};

#[tokio::test]
async fn an_answer_holds_as_long_as_the_least_of_its_fields_and_for_whom_all_of_them_say() {
    let registry = Registry::with_partners().await;
    let operations = [
        ("motto", "{ motto }", "public, max-age=60"),
        ("moods", "{ motto mood }", "private, max-age=30"),
        ("header", "{ motto header }", "private, max-age=0"),
        ("posts", "{ motto recent { id } }", "private, max-age=0"),
        ("nothing", "{ __typename }", "private, max-age=0"),
    ];
    for (id, body, _) in operations {
        registry.operation("acme", id, body, None).await;
    }
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    known(&stack, &key, "nothing").await;
    for (id, _, expected) in operations {
        let answer = at(&stack.router, Some(&key.text), id).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &expected.parse().unwrap()));
        let tag = answer.headers()["etag"].clone();
        let again = at(&stack.router, Some(&key.text), id).header("if-none-match", tag).send().await.unwrap();
        assert_eq!((again.status().as_u16(), &again.headers()["cache-control"]), (304, &expected.parse().unwrap()));
    }
    let posted = post(&stack.router, Some(&key.text), &json!({ "documentId": "motto" })).send().await.unwrap();
    assert!(posted.headers().get("cache-control").is_none());
}

#[tokio::test]
async fn an_answer_with_errors_is_not_kept_whatever_its_fields_say() {
    let registry = Registry::with_partners().await;
    registry.operation("acme", "motto", "query($no: Boolean!) { motto(fail: $no) }", None).await;
    let stack = registry.stack("{}").await;
    let key = Key::of("acme");
    let ask = async |fail: bool| {
        let request = at(&stack.router, Some(&key.text), "motto");
        request.query(&[("variables", json!({ "no": fail }).to_string())]).send().await.unwrap()
    };
    crate::process::eventually("the registry is read", async || ask(false).await.status() == 200).await;
    assert_eq!(ask(false).await.headers()["cache-control"], "public, max-age=60");
    let failed = ask(true).await;
    assert_eq!(failed.headers()["cache-control"], "no-store");
    assert!(failed.headers().get("etag").is_none());
}
