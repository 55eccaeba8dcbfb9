//! What is counted of partners' calls.

use super::Slug;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Calls that were let through are counted by how long they took: these are the upper ends of the buckets, in
/// milliseconds, and one more bucket has what took longer.
pub const LATENCY_BOUNDS_MS: [u32; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];
/// How many buckets there are.
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS_MS.len() + 1;
/// What the entities of partners' usage begin with. They are not the partners' own: a partner's state has its
/// operations, and is too large to be written with every few calls.
const ENTITY: &str = "usage:";

impl Slug {
    /// What all facts about the partner's usage are keyed by.
    pub fn usage_entity(&self) -> String {
        format!("{ENTITY}{}", self.as_str())
    }

    /// The slug of an entity of usage.
    pub fn of_usage_entity(entity: &str) -> Option<Self> {
        entity.strip_prefix(ENTITY).and_then(|slug| Self::parse(slug).ok())
    }
}

/// Calls, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Answered without errors.
    pub ok: u64,
    /// Answered with errors, or not answered.
    pub error: u64,
    /// Not let through: beyond a scope or a bound, or no operation of the partner's.
    pub refused: u64,
    /// Not let through because there were too many.
    pub rate_limited: u64,
    /// The estimated cost of those that were let through.
    pub cost: u64,
    /// Their cost by what was answered, as far as it was measured.
    pub actual_cost: u64,
    /// Those that were let through, by how long they took; buckets that are not there are empty.
    pub latency: Vec<u64>,
    /// When the last call ended.
    pub last_at: DateTime<Utc>,
}

impl Tally {
    /// All calls.
    pub fn calls(&self) -> u64 {
        self.let_through().saturating_add(self.refused).saturating_add(self.rate_limited)
    }

    /// Calls that were executed.
    pub fn let_through(&self) -> u64 {
        self.ok.saturating_add(self.error)
    }

    /// Counts others as well.
    pub fn add(&mut self, other: &Self) {
        let parts = [
            (&mut self.ok, other.ok),
            (&mut self.error, other.error),
            (&mut self.refused, other.refused),
            (&mut self.rate_limited, other.rate_limited),
            (&mut self.cost, other.cost),
            (&mut self.actual_cost, other.actual_cost),
        ];
        for (count, more) in parts {
            *count = count.saturating_add(more);
        }
        if self.latency.len() < other.latency.len() {
            self.latency.resize(other.latency.len(), 0);
        }
        for (count, more) in self.latency.iter_mut().zip(&other.latency) {
            *count = count.saturating_add(*more);
        }
        self.last_at = self.last_at.max(other.last_at);
    }

    /// The time within which this part of the calls ended, in milliseconds, as if the calls of a bucket were spread
    /// evenly over it; nothing when there were none. What took longer than the longest bound counts as that bound.
    #[expect(clippy::cast_precision_loss, reason = "counts of calls are far below 2^52")]
    pub fn latency_ms(&self, part: f64) -> Option<f64> {
        let all: u64 = self.latency.iter().sum();
        if all == 0 {
            return None;
        }
        let wanted = all as f64 * part;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, upper) in self.latency.iter().zip(LATENCY_BOUNDS_MS) {
            let (count, upper) = (*count as f64, f64::from(upper));
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (upper - lower) * (wanted - below) / count);
            }
            below += count;
            lower = upper;
        }
        Some(lower)
    }
}

/// The hour that a time is in.
pub fn hour_of(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::hours(1)).unwrap_or(time)
}

/// The calendar month that a time is in, such as `2026-11`.
pub fn month_of(time: DateTime<Utc>) -> String {
    time.format("%Y-%m").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_of_usage_is_not_the_partners_own() {
        let acme = Slug::parse("acme").unwrap();
        assert_eq!(acme.usage_entity(), "usage:acme");
        assert_eq!(Slug::of_usage_entity("usage:acme"), Some(acme.clone()));
        assert_eq!(Slug::of_usage_entity(&acme.entity()), None);
        assert_eq!(Slug::of_entity(&acme.usage_entity()), None);
    }

    #[test]
    fn a_part_of_the_calls_ended_within_a_time() {
        let took = |latency: &[u64]| Tally { latency: latency.to_vec(), ..Tally::default() };
        let close = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-9;
        assert_eq!(took(&[]).latency_ms(0.5), None);
        assert_eq!(took(&[0, 0]).latency_ms(0.5), None);
        // Ten calls of 2 to 5 ms: half of them in the lower half.
        assert!(close(took(&[0, 0, 10]).latency_ms(0.5), 3.5));
        assert!(close(took(&[90, 0, 10]).latency_ms(0.95), 3.5));
        assert!(close(took(&[90, 0, 10]).latency_ms(0.5), 50.0 / 90.0));
        let mut longest = vec![0; LATENCY_BUCKETS];
        longest[LATENCY_BUCKETS - 1] = 1;
        assert!(close(took(&longest).latency_ms(0.5), 30_000.0));
    }

    #[test]
    fn hours_and_months_are_those_of_utc() {
        let time: DateTime<Utc> = "2026-11-30T23:59:59.999Z".parse().unwrap();
        assert_eq!(hour_of(time).to_rfc3339(), "2026-11-30T23:00:00+00:00");
        assert_eq!(month_of(time), "2026-11");
    }
}
