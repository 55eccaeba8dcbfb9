//! Apollo's multipart protocol for subscriptions, on the graph's own path.

use serde_json::{Value, json};

use crate::process::{eventually, start};
use crate::streams::{Item, MULTIPART, SSE, Stream, overrun_one, post, refusal, token};

#[tokio::test]
async fn an_event_is_a_part_with_what_other_subgraphs_know() {
    let stack = start("{}").await;
    let query = "subscription { posts { ... on Posted { post { text author { name } } } } }";
    let mut stream = Stream::open(&stack, MULTIPART, "alice", query).await;
    assert_eq!(stream.item().await, Item::Alive(String::new()), "the first part comes at once");
    stack.streaming(1).await;
    stack.world().post("one", "bob");
    stack.world().post("two", "broken");
    let post = json!({ "text": "one", "author": { "name": "BOB" } });
    let response = json!({ "data": { "posts": { "post": post } }, "extensions": { "cursor": "1" } });
    assert_eq!(stream.said().await, Item::Next(response, None));
    assert_eq!(stream.event().await["errors"][0]["extensions"]["code"], "UNAVAILABLE");
}

#[tokio::test]
async fn a_client_that_comes_back_with_its_cursor_gets_what_it_missed() {
    let stack = start("{}").await;
    for text in ["one", "two", "three"] {
        stack.world().post(text, "ann");
    }
    let token = token(&stack, "alice");
    let body = json!({ "query": "subscription { texts }", "extensions": { "after": "1" } });
    let mut stream = Stream::of(post(&stack, MULTIPART, &[("authorization", &token)], &body).await);
    assert_eq!(stream.event().await["data"]["texts"], "two");
    assert_eq!(stream.event().await["data"]["texts"], "three");
}

#[tokio::test]
async fn what_is_refused_before_the_stream_is_answered_in_json() {
    let stack = start("{}").await;
    for (query, variables, code) in [
        ("subscription { nothing }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("subscription($p: String!) { texts(prefix: $p) }", json!({ "p": 7 }), "VALIDATION_INVALID_TYPE_VARIABLE"),
    ] {
        let body = json!({ "query": query, "variables": variables });
        assert_eq!(refusal(post(&stack, MULTIPART, &[], &body).await).await, (400, code.to_owned()));
    }
    let bad = [("authorization", "Bearer nonsense")];
    let body = json!({ "query": "subscription { texts }" });
    assert_eq!(refusal(post(&stack, MULTIPART, &bad, &body).await).await, (401, "UNAUTHENTICATED".to_owned()));
    let simple = reqwest::Client::new().get(stack.router.graphql_url()).query(&[("query", "subscription { texts }")]);
    let simple = simple.header("accept", MULTIPART).send().await.unwrap();
    assert_eq!(refusal(simple).await, (400, "CSRF_ERROR".to_owned()));
}

#[tokio::test]
async fn what_a_subgraph_refuses_is_a_payload_and_the_end() {
    let stack = start("{}").await;
    let body = json!({ "query": "subscription { secrets }" });
    let mut stream = Stream::of(post(&stack, MULTIPART, &[], &body).await);
    assert_eq!(stream.event().await["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(stream.said().await, Item::Complete);
    assert_eq!(stream.item().await, Item::End);
}

#[tokio::test]
async fn queries_and_deferred_parts_are_apollo_routers_own() {
    let stack = start("{}").await;
    let query = json!({ "query": "{ hello(name: \"a\") }" });
    let answer = post(&stack, MULTIPART, &[], &query).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.json::<Value>().await.unwrap()["data"]["hello"], "hello a");

    let defer = "multipart/mixed;deferSpec=20220824, application/json";
    let query = json!({ "query": "{ hello(name: \"a\") ... @defer { header } }" });
    let answer = post(&stack, defer, &[], &query).await;
    assert_eq!(answer.headers()["content-type"], "multipart/mixed;boundary=\"graphql\";deferSpec=20220824");
    assert!(answer.text().await.unwrap().ends_with("\r\n--graphql--\r\n"));
}

#[tokio::test]
async fn an_ended_token_is_a_failure_and_the_end() {
    let stack = start("{}").await;
    let short = format!("Bearer {}", stack.world().issuer.token("alice", 3));
    let body = json!({ "query": "subscription { texts }" });
    let mut stream = Stream::of(post(&stack, MULTIPART, &[("authorization", &short)], &body).await);
    let Item::Failure(errors) = stream.said().await else { panic!("a failure was expected") };
    assert_eq!(errors[0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(stream.item().await, Item::Complete);
    assert_eq!(stream.item().await, Item::End);
}

#[tokio::test]
async fn a_slow_reader_is_told_so() {
    let stack = start("plugins: {velvet.subscriptions: {client: {queue_bytes_max: 200000}}}").await;
    let mut slow = Stream::open(&stack, MULTIPART, "alice", "subscription { texts }").await;
    stack.streaming(1).await;
    overrun_one(&stack).await;
    let errors = loop {
        match slow.said().await {
            Item::Next(..) => {}
            Item::Failure(errors) => break errors,
            other => panic!("a failure was expected: {other:?}"),
        }
    };
    assert_eq!(errors[0]["extensions"], json!({ "code": "UNAVAILABLE", "closeCode": 4008 }));
    assert_eq!(slow.item().await, Item::Complete);
    assert_eq!(slow.item().await, Item::End);
}

#[tokio::test]
async fn a_client_that_goes_gives_up_its_place() {
    let bounds = "{sockets_per_viewer_max: 1}";
    let stack = start(&format!("plugins: {{velvet.subscriptions: {{client: {bounds}}}}}")).await;
    let stream = Stream::open(&stack, MULTIPART, "alice", "subscription { texts }").await;
    let token = token(&stack, "alice");
    let body = json!({ "query": "subscription { texts }" });
    for accept in [MULTIPART, SSE] {
        let refused = post(&stack, accept, &[("authorization", &token)], &body).await;
        assert_eq!(refusal(refused).await, (429, "RATE_LIMITED".to_owned()));
    }
    drop(stream);
    eventually("it has gone", async || stack.router.metric("velvet_router_operations").await == 0).await;
    let _again = Stream::open(&stack, MULTIPART, "alice", "subscription { texts }").await;
}

#[tokio::test]
async fn a_router_that_is_asked_to_end_says_goodbye() {
    let mut stack = start("{}").await;
    let mut stream = Stream::open(&stack, MULTIPART, "alice", "subscription { texts }").await;
    stack.streaming(1).await;
    stack.router.terminate();
    let Item::Failure(errors) = stream.said().await else { panic!("a failure was expected") };
    assert_eq!(errors[0]["extensions"], json!({ "code": "UNAVAILABLE", "closeCode": 1001 }));
    assert_eq!(stream.item().await, Item::Complete);
    assert_eq!(stream.item().await, Item::End);
    stack.router.ended().await;
}
