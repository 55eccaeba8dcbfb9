//! Queries and mutations, by HTTP and over the socket, and the page for people.

use serde_json::{Value, json};

use crate::process::start;

#[tokio::test]
async fn queries_and_mutations_run_over_the_socket_as_they_do_by_http() {
    let stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { texts }").await;
    stack.streaming(1).await;
    let mutation = "mutation($t: String!) { publish(text: $t, author: \"ann\") }";
    alice.subscribe_with("m", json!({ "query": mutation, "variables": { "t": "hi" } })).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let message = alice.message().await;
        seen.push(format!("{} {} {}", message["id"], message["type"], message["payload"]["data"]));
    }
    seen.sort();
    assert_eq!(seen, [r#""m" "complete" null"#, r#""m" "next" {"publish":true}"#, r#""s" "next" {"texts":"hi"}"#]);

    // The word alone does not make a subscription, and a viewer's token goes along.
    alice.subscribe("q", "# no subscription\n{ header hello(name: \"a\") }").await;
    let answer = alice.event("q").await;
    assert_eq!(answer["data"]["hello"], "hello a");
    assert!(answer["data"]["header"].as_str().unwrap().starts_with("Bearer "));
    assert_eq!(alice.message().await, json!({ "id": "q", "type": "complete" }));
}

#[tokio::test]
async fn an_operation_that_is_not_valid_is_answered_with_its_errors() {
    let stack = start("{}").await;
    let mut alice = stack.viewer("alice").await;
    for (query, variables, code) in [
        ("subscription { nothing }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { texts silence }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { __typename }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("subscription($p: String!) { texts(prefix: $p) }", json!({ "p": 7 }), "VALIDATION_INVALID_TYPE_VARIABLE"),
        ("subscription($p: String!) { texts(prefix: $p) }", json!({}), "VALIDATION_INVALID_TYPE_VARIABLE"),
        ("{ nothing }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("{", json!({}), "PARSING_ERROR"),
    ] {
        alice.subscribe_with("s", json!({ "query": query, "variables": variables })).await;
        assert_eq!(alice.error_code("s").await, code, "{query}");
    }
    // Each has set its id free.
    alice.subscribe("s", "{ hello(name: \"b\") }").await;
    assert_eq!(alice.event("s").await["data"]["hello"], "hello b");
}

#[tokio::test]
async fn a_browser_gets_a_page_and_the_endpoint_beside_it_still_answers() {
    let stack = start("{}").await;
    let root = format!("http://127.0.0.1:{}/", stack.router.port);
    let page = reqwest::get(&root).await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.text().await.unwrap().contains("npm ci"));
    let body = json!({ "query": "{ hello(name: \"a\") }" });
    let answer = reqwest::Client::new().post(stack.router.graphql_url()).json(&body).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["data"]["hello"], "hello a");
}

#[tokio::test]
async fn an_answer_is_of_the_type_that_was_asked_for() {
    let stack = start("{}").await;
    let (plain, graphql) = ("application/json", "application/graphql-response+json");
    for (accept, query, status, content_type) in [
        (plain, "{ hello(name: \"a\") }", 200, plain),
        (graphql, "{ hello(name: \"a\") }", 200, graphql),
        ("application/graphql-response+json, application/json;q=0.9", "{ hello(name: \"a\") }", 200, graphql),
        ("*/*", "{ hello(name: \"a\") }", 200, plain),
        // An operation that is not valid: the older type's answer is well whatever it says.
        (plain, "{ nothing }", 200, plain),
        (graphql, "{ nothing }", 400, graphql),
        ("*/*", "{ nothing }", 400, plain),
    ] {
        let request = reqwest::Client::new().post(stack.router.graphql_url()).header("accept", accept);
        let answer = request.json(&json!({ "query": query })).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{accept} {query}");
        assert_eq!(answer.headers()["content-type"], content_type, "{accept} {query}");
    }
    // What is no request stays one.
    let request = reqwest::Client::new().post(stack.router.graphql_url()).header("accept", plain);
    assert_eq!(request.json(&json!({ "query": 7 })).send().await.unwrap().status(), 400);
}
