//! What befalls the parts of a stack: a schedule that follows from the seed, and whoever carries it out.

use crate::{
    history::{History, What},
    random::Random,
    roll,
};
use anyhow::Result;
use std::{fmt, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use velvet_kit::{Action, Handle, StackInfo};

/// Breaks that overlap, at most.
const AT_ONCE: usize = 3;
/// Groups miss a member after six seconds, Redis a master after two: breaks are shorter and longer than both.
const LASTS_MS: std::ops::Range<u64> = 300..9_000;
/// From what nobody notices to what most calls do not wait for.
const SLOW_MS: std::ops::Range<u64> = 20..600;
/// A clock that is off by more than a minute is told of by whoever watches machines.
const SKEW_MS: u64 = 60_000;
/// Links are many and a network is what breaks first, so they are picked more often than each kind of part.
const LINKS_WEIGHT: usize = 3;

/// What is done to a part, or to a link between two.
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
    /// Links drop their connections and take no new ones.
    Refuse,
    /// Nothing comes through links, and nobody is told.
    Silence,
    /// Links wait so many milliseconds with whatever comes through them.
    Slow(u64),
    /// A server's disk is full.
    Fill,
    /// A process's clock is off by so many milliseconds.
    Skew(i64),
    /// A router gets a schema with one field more, and later the old one again.
    Roll,
}

/// What there is to break.
#[derive(Debug, Clone, Default)]
pub struct Site {
    pub parts: Vec<String>,
    pub links: Vec<String>,
    pub disks: Vec<String>,
    pub clocks: Vec<String>,
    pub routers: Vec<String>,
}

impl Site {
    pub fn of(info: &StackInfo) -> Self {
        // Parts are started side by side, so they may come in any order.
        let sorted = |names: &mut dyn Iterator<Item = &String>| {
            let mut names: Vec<String> = names.cloned().collect();
            names.sort();
            names
        };
        Self {
            parts: sorted(&mut info.parts.iter()),
            links: sorted(&mut info.faults.links.iter()),
            disks: sorted(&mut info.faults.disks.keys()),
            clocks: sorted(&mut info.faults.clocks.keys()),
            routers: sorted(&mut info.faults.supergraphs.keys()),
        }
    }

    /// Kinds of parts, and what else can be broken; whatever comes twice is picked twice as often.
    fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.parts.iter().map(|part| kind_of(part)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        if self.parts.iter().any(|part| part == "api-1") {
            kinds.push("balancer");
        }
        let more = [("link", &self.links), ("disk", &self.disks), ("clock", &self.clocks), ("schema", &self.routers)];
        for (kind, _) in more.into_iter().filter(|(_, names)| !names.is_empty()) {
            let weight = if kind == "link" { LINKS_WEIGHT } else { 1 };
            kinds.extend(std::iter::repeat_n(kind, weight));
        }
        kinds
    }

    fn pick(&self, random: &mut Random, kind: &str) -> (String, Deed) {
        let one = |random: &mut Random, names: &[String]| random.pick(names).cloned().unwrap_or_default();
        match kind {
            "link" => {
                let link = one(random, &self.links);
                let (from, to) = link.split_once('>').unwrap_or_default();
                let all = format!("{from}>{}*", kind_of(to));
                let link = if random.percent(50) { all } else { link };
                (link, of_link(random))
            }
            "disk" => (one(random, &self.disks), Deed::Fill),
            "clock" => (one(random, &self.clocks), Deed::Skew(skew(random))),
            "schema" => (one(random, &self.routers), Deed::Roll),
            kind => {
                let of_kind: Vec<String> = self.parts.iter().filter(|part| kind_of(part) == kind).cloned().collect();
                let part = random.pick(&of_kind).cloned().unwrap_or_else(|| kind.to_owned());
                (part, of_part(random, kind))
            }
        }
    }
}

fn of_part(random: &mut Random, kind: &str) -> Deed {
    match (kind, random.below(10)) {
        ("balancer", _) => Deed::Cut,
        ("redis", 0 | 1) => Deed::Lose,
        (_, 0..=4) => Deed::Kill,
        (_, 5..=7) => Deed::Pause,
        _ => Deed::Restart,
    }
}

fn of_link(random: &mut Random) -> Deed {
    match random.below(10) {
        0..=2 => Deed::Refuse,
        3..=6 => Deed::Silence,
        _ => Deed::Slow(random.between(SLOW_MS.start, SLOW_MS.end)),
    }
}

fn skew(random: &mut Random) -> i64 {
    // As often by less than a second as by more.
    let most = if random.percent(50) { 1_000 } else { SKEW_MS };
    let by = i64::try_from(1 + random.below(most)).unwrap_or(1);
    if random.percent(50) { by } else { -by }
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
        write!(f, "{:>6.1} s  {deed:?} {part} for {:.1} s", seconds(*from), seconds(*lasts))
    }
}

/// The kind of a part: its name without its number.
pub fn kind_of(part: &str) -> &str {
    part.split_once('-').map_or(part, |(kind, _)| kind)
}

/// The breaks of a run, in the order in which they begin.
pub fn schedule(seed: u64, site: &Site, length: Duration) -> Vec<Break> {
    let mut random = Random::of(seed, "nemesis");
    let kinds = site.kinds();
    let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let mut breaks: Vec<Break> = Vec::new();
    let mut from_ms = random.between(500, 2_000);
    while from_ms < length_ms {
        let lasts = Duration::from_millis(random.between(LASTS_MS.start, LASTS_MS.end));
        let kind = random.pick(&kinds).copied().unwrap_or_default();
        let (part, deed) = site.pick(&mut random, kind);
        let next = Break { from: Duration::from_millis(from_ms), lasts, deed, part };
        if fits(&next, &breaks) {
            breaks.push(next);
        }
        from_ms += random.between(500, 5_000);
    }
    breaks
}

/// No part is broken twice at once, nor are two of one process's links, and of brokers, which must agree, only one is.
fn fits(next: &Break, breaks: &[Break]) -> bool {
    let beside: Vec<&Break> = breaks.iter().filter(|other| other.overlaps(next)).collect();
    beside.len() < AT_ONCE && !beside.iter().any(|other| alike(next, other))
}

fn alike(one: &Break, other: &Break) -> bool {
    let of_links = |part: &str| part.split_once('>').map(|(from, _)| from.to_owned());
    let brokers = [one, other].iter().all(|found| kind_of(&found.part) == "kafka");
    let links = of_links(&one.part).is_some() && of_links(&one.part) == of_links(&other.part);
    one.part == other.part || brokers || links
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

async fn carry_out_one(stack: &Handle, planned: &Break) -> Result<()> {
    let Break { lasts, deed, part: name, .. } = planned;
    let part = stack.part(name);
    match *deed {
        Deed::Cut => return stack.cut().await,
        Deed::Lose => return part.restart_empty().await,
        Deed::Kill => part.kill9().await?,
        Deed::Pause => part.pause().await?,
        Deed::Restart => part.stop().await?,
        Deed::Refuse => stack.link(name, Action::Refuse).await?,
        Deed::Silence => stack.link(name, Action::Silence).await?,
        Deed::Slow(ms) => stack.link(name, Action::Slow { ms }).await?,
        Deed::Fill => stack.fill(name).await?,
        Deed::Skew(by_ms) => stack.skew(name, by_ms)?,
        Deed::Roll => roll::forth(stack, name).await?,
    }
    tokio::time::sleep(*lasts).await;
    match *deed {
        Deed::Pause => part.resume().await,
        Deed::Refuse | Deed::Silence | Deed::Slow(_) => stack.link(name, Action::Open).await,
        Deed::Fill => {
            stack.free(name).await?;
            started(stack, name).await
        }
        Deed::Skew(_) => stack.skew(name, 0),
        Deed::Roll => roll::back(stack, name).await,
        _ => started(stack, name).await,
    }
}

/// Has every part run and serve, every link open, every disk have room, every clock right, every schema the old one.
pub async fn heal(stack: &Handle) -> Result<()> {
    let site = Site::of(&stack.info);
    if !site.links.is_empty() {
        stack.link("*", Action::Open).await?;
    }
    for server in &site.disks {
        stack.free(server).await?;
    }
    for process in &site.clocks {
        stack.skew(process, 0)?;
    }
    for part in &site.parts {
        // It may not be paused, nor even run.
        let _ = stack.part(part).resume().await;
        stack.part(part).spawn().await?;
    }
    for part in &site.parts {
        started(stack, part).await?;
    }
    for router in &site.routers {
        roll::back(stack, router).await?;
    }
    Ok(())
}

/// Starts a part. What had no room left may only now find out that it must end: then it is started once more. A Redis
/// may have cut its file short in the middle and not read it again: then it begins without, as an operator has it.
async fn started(stack: &Handle, name: &str) -> Result<()> {
    let part = stack.part(name);
    match part.start().await {
        Ok(()) => Ok(()),
        Err(_) if kind_of(name) == "redis" && !part.is_running().await? => part.restart_empty().await,
        Err(_) => part.start().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_mins(2);

    fn plain() -> Site {
        let parts = ["api", "api-1", "kafka", "kafka-1", "kafka-2", "postgres-0", "redis-0", "redis-3", "router"];
        Site { parts: parts.map(str::to_owned).to_vec(), ..Site::default() }
    }

    fn whole() -> Site {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Site {
            links: names(&["api-1>kafka", "api-1>kafka-1", "api>kafka", "router>balancer", "writer>postgres-0"]),
            disks: names(&["kafka", "postgres-0", "redis-0"]),
            clocks: names(&["api", "writer"]),
            routers: names(&["router", "router-1"]),
            ..plain()
        }
    }

    #[test]
    fn a_schedule_follows_from_its_seed() {
        assert_eq!(schedule(5, &whole(), LENGTH), schedule(5, &whole(), LENGTH));
        assert_ne!(schedule(5, &whole(), LENGTH), schedule(6, &whole(), LENGTH));
        assert!(schedule(5, &whole(), LENGTH).len() > 10);
    }

    #[test]
    fn no_part_is_broken_twice_at_once_and_never_two_brokers() {
        for (seed, site) in (0..50).flat_map(|seed| [(seed, plain()), (seed, whole())]) {
            let breaks = schedule(seed, &site, LENGTH);
            for (index, one) in breaks.iter().enumerate() {
                let beside: Vec<&Break> = breaks[..index].iter().filter(|other| other.overlaps(one)).collect();
                assert!(beside.len() < AT_ONCE && beside.iter().all(|other| other.part != one.part), "{one}");
                let brokers = beside.iter().filter(|other| kind_of(&other.part) == "kafka").count();
                assert!(brokers == 0 || kind_of(&one.part) != "kafka", "{one}");
            }
        }
    }

    #[test]
    fn every_kind_of_fault_comes_where_it_can_and_nowhere_else() {
        let deeds = |site: &Site| {
            let breaks = (0..100).flat_map(|seed| schedule(seed, site, LENGTH));
            let names =
                breaks.map(|found| format!("{:?}", found.deed).split('(').next().unwrap_or_default().to_owned());
            names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(deeds(&plain()), "Cut Kill Lose Pause Restart");
        assert_eq!(deeds(&whole()), "Cut Fill Kill Lose Pause Refuse Restart Roll Silence Skew Slow");
    }

    #[test]
    fn links_are_broken_one_by_one_and_all_of_a_kind_together() {
        let breaks = (0..100).flat_map(|seed| schedule(seed, &whole(), LENGTH));
        let links: std::collections::BTreeSet<String> =
            breaks.map(|found| found.part).filter(|part| part.contains('>')).collect();
        assert!(links.contains("api-1>kafka*") && links.contains("api-1>kafka-1"), "{links:?}");
    }
}
