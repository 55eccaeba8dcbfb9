//! What is measured, by name.

mod burst;
mod deck;
mod edge;
mod live;
mod memory;
mod send;
mod sockets;
mod swipe;

use anyhow::{Result, bail};

use crate::arguments::Scenario;
use crate::bench::{Bench, say};
use crate::people::People;
use crate::raw;

/// Everything that was asked for, one after the other; what fails is noted, and the rest goes on.
pub async fn run_all(bench: &mut Bench) -> Result<()> {
    memory::note_resident(bench, "before the load");
    let people = People::gather(&bench.handle, &bench.arguments).await?;
    if bench.arguments.wants_any(&[Scenario::Deck, Scenario::Swipe, Scenario::Send]) {
        attempt(bench, "raw", async |bench| raw::echo::measure(bench).await).await;
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
    if bench.report.failures.is_empty() { Ok(()) } else { bail!("{} scenarios failed", bench.report.failures.len()) }
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
