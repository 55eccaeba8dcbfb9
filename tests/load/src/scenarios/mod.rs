//! What is measured, by name.

mod burst;
mod celebrity;
mod cold_start;
mod deck;
mod edge;
mod graph;
mod live;
mod memory;
mod mix;
pub mod people;
mod send;
mod sign_in;
mod steady;
mod storm;
mod subscribers;
mod swipe;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::arguments::Scenario;
use crate::bench::{Bench, say};
use crate::people::People;
use crate::plan::{Kind, Plan};
use crate::raw;

/// Everything that was asked for, one after the other; what fails is noted, and the rest goes on.
pub async fn run_all(bench: &mut Bench) -> Result<()> {
    if bench.arguments.wants_people() {
        by_name(bench).await?;
    }
    for plan in bench.arguments.plans.clone() {
        let within = plan.within();
        attempt(bench, &plan.name, async |bench| of_file(bench, &plan, within).await).await;
    }
    if bench.report.failures.is_empty() { Ok(()) } else { bail!("{} scenarios failed", bench.report.failures.len()) }
}

/// Those that have no file.
async fn by_name(bench: &mut Bench) -> Result<()> {
    memory::note_resident(bench, "before the load");
    let people = People::gather(&bench.handle, &bench.arguments).await?;
    if bench.arguments.wants_any(&[Scenario::Deck, Scenario::Swipe, Scenario::Send]) {
        attempt(bench, "raw", async |bench| raw::echo::measure(bench).await).await;
    }
    if bench.arguments.wants_any(&[Scenario::Swipe, Scenario::Send, Scenario::Live]) {
        attempt(bench, "warm-up", async |bench| send::warm_up(bench, &people).await).await;
    }
    if bench.arguments.wants(Scenario::Deck) {
        attempt(bench, "deck", async |bench| deck::measure(bench, &people).await).await;
    }
    if bench.arguments.wants(Scenario::Swipe) {
        attempt(bench, "swipe", async |bench| swipe::measure(bench, &people).await).await;
    }
    if bench.arguments.wants(Scenario::Send) {
        attempt(bench, "send", async |bench| send::measure(bench, &people).await).await;
    }
    if bench.arguments.wants(Scenario::Edge) {
        attempt(bench, "edge", async |bench| edge::measure(bench, &people).await).await;
    }
    if bench.arguments.wants(Scenario::Live) {
        attempt(bench, "live", async |bench| live::measure(bench, &people).await).await;
    }
    if bench.arguments.wants_any(&[Scenario::Projector, Scenario::Writer]) {
        attempt(bench, "burst", async |bench| burst::measure(bench, &people).await).await;
        burst::resume_all(&bench.handle).await;
    }
    if bench.arguments.wants(Scenario::Memory) {
        attempt(bench, "memory", async |bench| memory::measure(bench, &people).await).await;
    }
    Ok(())
}

/// One that has a file, within the time that it gives itself.
async fn of_file(bench: &mut Bench, plan: &Plan, within: Duration) -> Result<()> {
    say(&format!("{}: {}", plan.name, plan.about));
    let name = plan.name.as_str();
    let work = async {
        if matches!(plan.kind, Kind::Mix(_) | Kind::Storm(_)) && bench.echo_per_second.is_none() {
            raw::echo::measure(bench).await.context("a bare axum server")?;
        }
        match &plan.kind {
            Kind::Subscribers(plan) => subscribers::measure(bench, name, plan).await,
            Kind::Mix(plan) => mix::measure(bench, name, plan).await,
            Kind::Storm(plan) => storm::measure(bench, name, plan).await,
            Kind::Celebrity(plan) => celebrity::measure(bench, name, plan).await,
            Kind::SignIn(plan) => sign_in::measure(bench, name, plan).await,
            Kind::ColdStart(plan) => cold_start::measure(bench, name, plan).await,
            Kind::Steady(plan) => steady::measure(bench, name, plan).await,
            Kind::Graph(plan) => graph::measure(bench, name, plan).await,
        }
    };
    tokio::time::timeout(within, work).await.with_context(|| format!("it was to end within {} s", within.as_secs()))?
}

/// Lets everything go on that a measurement may have held up.
pub async fn release(bench: &Bench) {
    burst::resume_all(&bench.handle).await;
}

async fn attempt(bench: &mut Bench, name: &str, work: impl AsyncFnOnce(&mut Bench) -> Result<()>) {
    let left = bench.left();
    let outcome = tokio::time::timeout(left, work(bench)).await;
    let failure = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(cause)) => format!("{name}: {cause:#}").split_whitespace().collect::<Vec<_>>().join(" "),
        Err(_) => format!("{name}: the time is up"),
    };
    say(&failure);
    bench.report.failures.push(failure);
}
