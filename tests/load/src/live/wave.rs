//! Events that many subscribers wait for: which have come, how often, and how late.
//!
//! An event names its wave and its number, so that whoever hears it needs no table of what was sent.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::schedule::{histogram, record};

const SIGN: &str = "velvet-wave-";
/// An event that was not sent is nobody's.
const UNSENT: u64 = u64::MAX;

#[derive(Debug)]
pub struct Wave {
    name: String,
    start: Instant,
    events: Vec<Event>,
    latencies: Mutex<Histogram<u64>>,
}

#[derive(Debug)]
struct Event {
    /// Microseconds after the start; none before it was sent.
    due_us: AtomicU64,
    expected: AtomicU32,
    heard: AtomicU32,
}

/// What became of a wave.
#[derive(Debug)]
pub struct Heard {
    pub deliveries: u64,
    pub missing: u64,
    pub twice: u64,
    pub latencies: Histogram<u64>,
}

impl Wave {
    /// One of at most `most` events; only those are counted that are sent with [`Wave::send`].
    pub fn new(name: &str, most: u64) -> Self {
        let event = |_| Event { due_us: AtomicU64::new(UNSENT), expected: AtomicU32::new(0), heard: AtomicU32::new(0) };
        Self {
            name: name.to_owned(),
            start: Instant::now(),
            events: (0..most).map(event).collect(),
            latencies: Mutex::new(histogram()),
        }
    }

    /// The text of an event that so many are to hear.
    pub fn send(&self, index: u64, due: Instant, expected: u32) -> String {
        if let Some(event) = self.event(index) {
            let due_us = due.saturating_duration_since(self.start).as_micros();
            event.expected.store(expected, Ordering::Relaxed);
            event.due_us.store(u64::try_from(due_us).unwrap_or(0), Ordering::Relaxed);
        }
        format!("{SIGN}{}-{index}-", self.name)
    }

    /// Takes back what could not be sent.
    pub fn unsend(&self, index: u64) {
        if let Some(event) = self.event(index) {
            event.due_us.store(UNSENT, Ordering::Relaxed);
        }
    }

    /// Counts an event if it is one of this wave.
    pub fn hear(&self, text: &str, now: Instant) {
        let Some(event) = self.index_of(text).and_then(|index| self.event(index)) else { return };
        let due_us = event.due_us.load(Ordering::Relaxed);
        if due_us == UNSENT {
            return;
        }
        event.heard.fetch_add(1, Ordering::Relaxed);
        let late = now.saturating_duration_since(self.start + Duration::from_micros(due_us));
        record(&mut self.latencies.lock().unwrap_or_else(PoisonError::into_inner), late);
    }

    fn index_of(&self, text: &str) -> Option<u64> {
        let rest = text.split_once(SIGN)?.1.strip_prefix(&self.name)?.strip_prefix('-')?;
        rest.split('-').next()?.parse().ok()
    }

    fn event(&self, index: u64) -> Option<&Event> {
        self.events.get(usize::try_from(index).ok()?)
    }

    /// Whether all that were sent have been heard by all.
    pub fn is_complete(&self) -> bool {
        self.sent().all(|event| event.heard.load(Ordering::Relaxed) >= event.expected.load(Ordering::Relaxed))
    }

    pub fn heard(&self) -> Heard {
        let (mut deliveries, mut missing, mut twice) = (0, 0, 0);
        for event in self.sent() {
            let (expected, heard) = (event.expected.load(Ordering::Relaxed), event.heard.load(Ordering::Relaxed));
            deliveries += u64::from(heard.min(expected));
            missing += u64::from(expected.saturating_sub(heard));
            twice += u64::from(heard.saturating_sub(expected));
        }
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Heard { deliveries, missing, twice, latencies }
    }

    fn sent(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.due_us.load(Ordering::Relaxed) != UNSENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_is_as_late_as_its_due_time_says() {
        let wave = Wave::new("a", 3);
        let due = wave.start + Duration::from_millis(100);
        let text = format!("{{\"body\":\"{}xx\"}}", wave.send(1, due, 2));
        wave.hear(&text, due + Duration::from_millis(7));
        assert!(!wave.is_complete());
        wave.hear(&text, due + Duration::from_millis(9));
        assert!(wave.is_complete());
        let heard = wave.heard();
        assert_eq!((heard.deliveries, heard.missing, heard.twice), (2, 0, 0));
        assert!(heard.latencies.min().abs_diff(7_000) <= 7 && heard.latencies.max().abs_diff(9_000) <= 9);
    }

    #[test]
    fn what_is_missing_and_what_comes_twice_is_told() {
        let wave = Wave::new("a", 3);
        let lost = wave.send(0, wave.start, 2);
        let twice = wave.send(1, wave.start, 1);
        wave.hear(&lost, wave.start);
        wave.hear(&twice, wave.start);
        wave.hear(&twice, wave.start);
        let unsent = wave.send(2, wave.start, 5);
        wave.unsend(2);
        wave.hear(&unsent, wave.start);
        let heard = wave.heard();
        assert_eq!((heard.deliveries, heard.missing, heard.twice), (2, 1, 1));
    }

    #[test]
    fn another_waves_event_is_not_this_ones() {
        let (wave, other) = (Wave::new("a", 1), Wave::new("ab", 1));
        wave.send(0, wave.start, 1);
        wave.hear(&other.send(0, other.start, 1), wave.start);
        assert_eq!(wave.heard().deliveries, 0);
    }
}
