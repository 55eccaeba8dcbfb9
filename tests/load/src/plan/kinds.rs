//! What each kind of scenario takes. Every number has bounds, so that a slip of a digit is no denial of service.

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::Kind;

/// Many idle subscribers, then events to some of them, then all of them again at once, then slow readers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribers {
    /// Streams in all.
    pub count: u32,
    /// Streams on one socket; 0: as few as the number of files allows that a process may hold.
    pub streams_per_socket: u32,
    /// Subscribers that come first and are not counted in the memory of each.
    pub warm_up: u32,
    /// How many subscribe at a time.
    pub at_once: u32,
    /// The part of all subscribers to whom an event comes each second.
    pub share_per_second: f64,
    /// How long events come.
    pub seconds: u64,
    /// Who goes away before all come back at once: `clients` drop their sockets, or the `router` is started anew.
    pub reconnect: Vec<Away>,
    /// A client that is not served within this time tries again.
    pub patience_seconds: u64,
    /// Readers that are slower than their events.
    pub slow_readers: u32,
    /// What each of them reads.
    pub slow_bytes_per_second: u32,
    /// Events of some 2,400 bytes to each of them.
    pub slow_events_per_second: f64,
    /// Idle sockets of a bare axum server beside it: the raw limit.
    pub raw_sockets: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Away {
    Clients,
    Router,
}

/// Several operations at once, in the proportions of what is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// People of the population who do it.
    pub people: u32,
    /// Conversations that they write in.
    pub conversations: u32,
    /// The part of the asked rates that is offered first.
    pub scale: f64,
    pub seconds: u64,
    /// Whether the highest scale is looked for that holds.
    pub search: bool,
    pub per_second: Rates,
}

/// What is asked for, per second.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    pub deck: f64,
    pub swipe: f64,
    /// Of the swipes, those that are likes: whether the other one likes back is looked up for each.
    pub mutual_check: f64,
    pub message: f64,
}

/// Messages, all at once, in few or in many conversations.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    pub conversations: u32,
    pub rate: f64,
    pub seconds: u64,
}

/// Very many like one person.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Celebrity {
    pub likes: u32,
    /// `like`, or `super_like`, which is noted with the celebrity as well.
    pub action: String,
    /// How often the celebrity's deck is read before and after.
    pub rate: f64,
    pub seconds: u64,
    /// How many of them the celebrity likes back.
    pub likes_back: u32,
}

/// People sign in with their passwords.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    pub people: u32,
    pub rate: f64,
    pub seconds: u64,
}

/// Redis loses everything, before a start and while people read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdStart {
    pub people: u32,
    /// Decks per second.
    pub rate: f64,
    pub seconds: u64,
    /// How long a rebuild may take.
    pub ready_within_seconds: u64,
    /// How long people read while Redis is wiped.
    pub wiped_seconds: u64,
}

/// A load that goes on, and memory that should not grow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steady {
    pub people: u32,
    pub conversations: u32,
    pub scale: f64,
    pub seconds: u64,
    pub sample_seconds: u64,
    pub per_second: Rates,
}

/// One graph through several routers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// Who asks, in turn.
    pub people: u32,
    /// What each of them has of matches; even.
    pub matches: u32,
    /// In the conversation of each match.
    pub messages: u32,
    /// How often each operation is asked for.
    pub small_per_second: f64,
    pub medium_per_second: f64,
    pub heavy_per_second: f64,
    pub seconds: u64,
    /// Whether the highest rate is looked for as well.
    pub search: bool,
}

const PEOPLE_MAX: u32 = 1_000_000;
/// What a page may ask for.
const PAGE_MAX: u32 = 100;
const SUBSCRIBERS_MAX: u32 = 200_000;
const SECONDS_MAX: u64 = 3_600;
const RATE_MAX: f64 = 100_000.0;

impl Kind {
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Subscribers(subscribers) => subscribers.check(),
            Self::Mix(mix) => {
                people(mix.people)?;
                count("conversations", mix.conversations, 1, PEOPLE_MAX)?;
                seconds(mix.seconds)?;
                mix.per_second.check(mix.scale)
            }
            Self::Storm(storm) => {
                count("conversations", storm.conversations, 1, PEOPLE_MAX)?;
                seconds(storm.seconds)?;
                rate("rate", storm.rate)
            }
            Self::Celebrity(celebrity) => celebrity.check(),
            Self::SignIn(sign_in) => {
                people(sign_in.people)?;
                seconds(sign_in.seconds)?;
                rate("rate", sign_in.rate)
            }
            Self::ColdStart(cold) => {
                people(cold.people)?;
                seconds(cold.seconds)?;
                seconds(cold.ready_within_seconds)?;
                seconds(cold.wiped_seconds)?;
                rate("rate", cold.rate)
            }
            Self::Steady(steady) => {
                people(steady.people)?;
                count("conversations", steady.conversations, 1, PEOPLE_MAX)?;
                seconds(steady.seconds)?;
                ensure!((1..=steady.seconds).contains(&steady.sample_seconds), "sample_seconds is 1 to seconds");
                steady.per_second.check(steady.scale)
            }
            Self::Graph(graph) => graph.check(),
        }
    }
}

impl Subscribers {
    fn check(&self) -> Result<()> {
        count("count", self.count, 2, SUBSCRIBERS_MAX)?;
        count("streams_per_socket", self.streams_per_socket, 0, 50)?;
        count("warm_up", self.warm_up, 1, 10_000)?;
        count("at_once", self.at_once, 1, 4_096)?;
        count("slow_readers", self.slow_readers, 0, 1_000)?;
        count("slow_bytes_per_second", self.slow_bytes_per_second, 1_024, 10_000_000)?;
        count("raw_sockets", self.raw_sockets, 0, 20_000)?;
        seconds(self.seconds)?;
        seconds(self.patience_seconds)?;
        rate("slow_events_per_second", self.slow_events_per_second)?;
        ensure!(self.share_per_second > 0.0 && self.share_per_second <= 1.0, "share_per_second is above 0, up to 1");
        ensure!(self.reconnect.len() <= 4, "reconnect has at most 4 entries");
        Ok(())
    }
}

impl Celebrity {
    fn check(&self) -> Result<()> {
        count("likes", self.likes, 1, PEOPLE_MAX)?;
        count("likes_back", self.likes_back, 0, 10_000)?;
        ensure!(["like", "super_like"].contains(&self.action.as_str()), "action is like or super_like");
        seconds(self.seconds)?;
        rate("rate", self.rate)
    }
}

impl Graph {
    fn check(&self) -> Result<()> {
        count("people", self.people, 4, 10_000)?;
        count("matches", self.matches, 2, PAGE_MAX.min(self.people - 2))?;
        ensure!(self.matches.is_multiple_of(2), "matches is even, as everybody has as many");
        count("messages", self.messages, 1, PAGE_MAX)?;
        seconds(self.seconds)?;
        rate("small_per_second", self.small_per_second)?;
        rate("medium_per_second", self.medium_per_second)?;
        rate("heavy_per_second", self.heavy_per_second)
    }
}

impl Rates {
    fn check(&self, scale: f64) -> Result<()> {
        ensure!(scale > 0.0 && scale <= 10.0, "scale is above 0, up to 10");
        for (name, value) in [("deck", self.deck), ("swipe", self.swipe), ("message", self.message)] {
            rate(name, value)?;
        }
        ensure!(
            self.mutual_check > 0.0 && self.mutual_check < self.swipe,
            "mutual_check is a part of swipe: the likes among the swipes"
        );
        Ok(())
    }

    pub fn total(&self) -> f64 {
        self.deck + self.swipe + self.message
    }
}

fn people(people: u32) -> Result<()> {
    count("people", people, 2, PEOPLE_MAX)
}

fn count(name: &str, value: u32, from: u32, to: u32) -> Result<()> {
    ensure!((from..=to).contains(&value), "{name} is {from} to {to}, not {value}");
    Ok(())
}

fn seconds(value: u64) -> Result<()> {
    ensure!((1..=SECONDS_MAX).contains(&value), "a time is 1 to {SECONDS_MAX} seconds, not {value}");
    Ok(())
}

fn rate(name: &str, value: f64) -> Result<()> {
    ensure!((0.1..=RATE_MAX).contains(&value), "{name} is 0.1 to {RATE_MAX} per second, not {value}");
    Ok(())
}
