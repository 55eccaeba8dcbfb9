//! What the edge costs: the router's plugins on and off, and an operation by its id and by its text.
//!
//! Each variant is a router process of its own before the same subgraphs, started for this; they take turns, so that
//! what the machine does meanwhile falls on all of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use velvet_e2e::partner::Partner;
use velvet_e2e::router::{Router, lift_rates, only_plugins};
use velvet_kit::until;

use crate::bench::Bench;
use crate::people::People;
use crate::steps::search;
use crate::turns::{Caller, Variant, at, bearer, compare, take_turns, warm_up};

/// Little work for a subgraph, so that the router's own shows.
const QUOTA: &str = "query Quota { swipeQuota { limit remaining resetsAt } }";
/// As long as what a client's screen asks for.
const SCREEN: &str = include_str!("edge.graphql");
const SCREEN_ID: &str = "load-screen";
const EXECUTED_BY_APOLLO: (&str, &str) = ("VELVET_EXECUTOR", "apollo");

pub async fn measure(bench: &mut Bench, people: &People) -> Result<()> {
    let tokens: Arc<Vec<String>> =
        Arc::new(people.all.iter().filter_map(|one| one.client.token()).map(bearer).collect());
    plugins(bench, &tokens).await.context("plugins on and off")?;
    persisted(bench, &tokens).await.context("by id and by text")
}

async fn plugins(bench: &mut Bench, tokens: &Arc<Vec<String>>) -> Result<()> {
    let all = Router::start(&bench.handle, &[], |_| {}).await?;
    let planned = Router::start(&bench.handle, &[EXECUTED_BY_APOLLO], |_| {}).await?;
    let auth = Router::start(&bench.handle, &[], |config| only_plugins(config, &["velvet.auth"])).await?;
    let mut has_rates = false;
    let unrated = Router::start(&bench.handle, &[], |config| has_rates = lift_rates(config)).await?;
    let stock = Router::start(&bench.handle, &[], |config| only_plugins(config, &[])).await?;
    let body = json!({ "query": QUOTA }).to_string();
    let variant = |label, router: &Router| {
        let caller = Caller::new(&router.info.graphql_url, "authorization", tokens, body.clone(), "swipeQuota");
        Variant::new(label, router.pid(), caller.target("edge: plugins", label))
    };
    let mut variants = vec![
        variant("all plugins", &all)?,
        variant("all plugins but the executor", &planned)?,
        variant("auth alone", &auth)?,
        variant("stock Apollo Router", &stock)?,
    ];
    if has_rates {
        variants.push(variant("no rates", &unrated)?);
    }
    moderate(bench, &variants).await?;
    for variant in &variants {
        at(bench, variant, async |bench| search(bench, &variant.target).await.map(drop)).await?;
    }
    for other in &variants[1..] {
        compare(bench, &variants[0], other);
    }
    compare(bench, &variants[1], &variants[2]);
    Ok(())
}

async fn persisted(bench: &mut Bench, tokens: &Arc<Vec<String>>) -> Result<()> {
    let folder = bench.handle.info.state.join(format!("operations-{}", bench.run));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::write(folder.join("manifest.json"), json!({ SCREEN_ID: SCREEN }).to_string())?;
    let folder = folder.to_string_lossy().into_owned();
    let operations = ("VELVET_OPERATIONS_DIR", folder.as_str());
    let router = Router::start(&bench.handle, &[operations], |_| {}).await?;
    let apollo = Router::start(&bench.handle, &[operations, EXECUTED_BY_APOLLO], |_| {}).await?;
    let key = Arc::new(vec![partners_key(bench, &router).await.context("a partner's key")?]);
    let (by_text, by_id) = (json!({ "query": SCREEN }).to_string(), json!({ "documentId": SCREEN_ID }).to_string());
    let variant = |label, router: &Router, header, values: &Arc<Vec<String>>, body: &str| {
        let caller = Caller::new(&router.info.graphql_url, header, values, body.to_owned(), "matches");
        Variant::new(label, router.pid(), caller.target("edge: one operation", label))
    };
    let variants = [
        variant("by id", &router, "authorization", tokens, &by_id)?,
        variant("by text", &router, "authorization", tokens, &by_text)?,
        variant("by id, with a key", &router, "x-api-key", &key, &by_id)?,
        variant("by id, executed by Apollo Router", &apollo, "authorization", tokens, &by_id)?,
        variant("by text, executed by Apollo Router", &apollo, "authorization", tokens, &by_text)?,
    ];
    moderate(bench, &variants).await?;
    compare(bench, &variants[0], &variants[1]);
    compare(bench, &variants[2], &variants[1]);
    compare(bench, &variants[0], &variants[3]);
    compare(bench, &variants[1], &variants[4]);
    Ok(())
}

/// The load of the command line.
async fn moderate(bench: &mut Bench, variants: &[Variant]) -> Result<()> {
    warm_up(variants).await;
    let (rate, measured) = (bench.arguments.rate, Duration::from_secs(bench.arguments.seconds));
    take_turns(bench, variants, rate, measured).await
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
