//! What the requirements ask for, all of it at once and in their proportions, as far as this machine goes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Result, bail};

use super::people::{Call, Dealt, People};
use crate::bench::{Bench, Place, say};
use crate::plan::{Mix, Rates};
use crate::population::{self, converse, ring};
use crate::report::Row;
use crate::schedule::{Outcome, Step, open_loop};
use crate::steps::{Bounds, FIRST_PART, STEP_WARM_UP, STEPS_MAX};

/// The operations of the mix, each with what is asked of it per second.
pub struct Work {
    parts: Vec<Part>,
    dealt: Arc<Dealt>,
    asked_per_second: f64,
}

struct Part {
    what: &'static str,
    per_second: f64,
    send: Call,
}

/// One round of the mix: its rows, and whether all of it was held.
pub struct Round {
    pub rows: Vec<Row>,
    held: bool,
}

pub async fn measure(bench: &mut Bench, name: &str, plan: &Mix) -> Result<()> {
    let work = Work::prepare(bench, plan.people, plan.conversations, &plan.per_second).await?;
    let measured = Duration::from_secs(plan.seconds);
    let step = Step::new(1.0, measured / 5, measured);
    let round = work.round(bench, name, "offered", plan.scale, step).await?;
    for row in round.rows {
        bench.add(row);
    }
    if plan.search { search(bench, name, &work, plan.scale).await } else { Ok(()) }
}

/// The highest scale of the tried ones at which every operation is held.
async fn search(bench: &mut Bench, name: &str, work: &Work, scale: f64) -> Result<()> {
    let step = Step::new(1.0, STEP_WARM_UP, Duration::from_secs(bench.arguments.step_seconds));
    let mut bounds = Bounds::default();
    let mut best = None;
    for _ in 0..STEPS_MAX {
        // Bounds are of rates: what is asked in all is one.
        let Some(rate) = bounds.next(scale * work.asked_per_second / FIRST_PART) else { break };
        let scale = rate / work.asked_per_second;
        let round = work.round(bench, name, "highest held", scale, step).await?;
        say(&format!("  {:.2} % {}", scale * 100.0, if round.held { "holds" } else { "does not hold" }));
        bounds.note(rate, round.held);
        if round.held {
            best = Some((scale, round));
        }
    }
    let Some((scale, round)) = best else {
        say(&format!("{name}: not even the lowest scale was held"));
        return Ok(());
    };
    for row in round.rows {
        bench.add(row);
    }
    bench.add(Row::new(name, "highest held, of what is asked for").value(scale * 100.0, "%"));
    Ok(())
}

impl Work {
    pub async fn prepare(bench: &Bench, people: u32, conversations: u32, rates: &Rates) -> Result<Self> {
        let members = population::members(&bench.handle, people, people).await?;
        let pairs = ring(members.len(), conversations as usize)?;
        let conversations = Arc::new(converse(bench, &members, pairs).await?);
        let people = People::new(bench, &members, Place::Router)?;
        let (dealt, swipes) = (Arc::new(Dealt::default()), Arc::new(AtomicU64::new(0)));
        let part = |what, per_second, send| Part { what, per_second, send };
        let parts = vec![
            part("deck", rates.deck, people.decks(bench.arguments.cards, Arc::clone(&dealt))),
            part("swipe, a pass", rates.swipe - rates.mutual_check, people.swipes("PASS", &swipes)),
            part("swipe, a like with its mutual check", rates.mutual_check, people.swipes("LIKE", &swipes)),
            part("sendMessage", rates.message, people.messages(&conversations, &bench.run)),
        ];
        Ok(Self { parts, dealt, asked_per_second: rates.total() })
    }

    /// All operations side by side, each at its part of `scale`; the step's own rate does not matter.
    pub async fn round(&self, bench: &Bench, name: &str, label: &str, scale: f64, step: Step) -> Result<Round> {
        if bench.left() < step.warm_up + step.measured {
            bail!("the time is up");
        }
        let (before, trips) = (bench.used().await, bench.round_trips().await);
        let loops = self.parts.iter().map(|part| {
            let step = Step { rate_per_second: part.per_second * scale, ..step };
            async move { open_loop(&step, |due| (part.send)(due.index)).await }
        });
        let outcomes = futures::future::join_all(loops).await;
        let ended: u64 = outcomes.iter().map(|outcome| outcome.ended).sum();
        let uses = before.until(&bench.used().await, ended);
        let trips = trips.zip(bench.round_trips().await).map(|(first, last)| last.since(first, ended));
        let p99_max = Duration::from_millis(bench.arguments.held_p99_ms);
        let held = outcomes.iter().all(|outcome| outcome.holds(p99_max));
        let of = |(part, outcome): (&Part, &Outcome)| {
            let row = Row::new(name, format!("{} · {label}", part.what)).outcome(outcome);
            if part.what == "deck" { row.note(self.dealt.said()) } else { row }
        };
        let mut rows: Vec<Row> = self.parts.iter().zip(&outcomes).map(of).collect();
        rows.push(self.all(name, label, scale, &outcomes).uses(uses).beside(bench.echo_per_second));
        if let (Some(trips), Some(all)) = (trips, rows.pop()) {
            rows.push(all.trips(trips));
        }
        Ok(Round { rows, held })
    }

    /// The row of all operations together.
    fn all(&self, name: &str, label: &str, scale: f64, outcomes: &[Outcome]) -> Row {
        let mut latencies = crate::schedule::histogram();
        for outcome in outcomes {
            // They have the same bounds.
            let _ = latencies.add(&outcome.latencies);
        }
        let sum = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>();
        let mut row = Row::new(name, format!("all · {label}")).latencies(&latencies);
        row.offered_per_second = Some(sum(|outcome| outcome.offered_per_second));
        row.rate_per_second = Some(sum(|outcome| outcome.achieved_per_second));
        row.errors = Some(outcomes.iter().map(Outcome::errors_total).sum());
        row.note(format!("{:.2} % of {:.0}/s", scale * 100.0, self.asked_per_second))
    }
}
