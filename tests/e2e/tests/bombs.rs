//! Requests that would cost more than they may: refused before planning, and nobody else notices them.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use velvet_e2e::{
    Person, SOON,
    router::{Router, plugin},
};
use velvet_kit::{
    Handle,
    client::{
        Client,
        ws::{Event, Socket},
    },
};

/// How many times a router has planned anything.
const PLANS: &str = "apollo_router_query_planning_plan_duration_count";
/// How many requests it has sent to subgraphs.
const ASKED: &str = "http_client_request_duration_seconds_count";
const GOOD: &str = "{ matches(first: 1) { nodes { id } } }";
const BOMBS: usize = 1_000;
const BOMBS_AT_ONCE: usize = 4;
/// What a router may hold after the bombs beyond what it held before: the buffers of a few large bodies.
const GROWTH_BYTES_MAX: u64 = 48 << 20;
/// How many times as long others may wait beside the bombs, on a machine that is busy with both ends of them.
const SLOWER_MAX: u32 = 10;

/// A request that must be refused.
struct Bomb {
    name: &'static str,
    body: String,
    status: u16,
    code: &'static str,
    /// The text alone, when it is the text that is bad.
    text: Option<String>,
}

impl Bomb {
    fn text(name: &'static str, text: String, code: &'static str) -> Self {
        let body = json!({ "query": text }).to_string();
        Self { name, body, status: 400, code, text: Some(text) }
    }

    fn body(name: &'static str, body: String, code: &'static str) -> Self {
        Self { name, body, status: 400, code, text: None }
    }
}

fn repeated(count: usize, part: impl Fn(usize) -> String) -> String {
    (0..count).map(part).collect::<Vec<_>>().join(" ")
}

/// Fragments that hold the next one twice each.
fn doubling(levels: usize) -> String {
    let mut text = "{ me { user { ...F0 } } }".to_owned();
    for level in 0..levels {
        let _ = write!(text, " fragment F{level} on User {{ ...F{0} ...F{0} }}", level + 1);
    }
    let _ = write!(text, " fragment F{levels} on User {{ id }}");
    text
}

fn bombs() -> Vec<Bomb> {
    let nested = |levels: usize| {
        let inner = "conversation { lastMessage { sender { id } } messages(first: 1) { nodes { id } } }";
        format!("{{ matches(first: 1) {{ nodes {{ {} {inner} {} }} }} }}", "... { ".repeat(levels), "}".repeat(levels))
    };
    let pages = "conversations(first: 100) { nodes { messages(first: 100) { nodes { sender { id displayName } } } } }";
    let of = |text: &str| json!({ "query": text }).to_string();
    let mebibyte = format!("{{ {} }}", "a ".repeat((1 << 19) - 20));
    vec![
        Bomb::text("cost", format!("{{ {pages} }}"), "OPERATION_TOO_COSTLY"),
        Bomb::text("depth", format!("{{ {} id {} }}", "me { ".repeat(40), "}".repeat(40)), "OPERATION_TOO_DEEP"),
        Bomb::text("open braces", "{a".repeat(300), "OPERATION_TOO_DEEP"),
        Bomb::text("fragments within fragments", nested(300), "OPERATION_TOO_DEEP"),
        Bomb::text("fragments that double", doubling(60), "TOO_MANY_FIELDS"),
        Bomb::text(
            "fragments in a circle",
            "{ me { user { ...A } } } fragment A on User { ...B } fragment B on User { ...A }".to_owned(),
            "FRAGMENT_CYCLE",
        ),
        Bomb::text(
            "aliases",
            format!("{{ me {{ {} }} }}", repeated(200, |number| format!("a{number}: email"))),
            "TOO_MANY_ALIASES",
        ),
        Bomb::text(
            "fields at the root",
            format!("{{ {} }}", repeated(200, |number| format!("a{number}: __typename"))),
            "TOO_MANY_ROOT_FIELDS",
        ),
        Bomb::text(
            "directives",
            format!("{{ me {} {{ email }} }}", "@skip(if: true) ".repeat(200)),
            "TOO_MANY_DIRECTIVES",
        ),
        Bomb::text("a list", "{ matches(first: 1000000) { nodes { id } } }".to_owned(), "LIST_TOO_LARGE"),
        Bomb::text("tokens", format!("{{ {} }}", "a ".repeat(20_000)), "TOO_MANY_TOKENS"),
        Bomb::text("an argument twice", "{ deck(first: 1, first: 2) { distanceKm } }".to_owned(), "DUPLICATE_ARGUMENT"),
        Bomb::text("the schema", "{ __schema { types { name } } }".to_owned(), "INTROSPECTION_DISABLED"),
        Bomb::text(
            "the schema behind a fragment",
            "{ ...F } fragment F on Query { t: __type(name: \"User\") { name } }".to_owned(),
            "INTROSPECTION_DISABLED",
        ),
        Bomb::body("a batch", format!("[{}]", vec![of(GOOD); 50].join(",")), "BATCH_REFUSED"),
        Bomb::body("a key twice", r#"{"query":"{ a }","query":"{ b }"}"#.to_owned(), "DUPLICATE_KEY"),
        Bomb::body(
            "a key twice, once in disguise",
            r#"{"query":"{ a }","variables":{"a":1,"\u0061":2}}"#.to_owned(),
            "DUPLICATE_KEY",
        ),
        Bomb::body("half a mebibyte of tokens", of(&mebibyte[..1 << 19]), "BODY_TOO_LARGE"),
        // Apollo Router's own answer to what it does not even read.
        Bomb { status: 413, ..Bomb::body("a mebibyte of tokens", of(&mebibyte), "INVALID_GRAPHQL_REQUEST") },
    ]
}

/// A router as in production, where the schema is not told. It plans nothing by itself.
async fn router(stack: &Handle) -> Result<Router> {
    Router::start(stack, &[("VELVET_ROUTER_INTROSPECTION", "false")], |config| {
        plugin(config, "velvet.partners")["planning"]["ahead_max"] = 0.into();
    })
    .await
}

async fn is_refused(client: &Client, bomb: &Bomb) -> Result<()> {
    let (status, text) = client.post(bomb.body.clone()).await.with_context(|| bomb.name)?;
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("{}: {status} {text}", bomb.name))?;
    let code = answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default();
    ensure!((status, code) == (bomb.status, bomb.code), "{}: {status} {text}", bomb.name);
    ensure!(answer["data"].is_null(), "{}: {text}", bomb.name);
    Ok(())
}

async fn is_good(client: &Client) -> Result<Duration> {
    let started = Instant::now();
    let data = client.data(GOOD, json!({})).await?;
    ensure!(data["matches"]["nodes"].is_array(), "{data}");
    Ok(started.elapsed())
}

#[tokio::test]
async fn each_is_refused_before_anything_is_planned_or_asked() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let router = router(&stack).await?;
    let (anon, token) = (router.client()?, alice.client.token().context("a token")?);
    let alice = anon.bearer(token);
    for bomb in bombs() {
        is_refused(&anon, &bomb).await.context("anonymous")?;
        // Of what a user may ask for more, the bombs ask for more still.
        is_refused(&alice, &bomb).await.context("a user")?;
    }
    // Over the socket the same, for all that is one message of it.
    let mut socket = Socket::open(&router.info.ws_url, Some(token)).await?;
    for bomb in bombs() {
        let Some(text) = &bomb.text else { continue };
        let id = socket.subscribe(text, json!({})).await?;
        let Event::Errors(errors) = socket.next(&id, SOON).await? else { anyhow::bail!("{} was run", bomb.name) };
        assert_eq!(errors[0]["extensions"]["code"], bomb.code, "{}: {errors}", bomb.name);
    }
    assert_eq!((router.counted(PLANS).await?, router.counted(ASKED).await?), (0.0, 0.0));
    is_good(&alice).await?;
    assert!(router.counted(PLANS).await? > 0.0 && router.counted(ASKED).await? > 0.0, "both would have been seen");
    Ok(())
}

/// Asks one good request after the other for as long as that is wanted; how long each took, sorted.
async fn meanwhile(client: &Client, at_least: usize, over: &AtomicBool) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    while took.len() < at_least || !over.load(Ordering::Relaxed) {
        took.push(is_good(client).await.with_context(|| format!("the good request {}", took.len()))?);
    }
    took.sort_unstable();
    Ok(took)
}

async fn throw(client: &Client, bombs: &[Bomb], count: usize) -> Result<()> {
    let thrown = (0..count).map(|number| is_refused(client, &bombs[number % bombs.len()]));
    let mut thrown = stream::iter(thrown).buffer_unordered(BOMBS_AT_ONCE);
    while let Some(refused) = thrown.next().await {
        refused?;
    }
    Ok(())
}

#[tokio::test]
async fn a_thousand_of_them_change_nothing_for_others() -> Result<()> {
    let stack = Handle::from_env()?;
    // What other tests do would be measured too.
    let _turn = stack.exclusive().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let (router, bombs) = (router(&stack).await?, bombs());
    let anon = router.client()?;
    let alice = anon.bearer(alice.client.token().context("a token")?);
    // What the first of anything takes is no part of it.
    throw(&anon, &bombs, 5 * bombs.len()).await?;
    let alone = meanwhile(&alice, 100, &AtomicBool::new(true)).await?;
    let (before, plans) = (router.resident_bytes()?, router.counted(PLANS).await?);

    let over = AtomicBool::new(false);
    let throwing = async {
        let thrown = throw(&anon, &bombs, BOMBS).await;
        over.store(true, Ordering::Relaxed);
        thrown
    };
    let ((), beside) = tokio::try_join!(throwing, meanwhile(&alice, 100, &over))?;

    let after = router.resident_bytes()?;
    assert!(after < before + GROWTH_BYTES_MAX, "{before} bytes were resident, and then {after}");
    let planned = router.counted(PLANS).await? - plans;
    assert!(planned.abs() < 0.5, "{planned} bombs were planned");
    let median = |took: &[Duration]| took[took.len() / 2];
    let (alone, beside) = (median(&alone), median(&beside));
    assert!(beside < alone * SLOWER_MAX, "half of the others took {alone:?} alone, and {beside:?} beside the bombs");
    Ok(())
}
