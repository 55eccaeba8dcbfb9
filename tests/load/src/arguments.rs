//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures a running stack beside the raw limits of its machine, and prints one table.
///
/// Everything is on loopback and shares the machine's cores, this program included: only numbers of one
/// run compare.
#[derive(Debug, Clone, Parser)]
#[command(name = "velvet-load")]
pub struct Arguments {
    /// What to measure; all of it when none is named.
    #[arg(value_enum)]
    pub scenarios: Vec<Scenario>,
    /// Also writes the report to this file, as JSON.
    #[arg(long)]
    pub out: Option<PathBuf>,
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
    /// The whole ends by itself after this time; what is left then is left out, and said so.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..=3_600))]
    pub within_seconds: u64,
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
    pub fn wants(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.contains(&scenario)
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
        let some = Arguments::parse_from(["velvet-load", "deck", "send", "--rate", "50"]);
        assert!(some.wants(Scenario::Send) && !some.wants(Scenario::Live));
    }

    #[test]
    fn there_are_people_for_all_sockets() {
        let many = Arguments::parse_from(["velvet-load", "--clients", "10000"]);
        assert!(many.people_needed() * 30 >= 11_000);
        assert_eq!(Arguments::parse_from(["velvet-load", "deck", "--users", "5"]).people_needed(), 6);
    }
}
