//! How one operation at one place is measured: a moderate load, then a search for the highest rate that holds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::BoxFuture;

use crate::bench::{Bench, Place, say};
use crate::report::Row;
use crate::scenarios::people::Call;
use crate::schedule::{Outcome, Step, closed_loop, open_loop};

/// The first step, as a part of the rate that waiting workers reach.
pub const FIRST_PART: f64 = 0.4;
/// Each step that holds is followed by one this much higher.
const RISE: f64 = 1.4;
/// A first step that does not hold is followed by a lower one.
const FALL: f64 = 0.5;
/// Steps after which the search ends in any case.
pub const STEPS_MAX: u32 = 9;
/// Rates between one that holds and one that does not which are closer than this are one.
const CLOSE: f64 = 1.1;
/// Workers that wait for each answer: enough to keep two cores busy.
const WORKERS: u64 = 32;
const PROBE: Duration = Duration::from_secs(2);
pub const STEP_WARM_UP: Duration = Duration::from_millis(500);
/// Less than this is not worth a step.
const RATE_MIN: f64 = 5.0;

/// One operation at one place.
#[derive(Clone)]
pub struct Target {
    pub scenario: String,
    pub what: String,
    /// None is outside of the stack.
    pub place: Option<Place>,
    /// Sends the request of this number.
    pub send: Call,
    /// Done before each step.
    pub prepare: Option<Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>>,
    /// What to say beside the row, once it was measured.
    pub note: Option<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl Target {
    async fn prepare(&self) -> Result<()> {
        match &self.prepare {
            Some(prepare) => prepare().await,
            None => Ok(()),
        }
    }

    fn note(&self) -> String {
        self.note.as_ref().map(|note| note()).unwrap_or_default()
    }
}

/// The rate and time of the command line; its row.
pub async fn moderate(bench: &mut Bench, target: &Target) -> Result<()> {
    moderate_at(bench, target, bench.arguments.rate, Duration::from_secs(bench.arguments.seconds)).await
}

/// The stated rate, after a warm-up of a fifth of the time; its row.
pub async fn moderate_at(bench: &mut Bench, target: &Target, rate: f64, measured: Duration) -> Result<()> {
    let step = Step::new(rate, measured / 5, measured);
    let (outcome, row) = run(bench, target, "moderate", &step).await?;
    bench.add(row);
    if outcome.answered == 0 {
        bail!("{} {}: no answer was good: {:?}", target.scenario, target.what, outcome.errors);
    }
    Ok(())
}

/// The highest rate of the tried ones that holds; its row, and the rate.
pub async fn search(bench: &mut Bench, target: &Target) -> Result<Option<f64>> {
    target.prepare().await?;
    let top = closed_loop(WORKERS, PROBE, |index| (target.send)(index)).await;
    // What was seen so far is not part of the first step.
    let _ = target.note();
    say(&format!("{} · {}: {top:.0}/s with {WORKERS} waiting workers", target.scenario, target.what));
    let measured = Duration::from_secs(bench.arguments.step_seconds);
    let p99_max = Duration::from_millis(bench.arguments.held_p99_ms);
    let mut bounds = Bounds::default();
    let mut best: Option<Row> = None;
    let mut last = None;
    for _ in 0..STEPS_MAX {
        let Some(rate) = bounds.next(top) else {
            break;
        };
        let (outcome, row) = run(bench, target, "highest held", &Step::new(rate, STEP_WARM_UP, measured)).await?;
        let holds = outcome.holds(p99_max);
        let word = if holds { "holds" } else { "does not hold" };
        let (achieved, p99_ms, errors) = (outcome.achieved_per_second, outcome.p99_ms(), outcome.errors_total());
        say(&format!("  {rate:.0}/s {word}: {achieved:.0}/s, p99 {p99_ms:.0} ms, {errors} errors"));
        bounds.note(rate, holds);
        if holds {
            best = Some(row);
        } else {
            last = Some(row);
        }
    }
    let held = best.as_ref().and_then(|row| row.rate_per_second);
    let row = match (best, last) {
        (Some(row), Some(_)) => row,
        (Some(row), None) => row.note("no step failed: more may hold"),
        (None, Some(row)) => Row { what: format!("{} · lowest tried, not held", target.what), ..row },
        (None, None) => return Ok(None),
    };
    let raw = bench.echo_per_second;
    bench.add(row.beside(raw));
    Ok(held)
}

/// What is known of the highest rate that holds.
#[derive(Debug, Default)]
pub struct Bounds {
    held: Option<f64>,
    failed: Option<f64>,
}

impl Bounds {
    /// The rate to try next; none when the bounds are close, or there is nothing lower to try.
    pub fn next(&self, top: f64) -> Option<f64> {
        match (self.held, self.failed) {
            (None, None) => Some((top * FIRST_PART).max(RATE_MIN)),
            (Some(held), None) => Some(held * RISE),
            (None, Some(failed)) => Some(failed * FALL).filter(|rate| *rate >= RATE_MIN),
            (Some(held), Some(failed)) => Some((held * failed).sqrt()).filter(|_| failed > held * CLOSE),
        }
    }

    pub fn note(&mut self, rate: f64, holds: bool) {
        if holds {
            self.held = Some(rate);
        } else {
            self.failed = Some(rate);
        }
    }
}

/// One step and its row, with the processor time of a request.
async fn run(bench: &Bench, target: &Target, label: &str, step: &Step) -> Result<(Outcome, Row)> {
    let length = step.warm_up + step.measured;
    if bench.left() < length {
        bail!("the time is up");
    }
    target.prepare().await?;
    let trips = bench.round_trips().await;
    let before = bench.used().await;
    let outcome = open_loop(step, |due| (target.send)(due.index)).await;
    let uses = before.until(&bench.used().await, outcome.ended);
    let trips = trips.zip(bench.round_trips().await).map(|(before, after)| after.since(before, outcome.ended));
    let mut row = Row::new(&target.scenario, format!("{} · {label}", target.what)).outcome(&outcome);
    row = match target.place {
        Some(Place::Router) => row.uses(uses),
        Some(Place::Subgraph(_)) => row.uses(uses.without("router")),
        None => row,
    };
    if let Some(trips) = trips.filter(|_| target.place.is_some()) {
        row = row.trips(trips);
    }
    let note = target.note();
    Ok((outcome, if note.is_empty() { row } else { row.note(note) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a search finds when rates up to `limit` hold, and in how many steps.
    fn found(top: f64, limit: f64) -> (Option<f64>, usize) {
        let mut bounds = Bounds::default();
        let mut steps = 0;
        while let Some(rate) = bounds.next(top).filter(|_| steps < STEPS_MAX as usize) {
            bounds.note(rate, rate <= limit);
            steps += 1;
        }
        (bounds.held, steps)
    }

    #[test]
    fn a_search_ends_close_below_the_limit() {
        for limit in [90.0, 400.0, 700.0, 1_000.0, 1_500.0] {
            let (held, steps) = found(1_000.0, limit);
            assert!(held.is_some_and(|held| held <= limit && held * 1.1 > limit), "{limit}: {held:?}");
            assert!(steps <= 9, "{limit}: {steps} steps");
        }
    }

    #[test]
    fn a_search_ends_where_nothing_holds_and_where_all_does() {
        assert_eq!(found(1_000.0, 0.0).0, None);
        let (held, steps) = found(1_000.0, f64::MAX);
        assert!(held.is_some_and(|held| held > 2_000.0) && steps == 9);
    }
}
