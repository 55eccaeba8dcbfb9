//! How one operation at one place is measured: a moderate load, then a search for the highest rate that holds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::BoxFuture;

use crate::bench::{Bench, say};
use crate::report::Row;
use crate::schedule::{Answer, Outcome, Step, closed_loop, exact, open_loop};

/// Of the rate that waiting workers reach, in order; the first that does not hold ends the search.
const PARTS: [f64; 6] = [0.4, 0.55, 0.7, 0.85, 1.0, 1.15];
/// Workers that wait for each answer: enough to keep two cores busy.
const WORKERS: u64 = 32;
const PROBE: Duration = Duration::from_millis(1_500);
const STEP_WARM_UP: Duration = Duration::from_millis(500);
/// Less than this is not worth a step.
const RATE_MIN: f64 = 5.0;

/// One operation at one place.
#[derive(Clone)]
pub struct Target {
    pub scenario: &'static str,
    pub what: String,
    /// Sends the request of this number.
    pub send: Arc<dyn Fn(u64) -> BoxFuture<'static, Answer> + Send + Sync>,
    /// What to say beside the row, once it was measured.
    pub note: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl Target {
    fn note(&self) -> String {
        self.note.as_ref().map(|note| note()).unwrap_or_default()
    }
}

/// The stated rate; its row.
pub async fn moderate(bench: &mut Bench, target: &Target) -> Result<()> {
    let measured = Duration::from_secs(bench.arguments.seconds);
    let step = Step::new(bench.arguments.rate, measured / 5, measured);
    let (outcome, row) = run(bench, target, "moderate", &step).await?;
    bench.add(row);
    if outcome.answered == 0 {
        bail!("{} {}: no answer was good: {:?}", target.scenario, target.what, outcome.errors);
    }
    Ok(())
}

/// The highest rate of the tried ones that holds; its row, and the rate.
pub async fn search(bench: &mut Bench, target: &Target) -> Result<Option<f64>> {
    let top = closed_loop(WORKERS, PROBE, |index| (target.send)(index)).await;
    let _ = target.note();
    say(&format!("{} · {}: {top:.0}/s with {WORKERS} waiting workers", target.scenario, target.what));
    let measured = Duration::from_secs(bench.arguments.step_seconds);
    let p99_max = Duration::from_millis(bench.arguments.held_p99_ms);
    let mut best: Option<Row> = None;
    let mut ended = "held, and so may more";
    for part in PARTS {
        let rate = (top * part).max(RATE_MIN);
        let (outcome, row) = run(bench, target, "highest held", &Step::new(rate, STEP_WARM_UP, measured)).await?;
        if !outcome.holds(p99_max) {
            ended = "next step did not hold";
            let p99_ms = outcome.p99_ms();
            let errors = outcome.errors_total();
            say(&format!("  {rate:.0}/s does not hold: {:.0}/s, p99 {p99_ms:.0} ms, {errors} errors", outcome.achieved_per_second));
            best = best.or_else(|| Some(Row { what: format!("{} · none held", target.what), ..row }));
            break;
        }
        best = Some(row);
    }
    let Some(row) = best else {
        return Ok(None);
    };
    let row = row.beside(bench.echo_per_second).note(ended);
    let rate = row.rate_per_second;
    bench.add(row);
    Ok(rate)
}

/// One step and its row, with the processor time of a request.
async fn run(bench: &Bench, target: &Target, label: &str, step: &Step) -> Result<(Outcome, Row)> {
    let length = step.warm_up + step.measured;
    if bench.left() < length {
        bail!("the time is up");
    }
    let before = bench.cpu();
    let outcome = open_loop(step, |due| (target.send)(due.index)).await;
    let (router, api) = before.per(bench.cpu(), exact(outcome.ended));
    let mut row = Row::new(target.scenario, format!("{} · {label}", target.what)).outcome(&outcome);
    row.router_cpu_us = router;
    row.api_cpu_us = api;
    let note = target.note();
    Ok((outcome, if note.is_empty() { row } else { row.note(note) }))
}
