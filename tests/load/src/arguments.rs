//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use crate::plan::{Change, Plan};

/// Measures a running stack beside the raw limits of its machine, and prints one table.
///
/// Everything is on loopback and shares the machine's cores, this program included: only numbers of one
/// run compare.
#[derive(Debug, Clone, Parser)]
#[command(name = "velvet-load")]
pub struct Arguments {
    /// What to measure: deck, swipe, send, edge, live, projector, writer, memory (all of these when none is named), or
    /// a scenario's file, by its path or by its name in tests/load/scenarios.
    #[arg(value_name = "SCENARIO")]
    pub named: Vec<String>,
    /// Changes a value of a scenario's file: `steady.seconds=60`, or `people=500` in all that have it.
    #[arg(long = "set", value_name = "[SCENARIO.]KEY=VALUE")]
    pub changes: Vec<Change>,
    /// How many subscribe in the scenario `subscribers`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=200_000))]
    pub subscribers: Option<u32>,
    /// The Hive Router's program, which the scenario `graph` then sets beside ours.
    #[arg(long, value_name = "PATH", env = "VELVET_HIVE_ROUTER")]
    pub hive: Option<PathBuf>,
    /// Shows which scenarios have a file, and what they are about.
    #[arg(long)]
    pub list: bool,
    /// Also writes the report to this file, as JSON.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Also draws the latencies of the report to this file, as SVG.
    #[arg(long)]
    pub picture: Option<PathBuf>,
    /// Measures nothing: takes these reports instead of a run, for --picture or for a comparison.
    #[arg(long, value_name = "REPORT")]
    pub report: Vec<PathBuf>,
    /// Reports of an older build: prints what those of --report are as a multiple of them.
    #[arg(long, value_name = "REPORT", requires = "report")]
    pub older: Vec<PathBuf>,
    #[arg(skip)]
    scenarios: Vec<Scenario>,
    #[arg(skip)]
    pub plans: Vec<Plan>,
    /// How many people sign up to use the graph; even.
    #[arg(long = "users", default_value_t = 100, value_parser = clap::value_parser!(u16).range(4..=2_000))]
    pub people: u16,
    /// Moderate load: requests per second.
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// Messages per second that subscribers wait for.
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    pub live_rate: f64,
    /// How long a moderate load lasts, after a warm-up of a fifth of it.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
    /// How long each step of the search for the highest rate lasts.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub step_seconds: u64,
    /// The 99th percentile up to which a rate counts as held, in milliseconds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub held_p99_ms: u64,
    /// Cards that a deck is asked for.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub cards: u8,
    /// Facts of the burst that the projector and the writer work off.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(100..=90_000))]
    pub burst: u32,
    /// Idle live clients.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub clients: u32,
    /// The whole ends by itself after this time; what is left then is left out, and said so. Otherwise ten minutes, and
    /// what the files of scenarios say.
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=14_400))]
    pub within_seconds: Option<u64>,
    /// Only checks the arguments: before a stack is started for them.
    #[arg(long, hide = true)]
    pub check: bool,
    /// Answers every POST with its own body until standard input ends: the raw limit. Used by this program itself.
    #[arg(long, hide = true)]
    pub echo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Scenario {
    /// Candidates to swipe on.
    Deck,
    /// A swipe, answered when it is folded.
    Swipe,
    /// A message, answered when it has its position.
    Send,
    /// The router's plugins on and off, and an operation by its id and by its text.
    Edge,
    /// From a message's due time to its arrival at a subscriber.
    Live,
    /// Facts folded per second.
    Projector,
    /// Rows stored per second.
    Writer,
    /// Resident memory, and bytes per idle live client.
    Memory,
}

/// What a router allows one viewer is 32 sockets; one or two may be in use otherwise.
pub const SOCKETS_PER_PERSON: u32 = 30;

impl Arguments {
    /// Finds out what the names stand for.
    pub fn resolve(mut self, root: &Path) -> Result<Self> {
        if let Some(program) = &self.hive {
            ensure!(program.is_file(), "--hive: there is no {}", program.display());
        }
        let subscribers = self.subscribers.map(|count| Change::of("subscribers", "count", i64::from(count)));
        let changes: Vec<Change> = self.changes.iter().cloned().chain(subscribers).collect();
        for name in &self.named {
            match Scenario::from_str(name, false) {
                Ok(scenario) => self.scenarios.push(scenario),
                Err(_) => self.plans.push(Plan::read(root, name, &changes)?),
            }
        }
        Ok(self)
    }

    /// Whether it is to be measured; no name at all stands for all but those with a file.
    pub fn wants(&self, scenario: Scenario) -> bool {
        self.named.is_empty() || self.scenarios.contains(&scenario)
    }

    /// Whether any is to be measured that needs people who have signed up.
    pub fn wants_people(&self) -> bool {
        self.named.is_empty() || !self.scenarios.is_empty()
    }

    /// How long the whole may take.
    pub fn within(&self) -> Duration {
        const ALL: Duration = Duration::from_mins(10);
        match self.within_seconds {
            Some(seconds) => Duration::from_secs(seconds),
            None => ALL + self.plans.iter().map(Plan::within).sum::<Duration>(),
        }
    }

    pub fn wants_any(&self, scenarios: &[Scenario]) -> bool {
        scenarios.iter().any(|scenario| self.wants(*scenario))
    }

    /// Enough people for all that is wanted, and an even number.
    pub fn people_needed(&self) -> usize {
        let sockets = self.clients + self.clients_to_warm_up();
        let for_sockets = if self.wants(Scenario::Memory) { sockets.div_ceil(SOCKETS_PER_PERSON) } else { 0 };
        u32::from(self.people).max(for_sockets).next_multiple_of(2) as usize
    }

    /// Clients that come first and are not counted: what the first ones bring about is no cost of each.
    pub fn clients_to_warm_up(&self) -> u32 {
        (self.clients / 10).max(1)
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1.0..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is 1 to 100000 per second".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
        let all = Arguments::parse_from(["velvet-load"]);
        assert!(all.wants(Scenario::Deck) && all.wants(Scenario::Memory));
        let some = resolved(&["deck", "send", "--rate", "50"]).unwrap();
        assert!(some.wants(Scenario::Send) && !some.wants(Scenario::Live));
    }

    fn resolved(words: &[&str]) -> Result<Arguments> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        Arguments::parse_from(["velvet-load"].iter().chain(words)).resolve(&root)
    }

    #[test]
    fn what_is_no_name_of_ours_is_a_file() {
        let both =
            resolved(&["deck", "subscribers", "--subscribers", "500", "--set", "subscribers.slow_readers=4"]).unwrap();
        assert!(both.wants(Scenario::Deck) && both.wants_people() && !both.wants(Scenario::Memory));
        let crate::plan::Kind::Subscribers(plan) = &both.plans[0].kind else { panic!("{:?}", both.plans) };
        assert_eq!((plan.count, plan.slow_readers), (500, 4));
        assert!(both.within() > Duration::from_mins(10));
        let alone = resolved(&["mix"]).unwrap();
        assert!(!alone.wants_people() && !alone.wants(Scenario::Deck));
        assert!(resolved(&["dekc"]).is_err());
    }

    #[test]
    fn there_are_people_for_all_sockets() {
        let many = Arguments::parse_from(["velvet-load", "--clients", "10000"]);
        assert!(many.people_needed() * 30 >= 11_000);
        assert_eq!(Arguments::parse_from(["velvet-load", "deck", "--users", "5"]).people_needed(), 6);
    }
}
