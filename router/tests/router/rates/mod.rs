//! How often callers may ask: exactly, on all routers together, and honestly told.

mod away;
mod quota;
mod told;
mod transports;
mod whose;

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::calls::{HEADER, answer, code, post};
use crate::process::{Router, Stack, eventually, is_valid, start};
use crate::registry::{Key, Registry};

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
        assert_eq!((ahead, redis), (20, 2), "two calls draw ten more each");
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
async fn rates_that_make_no_sense_are_refused() {
    let valid = |rates: &str| is_valid(&format!("plugins: {{velvet.limits: {{rates: {rates}}}}}"));
    assert!(valid("{per_viewer: {requests: {count: 1}}, per_address: {header: x-forwarded-for}, routers: 3}"));
    for unknown in ["{redis: a}", "{per_viewer: {requests: {count: 0}}}", "{per_address: {}}", "{routers: 0}"] {
        assert!(!valid(unknown), "{unknown}");
    }
}
