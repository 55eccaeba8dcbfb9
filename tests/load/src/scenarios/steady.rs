//! A load that goes on, and what each process holds meanwhile: its latencies stay, its memory does not grow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::mix::Work;
use crate::bench::{Bench, say};
use crate::plan::Steady;
use crate::process::resident_bytes;
use crate::report::Row;
use crate::schedule::{Step, exact};
use crate::slope::{Sample, after, trend};

/// Whose memory should not grow; what servers hold grows with what there is.
const WATCHED: [&str; 4] = ["router", "api", "writer", "client"];
/// The part of the time after which memory is looked at.
const BEGINNING: f64 = 0.2;
const MIB: f64 = 1_048_576.0;
const HOUR: f64 = 3_600.0;

pub async fn measure(bench: &mut Bench, name: &str, plan: &Steady) -> Result<()> {
    let work = Work::prepare(bench, plan.people, plan.conversations, &plan.per_second).await?;
    let measured = Duration::from_secs(plan.seconds);
    let step = Step::new(1.0, (measured / 20).min(Duration::from_secs(30)), measured);
    let over = AtomicBool::new(false);
    let (samples, round) = tokio::join!(watch(bench, Duration::from_secs(plan.sample_seconds), &over), async {
        let round = work.round(bench, name, "steady", plan.scale, step).await;
        over.store(true, Ordering::Relaxed);
        round
    });
    for row in round?.rows {
        bench.add(row);
    }
    for (part, samples) in samples {
        match memory(name, part, &samples) {
            Some(row) => bench.add(row),
            None => say(&format!("{name}: too few samples of {part}")),
        }
    }
    Ok(())
}

/// Samples of resident bytes, until it is told to stop.
async fn watch(bench: &Bench, every: Duration, stop: &AtomicBool) -> BTreeMap<&'static str, Vec<Sample>> {
    let started = Instant::now();
    let mut samples: BTreeMap<&'static str, Vec<Sample>> = BTreeMap::new();
    let mut next = started;
    while !stop.load(Ordering::Relaxed) {
        if next <= Instant::now() {
            next += every;
            for part in WATCHED {
                let pid = if part == "client" { Some(std::process::id()) } else { bench.pids.get(part).copied() };
                if let Some(bytes) = pid.and_then(resident_bytes) {
                    samples.entry(part).or_default().push((started.elapsed().as_secs_f64(), bytes));
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    samples
}

/// What one process held, and whether it grew.
fn memory(name: &str, part: &str, samples: &[Sample]) -> Option<Row> {
    let considered = after(samples, BEGINNING);
    let trend = trend(considered)?;
    let minutes = (considered.last()?.0 - considered.first()?.0) / 60.0;
    let third = considered.len() / 3;
    let mean =
        |part: &[Sample]| part.iter().map(|sample| sample.1).sum::<f64>() / exact(part.len().max(1) as u64) / MIB;
    let (first, last) = (mean(&considered[..third]), mean(&considered[considered.len() - third..]));
    let of_mean = trend.per_second * minutes * 60.0 / trend.mean * 100.0;
    let row = Row::new(name, format!("memory of {part}, by the hour")).value(trend.per_second * HOUR / MIB, "MiB/h");
    let row =
        row.note(format!("{of_mean:+.1} % in {minutes:.1} min; a line explains {:.0} %", trend.explained * 100.0));
    Some(row.note(format!("first third {first:.1} MiB, last {last:.1} MiB, {} samples", considered.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_by_the_hour() {
        let samples: Vec<Sample> =
            (0..=60).map(|minute| (f64::from(minute) * 60.0, MIB * (50.0 + f64::from(minute)))).collect();
        let row = memory("steady", "api", &samples).unwrap();
        assert!(row.value.is_some_and(|value| (value.amount - 60.0).abs() < 0.1));
        assert!(row.note.contains("in 48.0 min"), "{}", row.note);
        assert!(memory("steady", "api", &samples[..2]).is_none());
    }
}
