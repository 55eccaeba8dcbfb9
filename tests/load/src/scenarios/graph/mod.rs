//! One graph through several routers: what each takes for the same operations before the same subgraphs.
//!
//! Each router is a process of its own; they take turns. What they answer is compared before anything is measured.

mod hive;
mod people;
mod same;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use velvet_e2e::router::{Router, only_plugins};

use self::hive::Hive;
use crate::bench::Bench;
use crate::plan::Graph;
use crate::population;
use crate::report::Row;
use crate::schedule::exact;
use crate::steps::search;
use crate::turns::{Caller, Variant, at, bearer, compare, take_turns, warm_up};

const SMALL: &str = include_str!("small.graphql");
const MEDIUM: &str = include_str!("medium.graphql");
const HEAVY: &str = include_str!("heavy.graphql");

/// What each router does besides the graph.
const CHECKED: &str = "checks tokens, limits, costs and rates";
const UNCHECKED: &str = "checks nothing: subgraphs check tokens";

/// Operations that our router has run itself.
const RUN: &str = "velvet_router_executor_run_total";
/// As kB are counted.
const KB: f64 = 1_000.0;

pub async fn measure(bench: &mut Bench, name: &str, plan: &Graph) -> Result<()> {
    let members = population::members(&bench.handle, plan.people, plan.people).await?;
    people::introduce(bench, &members, plan).await.context("making people match and write")?;
    let tokens = Arc::new(members.iter().map(|member| bearer(&member.token)).collect());

    let ours = Router::start(&bench.handle, &[("VELVET_EXECUTOR", "known")], |_| {}).await?;
    let apollo = Router::start(&bench.handle, &[("VELVET_EXECUTOR", "apollo")], |_| {}).await?;
    let stock = Router::start(&bench.handle, &[], |config| only_plugins(config, &[])).await?;
    let hive = match &bench.arguments.hive {
        Some(program) => Some(Hive::start(&bench.handle, program).await?),
        None => None,
    };
    let mut contenders = vec![
        Contender::of("ours", &ours, CHECKED),
        Contender::of("Apollo's execution", &apollo, CHECKED),
        Contender::of("stock Apollo Router", &stock, UNCHECKED),
    ];
    if let Some(hive) = &hive {
        contenders.push(Contender { label: "Hive Router", pid: hive.pid(), url: hive.url.clone(), does: UNCHECKED });
    }
    for operation in operations(plan) {
        let before = ours.counted(RUN).await?;
        let of = format!("{name}: {}", operation.what);
        operation.measure(bench, &of, &contenders, &tokens, plan).await.with_context(|| of.clone())?;
        ensure!(ours.counted(RUN).await? > before, "{of}: our router has left it to Apollo Router");
    }
    Ok(())
}

/// A router that is measured.
struct Contender {
    label: &'static str,
    pid: Option<u32>,
    url: String,
    does: &'static str,
}

impl Contender {
    fn of(label: &'static str, router: &Router, does: &'static str) -> Self {
        Self { label, pid: router.pid(), url: router.info.graphql_url.clone(), does }
    }
}

struct Operation {
    what: &'static str,
    text: &'static str,
    variables: Value,
    field: &'static str,
    per_second: f64,
}

fn operations(plan: &Graph) -> [Operation; 3] {
    let operation = |what, text, variables, field, per_second| Operation { what, text, variables, field, per_second };
    let all = json!({ "matches": plan.matches, "messages": plan.messages });
    [
        operation("small", SMALL, json!({}), "swipeQuota", plan.small_per_second),
        operation("medium", MEDIUM, json!({}), "matches", plan.medium_per_second),
        operation("heavy", HEAVY, all, "matches", plan.heavy_per_second),
    ]
}

impl Operation {
    async fn measure(
        &self,
        bench: &mut Bench,
        scenario: &str,
        contenders: &[Contender],
        tokens: &Arc<Vec<String>>,
        plan: &Graph,
    ) -> Result<()> {
        let variant = |contender: &Contender| -> Result<Variant> {
            let mut target = self.caller(contender, tokens)?.target(scenario, contender.label);
            let does = contender.does;
            target.note = Some(Arc::new(move || does.to_owned()));
            Variant::new(contender.label, contender.pid, target)
        };
        let variants = contenders.iter().map(variant).collect::<Result<Vec<_>>>()?;
        warm_up(&variants).await;

        let caller = |contender: &Contender| -> Result<(&'static str, Caller)> {
            Ok((contender.label, self.caller(contender, tokens)?))
        };
        let callers = contenders.iter().map(caller).collect::<Result<Vec<_>>>()?;
        let bytes = same::answers(&callers).await?;
        let note = format!("the same from all {} routers, for {} people", callers.len(), same::PEOPLE);
        bench.add(Row::new(scenario, "an answer").value(exact(bytes as u64) / KB, "kB").note(note));

        take_turns(bench, &variants, self.per_second, Duration::from_secs(plan.seconds)).await?;
        if plan.search {
            for variant in &variants {
                at(bench, variant, async |bench| search(bench, &variant.target).await.map(drop)).await?;
            }
        }
        for other in &variants[1..] {
            compare(bench, &variants[0], other);
        }
        Ok(())
    }

    fn caller(&self, contender: &Contender, tokens: &Arc<Vec<String>>) -> Result<Caller> {
        let body = json!({ "query": self.text, "variables": self.variables }).to_string();
        let mut caller = Caller::new(&contender.url, "authorization", tokens, body, self.field);
        caller.http = uncompressed()?;
        Ok(caller)
    }
}

/// Compression would cost more than the graph, and each router has another.
fn uncompressed() -> Result<reqwest::Client> {
    let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    reqwest::Client::builder().default_headers(headers).build().context("making an HTTP client")
}
