//! What befalls the parts of a stack: a schedule that follows from the seed, and whoever carries it out.

use crate::{
    history::{History, What},
    random::Random,
};
use std::{fmt, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use velvet_kit::Handle;

/// Breaks that overlap, at most.
const AT_ONCE: usize = 3;
/// Groups miss a member after six seconds, Redis a master after two: breaks are shorter and longer than both.
const LASTS_MS: std::ops::Range<u64> = 300..9_000;

/// What is done to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// SIGKILL, and a start when it is over.
    Kill,
    /// SIGSTOP and SIGCONT: connections stay open and nothing answers.
    Pause,
    /// It is asked to end, and started again.
    Restart,
    /// SIGKILL, and a start without its files; Redis only.
    Lose,
    /// Connections are dropped; the balancer only.
    Cut,
}

/// One break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    pub from: Duration,
    pub lasts: Duration,
    pub deed: Deed,
    pub part: String,
}

impl Break {
    fn overlaps(&self, other: &Self) -> bool {
        self.from < other.from + other.lasts && other.from < self.from + self.lasts
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| time.as_secs_f32();
        let Self { from, lasts, deed, part } = self;
        write!(f, "{:>6.1} s  {:?} {part} for {:.1} s", seconds(*from), deed, seconds(*lasts))
    }
}

/// The kind of a part: its name without its number.
pub fn kind_of(part: &str) -> &str {
    part.split_once('-').map_or(part, |(kind, _)| kind)
}

/// The breaks of a run over these parts, in the order in which they begin.
pub fn schedule(seed: u64, parts: &[String], length: Duration) -> Vec<Break> {
    let mut random = Random::of(seed, "nemesis");
    // Parts are started side by side, so they may come in any order.
    let mut parts: Vec<&String> = parts.iter().collect();
    parts.sort();
    let mut kinds: Vec<&str> = parts.iter().map(|part| kind_of(part)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if parts.iter().any(|part| *part == "api-1") {
        kinds.push("balancer");
    }
    let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let mut breaks: Vec<Break> = Vec::new();
    let mut from_ms = random.between(500, 2_000);
    while from_ms < length_ms {
        let lasts = Duration::from_millis(random.between(LASTS_MS.start, LASTS_MS.end));
        let kind = random.pick(&kinds).copied().unwrap_or_default();
        let of_kind: Vec<&String> = parts.iter().copied().filter(|part| kind_of(part) == kind).collect();
        let part = random.pick(&of_kind).map_or_else(|| kind.to_owned(), |part| (*part).clone());
        let next = Break { from: Duration::from_millis(from_ms), lasts, deed: deed(&mut random, kind), part };
        if fits(&next, &breaks) {
            breaks.push(next);
        }
        from_ms += random.between(500, 5_000);
    }
    breaks
}

fn deed(random: &mut Random, kind: &str) -> Deed {
    match (kind, random.below(10)) {
        ("balancer", _) => Deed::Cut,
        ("redis", 0 | 1) => Deed::Lose,
        (_, 0..=4) => Deed::Kill,
        (_, 5..=7) => Deed::Pause,
        _ => Deed::Restart,
    }
}

/// No part is broken twice at once, and of brokers, which must agree, only one.
fn fits(next: &Break, breaks: &[Break]) -> bool {
    let beside: Vec<&Break> = breaks.iter().filter(|other| other.overlaps(next)).collect();
    let alike =
        |other: &&Break| other.part == next.part || (kind_of(&next.part) == "kafka" && kind_of(&other.part) == "kafka");
    beside.len() < AT_ONCE && !beside.iter().any(alike)
}

/// Carries a schedule out; returns when the last break is over. What cannot be done is noted, and mended by [`heal`].
pub async fn carry_out(stack: &Handle, history: &History, breaks: &[Break]) {
    let began = Instant::now();
    let mut work = JoinSet::new();
    for planned in breaks.iter().cloned() {
        let (stack, history) = (stack.clone(), history.clone());
        work.spawn(async move {
            tokio::time::sleep_until(began + planned.from).await;
            let note = |deed: String| history.note("nemesis", What::Done { deed });
            note(planned.to_string());
            match carry_out_one(&stack, &planned).await {
                Ok(()) => note(format!("{} is back", planned.part)),
                Err(cause) => note(format!("{} is not back yet: {cause:#}", planned.part)),
            }
        });
    }
    while work.join_next().await.is_some() {}
}

async fn carry_out_one(stack: &Handle, planned: &Break) -> anyhow::Result<()> {
    let part = stack.part(&planned.part);
    match planned.deed {
        Deed::Cut => return stack.cut().await,
        Deed::Kill => part.kill9().await?,
        Deed::Pause => part.pause().await?,
        Deed::Restart => part.stop().await?,
        Deed::Lose => return part.restart_empty().await,
    }
    tokio::time::sleep(planned.lasts).await;
    match planned.deed {
        Deed::Pause => part.resume().await,
        _ => part.start().await,
    }
}

/// Has every part run and serve.
pub async fn heal(stack: &Handle) -> anyhow::Result<()> {
    for part in &stack.info.parts {
        // It may not be paused, nor even run.
        let _ = stack.part(part).resume().await;
        stack.part(part).spawn().await?;
    }
    for part in &stack.info.parts {
        stack.part(part).start().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<String> {
        ["kafka", "kafka-1", "kafka-2", "redis-0", "redis-3", "postgres-0", "api", "api-1", "router"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn a_schedule_follows_from_its_seed() {
        let length = Duration::from_mins(2);
        assert_eq!(schedule(5, &parts(), length), schedule(5, &parts(), length));
        assert_ne!(schedule(5, &parts(), length), schedule(6, &parts(), length));
        assert!(schedule(5, &parts(), length).len() > 10);
    }

    #[test]
    fn no_part_is_broken_twice_at_once_and_never_two_brokers() {
        for seed in 0..50 {
            let breaks = schedule(seed, &parts(), Duration::from_mins(2));
            for (index, one) in breaks.iter().enumerate() {
                let beside: Vec<&Break> = breaks[..index].iter().filter(|other| other.overlaps(one)).collect();
                assert!(beside.len() < AT_ONCE && beside.iter().all(|other| other.part != one.part), "{one}");
                let brokers = beside.iter().filter(|other| kind_of(&other.part) == "kafka").count();
                assert!(brokers == 0 || kind_of(&one.part) != "kafka", "{one}");
            }
        }
    }
}
