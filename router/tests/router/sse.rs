//! graphql-sse, "distinct connections mode", on the graph's own path.

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{eventually, start};
use crate::streams::{Item, SSE, Stream, overrun_one, post, refusal, token};

#[tokio::test]
async fn an_event_comes_with_its_cursor_and_what_other_subgraphs_know() {
    let stack = start("{}").await;
    let query = "subscription { posts { ... on Posted { post { text author { name } } } } }";
    let mut joined = Stream::open(&stack, SSE, "alice", query).await;
    let mut plain = Stream::open(&stack, SSE, "alice", "subscription { texts }").await;
    stack.streaming(2).await;
    stack.world().post("one", "bob");
    stack.world().post("two", "broken");

    let post = json!({ "text": "one", "author": { "name": "BOB" } });
    let response = json!({ "data": { "posts": { "post": post } }, "extensions": { "cursor": "1" } });
    assert_eq!(joined.said().await, Item::Next(response, Some("1".to_owned())));
    let broken = joined.event().await;
    assert_eq!(broken["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{broken}");

    let response = json!({ "data": { "texts": "one" }, "extensions": { "cursor": "1" } });
    assert_eq!(plain.said().await, Item::Next(response, Some("1".to_owned())));
    assert_eq!(plain.event().await["data"]["texts"], "two");
    let headers = stack.world().entity_requests.lock().unwrap().clone();
    assert!(headers.iter().all(|header| header.as_deref().is_some_and(|header| header.starts_with("Bearer "))));
}

#[tokio::test]
async fn a_client_that_reconnects_with_the_last_id_has_missed_nothing() {
    let stack = start("{}").await;
    stack.world().post("one", "ann");
    let token = token(&stack, "alice");
    let body = json!({ "query": "subscription { texts }", "extensions": { "after": "0" } });
    // It came before the first event: the place is told even so.
    let mut quiet = Stream::open(&stack, SSE, "alice", "subscription { silence }").await;
    assert_eq!(quiet.item().await, Item::Alive(String::new()));
    assert_eq!(quiet.item().await, Item::Position("1".to_owned()));

    let mut stream = Stream::of(post(&stack, SSE, &[("authorization", &token)], &body).await);
    assert_eq!(stream.event().await["data"]["texts"], "one");
    drop(stream);
    stack.world().post("two", "ann");
    stack.world().post("three", "ann");
    // The same request again, as a browser sends it: the header is the newer of the two.
    let headers = [("authorization", token.as_str()), ("last-event-id", "1")];
    let mut stream = Stream::of(post(&stack, SSE, &headers, &body).await);
    assert_eq!(stream.event().await["data"]["texts"], "two");
    assert_eq!(stream.event().await["data"]["texts"], "three");

    let started = json!({ "query": "subscription { texts }", "extensions": { "position": true } });
    let mut stream = Stream::of(post(&stack, SSE, &headers[..1], &started).await);
    assert_eq!(stream.event().await["extensions"], json!({ "cursor": "3", "positioned": true }));
}

#[tokio::test]
async fn queries_and_mutations_are_one_event() {
    let stack = start("{}").await;
    let token = token(&stack, "alice");
    let headers = [("authorization", token.as_str())];
    for (query, data) in [
        ("{ header hello(name: \"a\") }", json!({ "header": token, "hello": "hello a" })),
        ("# no subscription\n{ hello(name: \"b\") }", json!({ "hello": "hello b" })),
        ("mutation { publish(text: \"hi\", author: \"ann\") }", json!({ "publish": true })),
    ] {
        let mut stream = Stream::of(post(&stack, SSE, &headers, &json!({ "query": query })).await);
        assert_eq!(stream.event().await["data"], data, "{query}");
        assert_eq!(stream.item().await, Item::Complete);
        assert_eq!(stream.item().await, Item::End);
    }
    // Whoever takes JSON as well gets it.
    let both = "text/event-stream, application/json";
    let answer = post(&stack, both, &headers, &json!({ "query": "{ hello(name: \"a\") }" })).await;
    assert_eq!(answer.json::<Value>().await.unwrap()["data"]["hello"], "hello a");
}

#[tokio::test]
async fn an_operation_that_is_not_valid_is_answered_on_the_stream() {
    let stack = start("{}").await;
    for (query, variables, code) in [
        ("subscription { nothing }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("subscription($p: String!) { texts(prefix: $p) }", json!({ "p": 7 }), "VALIDATION_INVALID_TYPE_VARIABLE"),
        ("{ nothing }", json!({}), "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { secrets }", json!({}), "UNAUTHENTICATED"),
    ] {
        let body = json!({ "query": query, "variables": variables });
        let mut stream = Stream::of(post(&stack, SSE, &[], &body).await);
        let response = stream.event().await;
        assert_eq!(response["errors"][0]["extensions"]["code"], code, "{query}");
        assert_eq!(stream.said().await, Item::Complete);
        assert_eq!(stream.item().await, Item::End);
    }
    eventually("nothing is left", async || stack.router.metric("velvet_router_sockets").await == 0).await;
    assert_eq!(stack.router.metric("velvet_router_operations").await, 0);
}

#[tokio::test]
async fn a_request_that_is_refused_is_answered_in_json() {
    let stack = start("{}").await;
    let body = json!({ "query": "subscription { texts }" });
    for (headers, status, code) in [
        (vec![("authorization", "Bearer nonsense")], 401, "UNAUTHENTICATED"),
        (vec![("authorization", "Basic YTpi")], 401, "UNAUTHENTICATED"),
    ] {
        assert_eq!(refusal(post(&stack, SSE, &headers, &body).await).await, (status, code.to_owned()));
    }
    for malformed in [json!([]), json!({ "query": 7 }), json!({})] {
        let (status, _) = refusal(post(&stack, SSE, &[], &malformed).await).await;
        assert_eq!(status, 400, "{malformed}");
    }
    // Without either protocol, Apollo Router answers, which has no subscriptions.
    let refused = post(&stack, "application/json", &[], &body).await;
    assert!(refused.status().is_client_error(), "{refused:?}");
}

#[tokio::test]
async fn what_a_page_can_send_unasked_is_refused() {
    let stack = start("{}").await;
    let http = reqwest::Client::new();
    let url = stack.router.graphql_url();
    let query = [("query", "subscription { texts }")];
    let body = r#"{"query":"subscription { texts }"}"#;
    let get = || http.get(&url).query(&query).header("accept", SSE);
    let text = || http.post(&url).header("accept", SSE).header("content-type", "text/plain").body(body);
    assert_eq!(refusal(get().send().await.unwrap()).await, (400, "CSRF_ERROR".to_owned()));
    assert_eq!(refusal(text().send().await.unwrap()).await, (400, "CSRF_ERROR".to_owned()));
    let asked = text().header("apollo-require-preflight", "1").send().await.unwrap();
    assert_eq!(refusal(asked).await.0, 415);

    let mut stream = Stream::of(get().header("apollo-require-preflight", "1").send().await.unwrap());
    stack.streaming(1).await;
    stack.world().post("one", "ann");
    assert_eq!(stream.event().await["data"]["texts"], "one");
    let mutation = http.get(&url).query(&[("query", "mutation { publish(text: \"a\", author: \"b\") }")]);
    let refused = mutation.header("accept", SSE).header("apollo-require-preflight", "1").send().await.unwrap();
    assert_eq!(refused.status(), 405);

    let origin = "http://localhost:5173";
    let preflight = http
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,last-event-id");
    let allowed = preflight.send().await.unwrap();
    assert_eq!(allowed.headers()["access-control-allow-origin"], origin);
    assert!(allowed.headers()["access-control-allow-headers"].to_str().unwrap().contains("last-event-id"));
    let stream = get().header("apollo-require-preflight", "1").header("origin", origin).send().await.unwrap();
    assert_eq!(stream.headers()["access-control-allow-origin"], origin);
}

#[tokio::test]
async fn a_client_that_goes_ends_its_operation_upstream() {
    let stack = start("plugins: {velvet.subscriptions: {upstream: {idle_timeout_ms: 100}}}").await;
    let stream = Stream::open(&stack, SSE, "alice", "subscription { texts }").await;
    stack.streaming(1).await;
    assert!(stack.router.metric("velvet_router_upstream_sockets").await > 0);
    drop(stream);
    eventually("the stream is over", async || stack.router.metric("velvet_router_sockets").await == 0).await;
    let upstream = async || stack.router.metric("velvet_router_upstream_sockets").await == 0;
    eventually("nothing is asked of the subgraph", upstream).await;
}

#[tokio::test]
async fn an_ended_token_ends_the_stream() {
    let stack = start("{}").await;
    let short = format!("Bearer {}", stack.world().issuer.token("alice", 3));
    let body = json!({ "query": "subscription { texts }" });
    let mut stream = Stream::of(post(&stack, SSE, &[("authorization", &short)], &body).await);
    let response = stream.event().await;
    assert_eq!(response["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(stream.said().await, Item::Complete);
    assert_eq!(stream.item().await, Item::End);
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_to_come_back() {
    let stack = start("plugins: {velvet.subscriptions: {client: {queue_bytes_max: 200000}}}").await;
    let mut slow = Stream::open(&stack, SSE, "alice", "subscription { texts }").await;
    stack.streaming(1).await;
    overrun_one(&stack).await;
    let mut last = String::new();
    let end = loop {
        match slow.item().await {
            Item::Next(_, id) => last = id.unwrap(),
            Item::Position(_) => {}
            Item::Alive(comment) if comment.is_empty() => {}
            other => break other,
        }
    };
    assert_eq!(end, Item::Alive("4008 Slow consumer".to_owned()));
    assert_eq!(slow.item().await, Item::End, "without `complete`: it is not");
    let headers = [("authorization", token(&stack, "alice")), ("last-event-id", last.clone())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut again = Stream::of(post(&stack, SSE, &headers, &json!({ "query": "subscription { texts }" })).await);
    let next = (last.parse::<u32>().unwrap() + 1).to_string();
    assert_eq!(again.event().await["extensions"]["cursor"], next);
}

#[tokio::test]
async fn a_silent_stream_shows_that_it_is_alive() {
    let stack = start("plugins: {velvet.subscriptions: {client: {ping_interval_ms: 200}}}").await;
    let mut stream = Stream::open(&stack, SSE, "alice", "subscription { silence }").await;
    for _ in 0..5 {
        assert!(matches!(stream.item().await, Item::Alive(_) | Item::Position(_)));
    }
}

#[tokio::test]
async fn streams_and_sockets_of_a_viewer_are_counted_together() {
    let bounds = "{sockets_per_viewer_max: 2, sockets_max: 4}";
    let stack = start(&format!("plugins: {{velvet.subscriptions: {{client: {bounds}}}}}")).await;
    let _socket = stack.viewer("alice").await;
    let stream = Stream::open(&stack, SSE, "alice", "subscription { texts }").await;
    let token = token(&stack, "alice");
    let headers = [("authorization", token.as_str())];
    let body = json!({ "query": "subscription { texts }" });
    assert_eq!(refusal(post(&stack, SSE, &headers, &body).await).await, (429, "RATE_LIMITED".to_owned()));
    let raw = stack.world().issuer.token("alice", 900);
    assert_eq!(Client::init(stack.router.port, Some(&raw)).await.close_code().await, 1013);

    let _bob = Stream::open(&stack, SSE, "bob", "subscription { texts }").await;
    let _anon = Stream::of(post(&stack, SSE, &[], &body).await);
    let full = post(&stack, SSE, &[], &body).await;
    assert_eq!(full.headers()["retry-after"], "5");
    assert_eq!(refusal(full).await, (503, "UNAVAILABLE".to_owned()));
    drop(stream);
    eventually("one has gone", async || stack.router.metric("velvet_router_sockets").await == 3).await;
    let _again = Stream::open(&stack, SSE, "alice", "subscription { texts }").await;
}

#[tokio::test]
async fn a_router_that_is_asked_to_end_cuts_its_streams_off_to_come_back() {
    let mut stack = start("{}").await;
    let mut stream = Stream::open(&stack, SSE, "alice", "subscription { texts }").await;
    stack.streaming(1).await;
    assert_eq!(stream.item().await, Item::Alive(String::new()));
    stack.router.terminate();
    let mut item = stream.item().await;
    if matches!(item, Item::Position(_)) {
        item = stream.item().await;
    }
    assert_eq!(item, Item::Alive("1001 Going away".to_owned()));
    assert_eq!(stream.item().await, Item::End, "without `complete`: it is not");
    stack.router.ended().await;
}
