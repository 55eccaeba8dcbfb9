//! What the edge costs: the router's plugins on and off, and an operation by its id and by its text.
//!
//! Each variant is a router process of its own before the same subgraphs, started for this; they take turns, so that
//! what the machine does meanwhile falls on all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use velvet_e2e::partner::Partner;
use velvet_e2e::router::{Router, lift_rates, only_plugins};
use velvet_kit::until;

use crate::bench::{Bench, Place};
use crate::people::People;
use crate::report::Row;
use crate::schedule::{Answer, closed_loop, exact};
use crate::steps::{Target, moderate, search};

/// Little work for a subgraph, so that the router's own shows.
const QUOTA: &str = "query Quota { swipeQuota { limit remaining resetsAt } }";
/// As long as what a client's screen asks for.
const SCREEN: &str = include_str!("edge.graphql");
const SCREEN_ID: &str = "load-screen";
/// How often each variant is measured.
const ROUNDS: u32 = 3;
const WARM_UP: Duration = Duration::from_secs(2);
const WARM_UP_WORKERS: u64 = 8;

pub async fn measure(bench: &mut Bench, people: &People) -> Result<()> {
    let tokens: Arc<Vec<String>> =
        Arc::new(people.all.iter().filter_map(|one| one.client.token()).map(bearer).collect());
    plugins(bench, &tokens).await.context("plugins on and off")?;
    persisted(bench, &tokens).await.context("by id and by text")
}

/// One way of asking, and the router that is asked.
struct Variant<'r> {
    label: &'static str,
    router: &'r Router,
    target: Target,
}

async fn plugins(bench: &mut Bench, tokens: &Arc<Vec<String>>) -> Result<()> {
    let all = Router::start(&bench.handle, &[], |_| {}).await?;
    let auth = Router::start(&bench.handle, &[], |config| only_plugins(config, &["velvet.auth"])).await?;
    let mut has_rates = false;
    let unrated = Router::start(&bench.handle, &[], |config| has_rates = lift_rates(config)).await?;
    let stock = Router::start(&bench.handle, &[], |config| only_plugins(config, &[])).await?;
    let body = json!({ "query": QUOTA }).to_string();
    let variant = |label, router| {
        let caller = Caller::new(router, "authorization", tokens, body.clone(), "swipeQuota");
        Variant { label, router, target: target("edge: plugins", label, caller) }
    };
    let mut variants = vec![variant("all plugins", &all), variant("auth alone", &auth)];
    if has_rates {
        variants.push(variant("no rates", &unrated));
    }
    variants.push(variant("stock Apollo Router", &stock));
    take_turns(bench, &variants).await?;
    for variant in &variants {
        at(bench, variant, async |bench| search(bench, &variant.target).await.map(drop)).await?;
    }
    for other in &variants[1..] {
        compare(bench, &variants[0], other);
    }
    Ok(())
}

async fn persisted(bench: &mut Bench, tokens: &Arc<Vec<String>>) -> Result<()> {
    let folder = bench.handle.info.state.join(format!("operations-{}", bench.run));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::write(folder.join("manifest.json"), json!({ SCREEN_ID: SCREEN }).to_string())?;
    let folder = folder.to_string_lossy().into_owned();
    let operations = ("VELVET_OPERATIONS_DIR", folder.as_str());
    let router = Router::start(&bench.handle, &[operations], |_| {}).await?;
    let apollo = Router::start(&bench.handle, &[operations, ("VELVET_EXECUTOR", "apollo")], |_| {}).await?;
    let key = Arc::new(vec![partners_key(bench, &router).await.context("a partner's key")?]);
    let (by_text, by_id) = (json!({ "query": SCREEN }).to_string(), json!({ "documentId": SCREEN_ID }).to_string());
    let variant = |label, router, header, values: &Arc<Vec<String>>, body: &str| {
        let caller = Caller::new(router, header, values, body.to_owned(), "matches");
        Variant { label, router, target: target("edge: one operation", label, caller) }
    };
    let variants = [
        variant("by id", &router, "authorization", tokens, &by_id),
        variant("by text", &router, "authorization", tokens, &by_text),
        variant("by id, with a key", &router, "x-api-key", &key, &by_id),
        variant("by id, executed by Apollo Router", &apollo, "authorization", tokens, &by_id),
    ];
    take_turns(bench, &variants).await?;
    compare(bench, &variants[0], &variants[1]);
    compare(bench, &variants[2], &variants[1]);
    compare(bench, &variants[0], &variants[3]);
    Ok(())
}

async fn take_turns(bench: &mut Bench, variants: &[Variant<'_>]) -> Result<()> {
    // What the first requests of a process bring about is no cost of each.
    for variant in variants {
        closed_loop(WARM_UP_WORKERS, WARM_UP, |index| (variant.target.send)(index)).await;
    }
    for _ in 0..ROUNDS {
        for variant in variants {
            at(bench, variant, async |bench| moderate(bench, &variant.target).await).await?;
        }
    }
    Ok(())
}

/// Counts the processor time of the variant's router in the place of the stack's own.
async fn at(bench: &mut Bench, variant: &Variant<'_>, work: impl AsyncFnOnce(&mut Bench) -> Result<()>) -> Result<()> {
    const ROUTER: &str = "router";
    let pid = variant.router.pid().context("a router has ended")?;
    let own = bench.pids.insert(ROUTER.to_owned(), pid);
    let outcome = work(bench).await;
    match own {
        Some(own) => bench.pids.insert(ROUTER.to_owned(), own),
        None => bench.pids.remove(ROUTER),
    };
    outcome
}

/// Rows with what one variant takes as a multiple of what another takes.
fn compare(bench: &mut Bench, one: &Variant, other: &Variant) {
    let rows = &bench.report.rows;
    let mean = |variant: &Variant, of: fn(&Row) -> Option<f64>| {
        let what = format!("{} · moderate", variant.target.what);
        let rows = rows.iter().filter(|row| row.scenario == variant.target.scenario && row.what == what);
        let values: Vec<f64> = rows.filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / exact(values.len() as u64))
    };
    let ratio = |of: fn(&Row) -> Option<f64>| Some(mean(one, of)? / mean(other, of)?);
    let ratios = [
        ("router cpu", ratio(|row| row.router_cpu_us)),
        ("p50", ratio(|row| row.p50_ms)),
        ("p99", ratio(|row| row.p99_ms)),
    ];
    for (what, ratio) in ratios {
        let Some(ratio) = ratio else { continue };
        let what = format!("{}, of {} · {what}", one.label, other.label);
        bench.add(Row::new(&one.target.scenario, what).value(ratio, "×").note(format!("means of {ROUNDS} rounds")));
    }
}

/// Sends one request again and again, for many callers in turn.
struct Caller {
    http: reqwest::Client,
    url: String,
    header: &'static str,
    values: Arc<Vec<String>>,
    body: String,
    field: &'static str,
    turn: AtomicU64,
}

impl Caller {
    fn new(
        router: &Router,
        header: &'static str,
        values: &Arc<Vec<String>>,
        body: String,
        field: &'static str,
    ) -> Arc<Self> {
        let (url, values) = (router.info.graphql_url.clone(), Arc::clone(values));
        Arc::new(Self { http: reqwest::Client::new(), url, header, values, body, field, turn: AtomicU64::new(0) })
    }

    async fn call(self: Arc<Self>) -> Answer {
        let turn = usize::try_from(self.turn.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
        let request = self.http.post(&self.url).header("content-type", "application/json");
        let request = request.header(self.header, &self.values[turn % self.values.len()]).body(self.body.clone());
        let response = request.send().await.map_err(|_| "not sent".to_owned())?;
        let status = response.status();
        let answer: Value = response.json().await.map_err(|_| format!("status {status}, no JSON"))?;
        if answer.get("errors").is_none() && answer["data"][self.field].is_object() {
            return Ok(());
        }
        let code = answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("no data");
        Err(format!("status {status}, {code}"))
    }
}

fn target(scenario: &str, label: &str, caller: Arc<Caller>) -> Target {
    let send = move |_| -> BoxFuture<'static, Answer> { Box::pin(Arc::clone(&caller).call()) };
    Target {
        scenario: scenario.to_owned(),
        what: label.to_owned(),
        place: Some(Place::Router),
        send: Arc::new(send),
        prepare: None,
        note: None,
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The key of a partner who has registered the screen, once that router knows it.
async fn partners_key(bench: &Bench, router: &Router) -> Result<String> {
    let partner = Partner::create(&bench.handle).await?;
    // As much as there is to have.
    let limits = json!({
        "burst": 20_000, "requestsPerSecond": 10_000, "costPerMinute": 100_000_000, "monthlyQuota": 2_000_000_000,
    });
    let input = json!({ "slug": partner.slug, "limits": limits });
    partner.change("updatePartner", "UpdatePartnerInput", input, "").await?;
    let input = json!({ "slug": partner.slug, "mode": "TEST", "scopes": ["matching:query"] });
    let selection = "... on PartnerKeyCreated { secret }";
    let created = partner.change("createPartnerKey", "CreatePartnerKeyInput", input, selection).await?;
    let key = created["secret"].as_str().with_context(|| format!("no key: {created}"))?.to_owned();
    let http = reqwest::Client::new();
    until("the operation is registered", velvet_e2e::SOON, || async {
        let url = format!("{}/graphql/op?client=load&idempotencyKey={}", router.info.router_url, bench.run);
        let response = http.post(url).header("x-api-key", &key).json(&json!({ SCREEN_ID: SCREEN })).send().await?;
        ensure!(response.status().is_success(), "{}", response.text().await?);
        let call = http.post(&router.info.graphql_url).header("x-api-key", &key);
        let response = call.json(&json!({ "documentId": SCREEN_ID })).send().await?;
        ensure!(response.status().is_success(), "{}", response.text().await?);
        Ok(())
    })
    .await?;
    Ok(key)
}
