//! How often callers may ask: exactly, on all routers together, and honestly told.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::calls::{HEADER, answer, at, code, known, post, socket};
use crate::process::{Router, Stack, eventually, is_valid, start};
use crate::registry::{Key, Registry};
use crate::streams::{self, SSE};

/// Seconds in which no test sees one more than the burst.
const NONE_COMES_BACK: u64 = 1_000_000;

/// Configuration of rates that are counted in the registry's Redis; `rates` is more of it.
fn counting(registry: &Registry, rates: &str) -> String {
    let own: serde_yaml::Value = serde_yaml::from_str(rates).unwrap();
    let mut config = json!({ "redis_urls": format!("redis://127.0.0.1:{}", registry.port), "redis_timeout_ms": 5_000 });
    for (name, value) in own.as_mapping().unwrap() {
        config[name.as_str().unwrap()] = serde_json::to_value(value).unwrap();
    }
    registry.configuration(&json!({ "plugins": { "velvet.limits": { "rates": config } } }).to_string())
}

async fn start_counting(registry: &Registry, rates: &str) -> Stack {
    let stack = start(&counting(registry, rates)).await;
    counts_locally(&stack.router, false).await;
    stack
}

/// Waits until the router counts by itself, or does not.
async fn counts_locally(router: &Router, locally: bool) {
    let shown = if locally { " 1" } else { " 0" };
    eventually("the router says where it counts", async || {
        let metrics = router.metrics().await;
        metrics.lines().any(|line| line.starts_with("velvet_router_rates_local") && line.ends_with(shown))
    })
    .await;
}

async fn decisions(router: &Router, by: &str) -> u64 {
    let metrics = router.metrics().await;
    let of = format!("by=\"{by}\"");
    let line = metrics.lines().find(|line| line.starts_with("velvet_router_rates_decisions") && line.contains(&of));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

fn viewer(stack: &Stack, subject: &str, query: &str) -> reqwest::RequestBuilder {
    let token = format!("Bearer {}", stack.world().issuer.token(subject, 900));
    post(&stack.router, None, &json!({ "query": query })).header("authorization", token)
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    answer(request).await.0
}

/// How many of so many calls pass when they are sent at once; all others have to be refused as too many.
async fn passed(count: usize, request: impl Fn(usize) -> reqwest::RequestBuilder) -> usize {
    let answers = join_all((0..count).map(|number| answer(request(number)))).await;
    let of = |status| answers.iter().filter(|(answered, _)| *answered == status).count();
    let refused = answers.iter().filter(|(status, body)| *status == 429 && code(body) == "RATE_LIMITED").count();
    assert_eq!(of(200) + refused, count, "{answers:?}");
    of(200)
}

fn fixed(burst: u64) -> String {
    format!("{{count: 1, seconds: {NONE_COMES_BACK}, burst: {burst}}}")
}

fn month() -> String {
    DateTime::<Utc>::from(SystemTime::now()).format("%Y-%m").to_string()
}

impl Registry {
    async fn used(&self, partner: &str, calls: u64) {
        let mut command = redis::cmd("HSET");
        command.arg("accounts:usage:months").arg(format!("{partner}:{}", month()));
        self.ask::<()>(command.arg(json!({ "calls": calls, "cost": 0 }).to_string())).await;
    }

    /// A partner with its key and one operation.
    async fn calling(&self, partner: &str, limits: Value) -> Key {
        let mut all =
            json!({ "requestsPerSecond": 1_000, "burst": 1_000, "costPerMinute": 10_000, "monthlyQuota": 10_000 });
        for (name, value) in limits.as_object().unwrap() {
            all[name] = value.clone();
        }
        self.partner_with(partner, false, all).await;
        self.key(partner, &Key::of(partner)).await;
        self.operation(partner, "header", HEADER, None).await;
        Key::of(partner)
    }
}

#[tokio::test]
async fn as_many_pass_as_there_may_be_on_two_routers_and_not_one_more() {
    let registry = Registry::empty().await;
    let rates = format!("{{per_viewer: {{requests: {}}}}}", fixed(50));
    let stacks = [start_counting(&registry, &rates).await, start_counting(&registry, &rates).await];
    let of = |subject: &'static str| {
        let stacks = &stacks;
        move |number: usize| viewer(&stacks[number % 2], subject, "{ header }")
    };
    assert_eq!(passed(200, of("alice")).await, 50);
    assert_eq!(passed(20, of("alice")).await, 0);
    assert_eq!(passed(20, of("bob")).await, 20, "others have limits of their own");
    assert_eq!(status(post(&stacks[0].router, None, &json!({ "query": "{ header }" }))).await, 200);
    let counts = async || [decisions(&stacks[0].router, "memory").await, decisions(&stacks[0].router, "redis").await];
    let [memory, redis] = counts().await;
    eventually("refusals are remembered", async || {
        assert_eq!(status(viewer(&stacks[0], "alice", "{ header }")).await, 429);
        counts().await[0] >= memory + 20
    })
    .await;
    assert!(counts().await[1] < redis + 20, "what is refused anyway costs Redis next to nothing");
    assert_eq!(decisions(&stacks[0].router, "local").await, 0);
}

#[tokio::test]
async fn who_is_far_from_a_limit_costs_redis_little_and_the_limit_holds() {
    let registry = Registry::empty().await;
    let rates = format!("{{per_viewer: {{requests: {}}}}}", fixed(640));
    let stacks = [start_counting(&registry, &rates).await, start_counting(&registry, &rates).await];
    let call = |number: usize| viewer(&stacks[number % 2], "alice", "{ header }");
    for number in 0..44 {
        assert_eq!(status(call(number)).await, 200);
    }
    for stack in &stacks {
        let [ahead, redis] = [decisions(&stack.router, "ahead").await, decisions(&stack.router, "redis").await];
        assert_eq!((ahead, redis), (19, 3), "one call to see the bucket, then two that draw ten more each");
    }
    let mut all = 44 + passed(700, call).await;
    for router in 0..2 {
        while status(call(router)).await == 200 {
            all += 1;
        }
    }
    assert!(all <= 640, "{all} passed");
    assert!(all > 600, "{all} passed: what is drawn ahead is for those who call");
}

#[tokio::test]
async fn a_cluster_counts_as_well() {
    let registry = Registry::cluster().await;
    let url = format!("redis://127.0.0.1:{}", registry.port);
    let rates = format!("{{redis_urls: '{url},{url}', per_viewer: {{requests: {}}}}}", fixed(5));
    let stack = start_counting(&registry, &rates).await;
    assert_eq!(passed(20, |_| viewer(&stack, "alice", "{ header }")).await, 5);
    assert_eq!(decisions(&stack.router, "local").await, 0);
}

#[tokio::test]
async fn a_months_quota_is_the_partners_on_all_routers() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "monthlyQuota": 40 })).await;
    registry.used("acme", 7).await;
    let stacks = [start_counting(&registry, "{}").await, start_counting(&registry, "{}").await];
    for stack in &stacks {
        known(stack, &acme, "header").await;
    }
    let call = json!({ "documentId": "header" });
    let request = |number: usize| post(&stacks[number % 2].router, Some(&acme.text), &call);
    assert_eq!(passed(100, request).await, 40 - 7 - 2, "the counter begins where the durable count is");
    let (_, body) = answer(request(0)).await;
    assert_eq!(body["errors"][0]["message"], "the quota of this month is used up");
    let seconds = body["errors"][0]["extensions"]["retryAfterSeconds"].as_u64().unwrap();
    assert!(seconds > 0 && seconds <= 31 * 24 * 3_600, "{body}");
}

#[tokio::test]
async fn a_quota_survives_a_wipe_of_redis() {
    let registry = Registry::empty().await;
    let limits = json!({ "monthlyQuota": 10 });
    let acme = registry.calling("acme", limits.clone()).await;
    let mut stack = start_counting(&registry, "{}").await;
    known(&stack, &acme, "header").await;
    let call = json!({ "documentId": "header" });
    assert_eq!(passed(3, |_| post(&stack.router, Some(&acme.text), &call)).await, 3);
    registry.ask::<()>(&redis::cmd("FLUSHALL")).await;
    assert_eq!(
        passed(20, |_| post(&stack.router, Some(&acme.text), &call)).await,
        6,
        "a router knows what it has seen"
    );

    registry.ask::<()>(&redis::cmd("FLUSHALL")).await;
    registry.used("acme", 10).await;
    registry.calling("acme", limits).await;
    stack.restart_router(&counting(&registry, "{}")).await;
    counts_locally(&stack.router, false).await;
    eventually("the registry is read", async || {
        let status = status(post(&stack.router, Some(&acme.text), &call)).await;
        assert_ne!(status, 200, "what was used before the wipe is used");
        status == 429
    })
    .await;
}

#[tokio::test]
async fn a_durable_count_that_is_restored_later_counts_from_then_on() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "monthlyQuota": 100_000 })).await;
    let stack = start_counting(&registry, "{}").await;
    known(&stack, &acme, "header").await;
    registry.used("acme", 100_000).await;
    let call = json!({ "documentId": "header" });
    eventually("the durable count is found", async || {
        status(post(&stack.router, Some(&acme.text), &call)).await == 429
    })
    .await;
}

#[tokio::test]
async fn what_operations_cost_is_limited_too() {
    let registry = Registry::empty().await;
    let rates = format!("{{per_viewer: {{cost: {}}}}}", fixed(100));
    let stack = start_counting(&registry, &rates).await;
    let page = "query Page { recent(first: 10) { author { id } } }";
    assert_eq!(passed(30, |_| viewer(&stack, "alice", page)).await, 5);
    let (_, body) = answer(viewer(&stack, "alice", page)).await;
    assert_eq!(body["errors"][0]["extensions"]["policy"], "viewer-cost");
    assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200, "what costs nothing passes");

    // By its hash the text is known only later.
    let hash = format!("{:x}", Sha256::digest(page.as_bytes()));
    let persisted = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
    let token = format!("Bearer {}", stack.world().issuer.token("bob", 900));
    let send = |body: Value| post(&stack.router, None, &body).header("authorization", &token);
    assert_eq!(status(send(json!({ "query": page, "extensions": persisted }))).await, 200);
    assert_eq!(passed(30, |_| send(json!({ "extensions": persisted }))).await, 4);
}

#[tokio::test]
async fn an_operation_that_costs_more_than_fits_is_paid_for_afterwards() {
    let registry = Registry::empty().await;
    let stack = start_counting(&registry, &format!("{{per_viewer: {{cost: {}}}}}", fixed(10))).await;
    let page = "{ recent(first: 10) { author { id } } }";
    assert_eq!(passed(3, |_| viewer(&stack, "alice", page)).await, 1);
    let (status, body) = answer(viewer(&stack, "alice", "{ header }")).await;
    assert_eq!((status, code(&body)), (429, "RATE_LIMITED"), "a debt comes first");
}

#[tokio::test]
async fn who_comes_again_when_it_was_told_to_is_let_in() {
    let registry = Registry::empty().await;
    let stack = start_counting(&registry, "{per_viewer: {requests: {count: 1, seconds: 3}}}").await;
    let first_sent = Instant::now();
    assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    let refused = viewer(&stack, "alice", "{ header }").send().await.unwrap();
    let refused_at = Instant::now();
    assert_eq!(refused.status(), 429);
    let told: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let policy = refused.headers()["ratelimit-policy"].to_str().unwrap().to_owned();
    let standing = refused.headers()["ratelimit"].to_str().unwrap().to_owned();
    let body: Value = refused.json().await.unwrap();
    let expected = json!({ "code": "RATE_LIMITED", "retryAfterSeconds": told, "policy": "viewer" });
    assert_eq!(body, json!({ "errors": [{ "message": "too many requests", "extensions": expected }] }));
    assert!((1..=3).contains(&told), "{told}");
    assert_eq!(
        (policy.as_str(), standing),
        ("\"viewer\";q=1;w=3, \"viewer-cost\";q=6000000;w=60;qu=\"cost\"", format!("\"viewer\";r=0;t={told}"))
    );
    eventually("it passes", async || {
        let sent = Instant::now();
        let passes = status(viewer(&stack, "alice", "{ header }")).await == 200;
        assert!(passes || sent < refused_at + Duration::from_secs(told), "not when it was told");
        passes
    })
    .await;
    assert!(first_sent.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn a_partner_sees_its_limits_in_every_answer() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "requestsPerSecond": 1, "burst": 100 })).await;
    registry.operation("acme", "recent", "{ recent(first: 10) { author { id } } }", None).await;
    let stack = start_counting(&registry, "{}").await;
    known(&stack, &acme, "recent").await;
    let told = async |request: reqwest::RequestBuilder| {
        let response = request.send().await.unwrap();
        let field = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), field("ratelimit-policy"), field("ratelimit"), field("etag"))
    };
    let length = {
        let now = DateTime::<Utc>::from(SystemTime::now()).date_naive();
        let first = |date: chrono::NaiveDate| chrono::Datelike::with_day(&date, 1).unwrap();
        let next = first(now).checked_add_months(chrono::Months::new(1)).unwrap();
        (next - first(now)).num_seconds()
    };
    let policy = format!("\"key\";q=100;w=100, \"key-cost\";q=10000;w=60;qu=\"cost\", \"quota\";q=10000;w={length}");
    let (status, policies, standing, tag) = told(at(&stack.router, Some(&acme.text), "recent")).await;
    assert_eq!((status, policies.as_deref()), (200, Some(policy.as_str())));
    let left = parse(&standing.unwrap());
    assert_eq!(left["key"].0, 98);
    assert!(left["key-cost"].0 >= 10_000 - 2 * 20 && left["key-cost"].0 < 10_000, "{left:?}");
    assert_eq!(left["quota"].0, 9_998);
    assert!(left["key"].1 <= 2 && left["key-cost"].1 <= 1 && left["quota"].1 <= length.unsigned_abs());

    let again = at(&stack.router, Some(&acme.text), "recent").header("if-none-match", tag.unwrap());
    let (status, _, standing, _) = told(again).await;
    assert_eq!((status, parse(&standing.unwrap())["quota"].0), (304, 9_997));
    // Of limits that are not reached, nobody else is told.
    let (status, policies, standing, _) = told(viewer(&stack, "alice", "{ header }")).await;
    assert_eq!((status, policies, standing), (200, None, None));
}

/// What is left of each policy, and when there will be all of it.
fn parse(field: &str) -> HashMap<String, (u64, u64)> {
    let items = field.split(", ").map(|item| {
        let mut parts = item.split(';');
        let name = parts.next().unwrap().trim_matches('"').to_owned();
        let mut number = |name: &str| parts.next().unwrap().strip_prefix(name).unwrap().parse().unwrap();
        (name, (number("r="), number("t=")))
    });
    items.collect()
}

#[tokio::test]
async fn a_router_without_redis_lets_its_part_through_and_says_so() {
    let mut registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "monthlyQuota": 20 })).await;
    let rates = format!("{{routers: 2, per_viewer: {{requests: {}}}}}", fixed(10));
    let stack = start_counting(&registry, &rates).await;
    known(&stack, &acme, "header").await;
    assert_eq!(passed(20, |_| viewer(&stack, "alice", "{ header }")).await, 10);

    registry.stop();
    assert_eq!(passed(20, |_| viewer(&stack, "bob", "{ header }")).await, 5);
    let refused = viewer(&stack, "bob", "{ header }").send().await.unwrap();
    let policy = refused.headers()["ratelimit-policy"].to_str().unwrap();
    assert!(policy.starts_with("\"viewer\";q=5;") && policy.contains(";velvet-local"), "{policy}");
    counts_locally(&stack.router, true).await;
    let call = json!({ "documentId": "header" });
    let of_acme = |_| post(&stack.router, Some(&acme.text), &call);
    assert_eq!(passed(20, of_acme).await, (20 - 1) / 2, "its part of what was left of the quota");

    registry.serve().await;
    counts_locally(&stack.router, false).await;
    assert_eq!(passed(20, |_| viewer(&stack, "bob", "{ header }")).await, 10, "the buckets are new");
    assert_eq!(passed(20, of_acme).await, 20 - 1 - 9, "what was let through without Redis is counted in it");
}

#[tokio::test]
async fn a_redis_that_is_too_slow_is_not_waited_for() {
    let registry = Registry::empty().await;
    let stack = start_counting(&registry, "{redis_timeout_ms: 200}").await;
    assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    registry.ask::<()>(redis::cmd("CLIENT").arg("PAUSE").arg(4_000)).await;
    for _ in 0..3 {
        assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    }
    counts_locally(&stack.router, true).await;
    let redis = decisions(&stack.router, "redis").await;
    assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    counts_locally(&stack.router, false).await;
    assert_eq!(status(viewer(&stack, "alice", "{ header }")).await, 200);
    assert!(decisions(&stack.router, "redis").await > redis);
}

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

#[tokio::test]
async fn the_socket_and_the_streams_are_held_to_the_same_limits() {
    let registry = Registry::empty().await;
    let acme = registry.calling("acme", json!({ "monthlyQuota": 4 })).await;
    registry.operation("acme", "texts", "subscription { texts }", None).await;
    let stack = start_counting(&registry, &format!("{{per_viewer: {{requests: {}}}}}", fixed(4))).await;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("q", "{ hello(name: \"a\") }").await;
    assert_eq!(alice.event("q").await["data"]["hello"], "hello a");
    assert_eq!(alice.message().await, json!({ "id": "q", "type": "complete" }));
    alice.subscribe("s", "subscription { texts }").await;
    stack.streaming(1).await;
    let authorization = streams::token(&stack, "alice");
    let body = json!({ "query": "subscription { texts }" });
    let headers = [("authorization", authorization.as_str())];
    let stream = streams::post(&stack, SSE, &headers, &body).await;
    assert_eq!(stream.status(), 200);
    alice.subscribe("bound", &format!("subscription {{ {} }}", "a { ".repeat(20) + "a" + &" }".repeat(20))).await;
    assert_eq!(alice.error_code("bound").await, "OPERATION_TOO_DEEP", "which counts as well");

    for query in ["{ header }", "subscription { texts }", "subscription Other { texts }"] {
        alice.subscribe("r", query).await;
        let refused = alice.message().await;
        let extensions = &refused["payload"][0]["extensions"];
        assert_eq!((&refused["type"], &extensions["code"]), (&json!("error"), &json!("RATE_LIMITED")), "{query}");
        assert!(extensions["retryAfterSeconds"].as_u64().unwrap() > 0);
    }
    for accept in [SSE, streams::MULTIPART] {
        let refused = streams::post(&stack, accept, &headers, &body).await;
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(streams::refusal(refused).await, (429, "RATE_LIMITED".to_owned()));
        let refused = streams::post(&stack, accept, &headers, &json!({ "query": "{ header }" })).await;
        assert_eq!(refused.status(), 429);
    }
    // What runs goes on.
    stack.world().post("one", "ann");
    assert_eq!(alice.event("s").await["data"]["texts"], "one");

    known(&stack, &acme, "header").await;
    let mut partner = socket(&stack.router, &acme.text).await;
    partner.subscribe_with("s", json!({ "documentId": "texts" })).await;
    stack.streaming(3).await;
    partner.subscribe_with("q", json!({ "documentId": "header" })).await;
    assert!(partner.event("q").await["data"]["header"].is_string());
    assert_eq!(partner.message().await, json!({ "id": "q", "type": "complete" }));
    assert_eq!(passed(5, |_| post(&stack.router, Some(&acme.text), &json!({ "documentId": "header" }))).await, 1);
    partner.subscribe_with("q", json!({ "documentId": "header" })).await;
    assert_eq!(partner.error_code("q").await, "RATE_LIMITED");
}

#[tokio::test]
async fn rates_that_make_no_sense_are_refused() {
    let valid = |rates: &str| is_valid(&format!("plugins: {{velvet.limits: {{rates: {rates}}}}}"));
    assert!(valid("{per_viewer: {requests: {count: 1}}, per_address: {header: x-forwarded-for}, routers: 3}"));
    for unknown in ["{redis: a}", "{per_viewer: {requests: {count: 0}}}", "{per_address: {}}", "{routers: 0}"] {
        assert!(!valid(unknown), "{unknown}");
    }
}
