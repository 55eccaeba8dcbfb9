//! What an operation may hold and cost, and how many requests there may be at once.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::process::{PATIENCE, Stack, eventually, is_valid, start};

/// How many times the router has planned anything.
const PLANS: &str = "apollo_router_query_planning_plan_duration_count";

struct Answer {
    status: u16,
    body: Value,
    retry_after: Option<String>,
}

impl Answer {
    fn code(&self) -> Option<&str> {
        self.body["errors"][0]["extensions"]["code"].as_str()
    }

    #[track_caller]
    fn is_refused(&self, code: &str, limit: u64, actual: u64) {
        let expected = json!({ "code": code, "limit": limit, "actual": actual });
        assert_eq!((self.status, &self.body["errors"][0]["extensions"]), (400, &expected), "{}", self.body);
        assert!(self.body.get("data").is_none(), "{}", self.body);
    }

    #[track_caller]
    fn passed(&self) -> &Value {
        assert_eq!((self.status, self.body.get("errors")), (200, None), "{}", self.body);
        &self.body["data"]
    }
}

async fn send(stack: &Stack, token: Option<&str>, headers: &[(&str, &str)], body: String) -> Answer {
    let mut request = reqwest::Client::new()
        .post(stack.router.graphql_url())
        .header("content-type", "application/json")
        .timeout(PATIENCE)
        .body(body);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    Answer { status, retry_after, body: response.json().await.unwrap_or_default() }
}

async fn anon(stack: &Stack, query: &str) -> Answer {
    send(stack, None, &[], json!({ "query": query }).to_string()).await
}

/// Posts within posts.
fn deep(levels: usize) -> String {
    format!("{{ recent(first: 1) {}id{} }}", "{ previous ".repeat(levels - 2) + "{ ", " }".repeat(levels - 1))
}

/// Fragments that double each time.
fn doubling(levels: usize) -> String {
    let mut query = "{ recent(first: 1) { ...F0 } }".to_owned();
    for number in 0..levels {
        let _ = write!(query, " fragment F{number} on Post {{ ...F{} ...F{} }}", number + 1, number + 1);
    }
    let _ = write!(query, " fragment F{levels} on Post {{ id }}");
    query
}

fn repeated(count: usize, field: impl Fn(usize) -> String) -> String {
    format!("{{ {} }}", (0..count).map(field).collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn each_bound_lets_its_own_number_pass_and_no_more() {
    let bounds = "{depth: 4, root_fields: 5, aliases: 3, directives: 2, fields: 8, page: 6, cost: 12}";
    let stack = start(&format!("plugins: {{velvet.limits: {{anonymous: {bounds}}}}}")).await;
    let roots = |count| repeated(count, |number| if number == 0 { "header".into() } else { "__typename".into() });
    let aliases = |count| repeated(count, |number| format!("a{number}: header"));
    let directives = |count| repeated(count, |number| format!("a{number}: header @include(if: true)"));
    let fields = |inner| format!("{{ header recent(first: 1) {{ ...F ...F }} }} fragment F on Post {{ {inner} }}");
    let page = |first| format!("{{ recent(first: {first}) {{ id }} }}");
    let cost = |first| format!("{{ recent(first: {first}) {{ author {{ id }} previous {{ id }} }} }}");
    for (within, beyond, code, limit, actual) in [
        (deep(4), deep(5), "OPERATION_TOO_DEEP", 4, 5),
        (roots(5), roots(6), "TOO_MANY_ROOT_FIELDS", 5, 6),
        (aliases(3), aliases(4), "TOO_MANY_ALIASES", 3, 4),
        (directives(2), directives(3), "TOO_MANY_DIRECTIVES", 2, 3),
        (fields("id text t: text"), fields("id text author { id }"), "TOO_MANY_FIELDS", 8, 10),
        (page(6), page(7), "LIST_TOO_LARGE", 6, 7),
        (cost(4), cost(5), "OPERATION_TOO_COSTLY", 12, 15),
    ] {
        anon(&stack, &within).await.passed();
        anon(&stack, &beyond).await.is_refused(code, limit, actual);
    }
    let count = stack.router.metric("velvet_router_refusals_total{code=\"OPERATION_TOO_DEEP\"").await;
    assert_eq!(count, 1, "refusals are counted by code");
}

#[tokio::test]
async fn the_text_and_the_body_have_bounds_of_their_own() {
    let stack = start("plugins: {velvet.limits: {anonymous: {tokens: 7, body_bytes: 200}}}").await;
    anon(&stack, "{header a:header}").await.is_refused("TOO_MANY_TOKENS", 7, 8);
    anon(&stack, "{header}").await.passed();
    let padded = |length: usize| {
        let body = json!({ "query": "{header}", "variables": { "x": "" } }).to_string();
        body.replace("\"\"", &format!("\"{}\"", "x".repeat(length - body.len())))
    };
    assert_eq!(padded(200).len(), 200);
    send(&stack, None, &[], padded(200)).await.passed();
    let refused = send(&stack, None, &[], padded(201)).await;
    assert_eq!((refused.status, refused.code()), (400, Some("BODY_TOO_LARGE")));
}

/// Requests that are refused with the bounds as they are shipped, and the code of each.
fn bombs() -> Vec<(String, &'static str)> {
    let of = |query: &str| json!({ "query": query }).to_string();
    let pages = "recent(first: 100) { previous { previous { author { id } editor { id } likers { id } } } }";
    vec![
        (of(&repeated(200, |number| format!("a{number}: __typename"))), "TOO_MANY_ROOT_FIELDS"),
        (
            of(&format!("{{ recent(first: 1) {} }}", repeated(200, |number| format!("a{number}: id")))),
            "TOO_MANY_ALIASES",
        ),
        (of(&deep(60)), "OPERATION_TOO_DEEP"),
        (of(&"{a".repeat(300)), "OPERATION_TOO_DEEP"),
        (of(&doubling(60)), "TOO_MANY_FIELDS"),
        (
            of("{ recent { ...A } } fragment A on Post { previous { ...B } } fragment B on Post { ...A }"),
            "FRAGMENT_CYCLE",
        ),
        (of(&format!("{{ {pages} }}")), "OPERATION_TOO_COSTLY"),
        (of("{ recent(first: 1000000) { id } }"), "LIST_TOO_LARGE"),
        (of(&format!("{{ header {} }}", "@skip(if: false) ".repeat(100))), "TOO_MANY_DIRECTIVES"),
        (of(&repeated(5_000, |_| "header".to_owned())), "TOO_MANY_TOKENS"),
        (of("{ hello(name: \"a\", name: \"b\") }"), "DUPLICATE_ARGUMENT"),
        (of("{ __schema { types { name } } }"), "INTROSPECTION_DISABLED"),
        (of("{ ...F } fragment F on Query { t: __type(name: \"Query\") { name } }"), "INTROSPECTION_DISABLED"),
        (format!("[{}]", vec![of("{ header }"); 50].join(",")), "BATCH_REFUSED"),
        (r#"{"query":"{ header }","query":"{ hello(name: \"a\") }"}"#.to_owned(), "DUPLICATE_KEY"),
        (r#"{"query":"{ header }","variables":{"a":1,"a":2}}"#.to_owned(), "DUPLICATE_KEY"),
    ]
}

#[tokio::test]
async fn a_bomb_is_refused_before_anything_is_planned() {
    let stack = start("{}").await;
    for (body, code) in bombs() {
        let answer = send(&stack, None, &[], body.clone()).await;
        assert_eq!((answer.status, answer.code()), (400, Some(code)), "{body:.80}: {}", answer.body);
    }
    // By GET too.
    let address = format!("{}?query={}", stack.router.graphql_url(), deep(60).replace(' ', "%20"));
    let request = reqwest::Client::new().get(address.replace('{', "%7B").replace('}', "%7D"));
    let answer = request.header("apollo-require-preflight", "true").send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["errors"][0]["extensions"]["code"], "OPERATION_TOO_DEEP");
    assert_eq!(stack.router.metric(PLANS).await, 0);
    anon(&stack, "{ header }").await.passed();
    assert!(stack.router.metric(PLANS).await > 0, "planning would have been seen");
}

#[tokio::test]
async fn a_mebibyte_of_tokens_is_left_at_the_bound() {
    let wide = "{plugins: {velvet.limits: {anonymous: {body_bytes: 2000000}}}, \
                limits: {router: {http_max_request_bytes: 2000000}}}";
    let stack = start(wide).await;
    let text = format!("{{ {} }}", "a ".repeat(1 << 19));
    anon(&stack, &text).await.is_refused("TOO_MANY_TOKENS", 2_000, 2_001);
    assert_eq!(anon(&stack, &"{".repeat(1 << 20)).await.code(), Some("TOO_MANY_TOKENS"));
}

#[tokio::test]
async fn others_are_served_while_a_thousand_bombs_come_in() {
    let stack = start("{}").await;
    anon(&stack, "{ header }").await.passed();
    let bombs = bombs();
    let client = reqwest::Client::new();
    let throwing = stream::iter((0..1_000).map(|number| {
        let (body, code) = bombs[number % bombs.len()].clone();
        let request = client.post(stack.router.graphql_url()).header("content-type", "application/json").body(body);
        async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 400);
            let answer: Value = response.json().await.unwrap();
            assert_eq!(answer["errors"][0]["extensions"]["code"], code);
        }
    }))
    .buffer_unordered(50)
    .collect::<()>();
    let others = async {
        for _ in 0..50 {
            let answer = anon(&stack, "{ hello(name: \"a\") }").await;
            assert_eq!(answer.passed()["hello"], "hello a");
        }
    };
    tokio::join!(throwing, others);
}

#[tokio::test]
async fn the_socket_has_the_same_bounds_for_every_kind_of_operation() {
    let stack = start("plugins: {velvet.limits: {anonymous: {depth: 5, cost: 3}, user: {depth: 7}}}").await;
    let stream = |levels: usize| {
        let previous = format!("{}id{}", "previous { ".repeat(levels - 3), " }".repeat(levels - 3));
        format!("subscription {{ posts {{ ... on Posted {{ post {{ {previous} }} }} }} }}")
    };
    let mut anon = stack.anon().await;
    let mut alice = stack.viewer("alice").await;
    for (levels, client) in [(5, &mut anon), (7, &mut alice)] {
        client.subscribe("q", &deep(levels + 1)).await;
        assert_eq!(client.error_code("q").await, "OPERATION_TOO_DEEP");
        client.subscribe("s", &stream(levels + 1)).await;
        let refused = client.message().await;
        let told = json!({ "code": "OPERATION_TOO_DEEP", "limit": levels, "actual": levels + 1 });
        assert_eq!((&refused["type"], &refused["payload"][0]["extensions"]), (&json!("error"), &told));
    }
    // At its bound it runs, and its plan does not carry others over theirs.
    alice.subscribe("s", &stream(7)).await;
    stack.streaming(1).await;
    anon.subscribe("s", &stream(7)).await;
    assert_eq!(anon.error_code("s").await, "OPERATION_TOO_DEEP");
    anon.subscribe("s", "subscription { posts { ... on Posted { post { likers { id } author { id } } } } }").await;
    assert_eq!(anon.error_code("s").await, "OPERATION_TOO_COSTLY");
    anon.subscribe("s", "subscription { __schema { types { name } } }").await;
    assert_eq!(anon.error_code("s").await, "INTROSPECTION_DISABLED");
}

#[tokio::test]
async fn what_an_operation_costs_is_told_to_who_asks() {
    let stack = start("{}").await;
    let query = "{ dear recent(first: 10) { author { id } } shelf(count: 1) { posts { id } } }";
    let plain = json!({ "query": query });
    let answer = send(&stack, None, &[], plain.to_string()).await;
    answer.passed();
    assert!(answer.body.get("extensions").is_none());
    let expected = json!({ "estimated": 7 + 10 * 2 + 2, "actual": 7 + 3 * 2 + 2 });
    let answer = send(&stack, None, &[("x-velvet-cost", "include")], plain.to_string()).await;
    assert_eq!(answer.body["extensions"]["cost"], expected);
    let asking = json!({ "query": query, "extensions": { "cost": true } });
    assert_eq!(send(&stack, None, &[], asking.to_string()).await.body["extensions"]["cost"], expected);
    let mut alice = stack.viewer("alice").await;
    alice.subscribe_with("q", asking).await;
    assert_eq!(alice.event("q").await["extensions"]["cost"], expected);
    for name in ["estimated", "actual"] {
        let count = format!("velvet_router_cost_{name}_count");
        eventually("costs are shown", async || stack.router.metric(&count).await == 4).await;
    }
    assert!(stack.router.metrics().await.contains("le=\"3000\""), "costs are not put into buckets of seconds");
}

#[tokio::test]
async fn variables_are_weighed_with_each_request() {
    let stack = start("plugins: {velvet.limits: {anonymous: {cost: 10}}}").await;
    let ask = async |size: u64| {
        let query = "query($n: Int! = 4) { recent(first: $n) { author { id } } }";
        send(&stack, None, &[], json!({ "query": query, "variables": { "n": size } }).to_string()).await
    };
    ask(5).await.passed();
    ask(6).await.is_refused("OPERATION_TOO_COSTLY", 10, 12);
    ask(101).await.is_refused("LIST_TOO_LARGE", 100, 101);
    ask(5).await.passed();
}

#[tokio::test]
async fn each_audience_has_its_own_bounds_even_for_a_text_by_its_hash() {
    let stack = start("plugins: {velvet.limits: {anonymous: {depth: 3}, user: {depth: 6}}}").await;
    let token = stack.world().issuer.token("alice", 900);
    let query = deep(6);
    let hash = Sha256::digest(query.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let persisted = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
    let with_text = json!({ "query": query, "extensions": persisted }).to_string();
    let by_hash = json!({ "extensions": persisted }).to_string();
    send(&stack, None, &[], with_text.clone()).await.is_refused("OPERATION_TOO_DEEP", 3, 6);
    let unknown = send(&stack, None, &[], by_hash.clone()).await;
    assert_eq!(unknown.code(), Some("PERSISTED_QUERY_NOT_FOUND"), "what is refused is not kept");
    send(&stack, Some(&token), &[], with_text).await.passed();
    send(&stack, Some(&token), &[], by_hash.clone()).await.passed();
    send(&stack, None, &[], by_hash).await.is_refused("OPERATION_TOO_DEEP", 3, 6);
}

#[tokio::test]
async fn what_is_more_than_the_process_can_do_is_refused_at_once() {
    let stack = start("plugins: {velvet.limits: {requests_in_flight_max: 2}}").await;
    let world = stack.world();
    let (first, second) = (anon(&stack, "{ wait }"), anon(&stack, "{ w: wait }"));
    let refused = async {
        eventually("two are in flight", async || world.waiting.load(Ordering::SeqCst) == 2).await;
        for _ in 0..20 {
            let answer = anon(&stack, "{ header }").await;
            assert_eq!((answer.status, answer.code()), (503, Some("OVERLOADED")));
            assert_eq!(answer.retry_after.as_deref(), Some("1"));
        }
        let mut socket = stack.anon().await;
        socket.subscribe("q", "{ header }").await;
        assert_eq!(socket.error_code("q").await, "OVERLOADED");
        assert!(stack.router.is_healthy().await, "health checks are not counted");
        world.released.send_replace(true);
    };
    let (first, second, ()) = tokio::join!(first, second, refused);
    assert_eq!((first.passed()["wait"].clone(), second.passed()["w"].clone()), (json!(true), json!(true)));
    anon(&stack, "{ header }").await.passed();
}

#[tokio::test]
async fn the_schema_is_not_told_unless_it_is_configured() {
    let stack = start("{}").await;
    let mistaken = anon(&stack, "{ heade recent { tex autho { id } } }").await;
    assert_eq!(mistaken.code(), Some("GRAPHQL_VALIDATION_FAILED"));
    let told = mistaken.body.to_string();
    assert!(!told.contains("header") && !told.contains("text") && !told.contains("author"), "{told}");
    let open = start("{supergraph: {introspection: true}, plugins: {velvet.limits: {introspection: true}}}").await;
    let types = anon(&open, "{ __schema { types { fields { type { ofType { ofType { name } } } } } } }").await;
    assert!(types.passed()["__schema"]["types"].as_array().unwrap().len() > 5);
}

#[test]
fn a_bound_that_does_not_exist_is_refused() {
    assert!(is_valid("plugins: {velvet.limits: {anonymous: {depth: 3}}}"));
    for unknown in ["{anonymous: {dept: 3}}", "{stranger: {}}", "{user: {depth: -1}}"] {
        assert!(!is_valid(&format!("plugins: {{velvet.limits: {unknown}}}")), "{unknown}");
    }
}
