//! Time, randomness and ids reach code as values, so that what is decided can be decided again.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use std::sync::Arc;
use uuid::Uuid;

mod skew;

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock, in whole microseconds: what the log's envelope and the database keep, so that
/// a time reads back as it was.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        (Utc::now() + skew::now()).trunc_subsecs(6)
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Clone)]
pub struct FixedClock(Arc<parking_lot::Mutex<DateTime<Utc>>>);

impl FixedClock {
    /// A clock that shows `now`.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self(Arc::new(parking_lot::Mutex::new(now)))
    }

    /// Moves the clock on.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock() += by;
    }
}

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}

/// A fresh id that sorts by the time of its making.
#[expect(clippy::disallowed_methods, reason = "the one place that makes ids at random")]
pub fn fresh_id() -> Uuid {
    if skew::now().is_zero() { Uuid::now_v7() } else { skew::id_of(SystemClock.now()) }
}

/// The name space of everything that Velvet derives.
const NAMESPACE: Uuid = Uuid::from_u128(0x7f3e_1c52_8a5d_4f0b_9d6e_0c5a_71b2_43e9);

/// An id that follows from its parts alone: the same parts make the same id, here and everywhere.
pub fn derived_id(parts: &[&str]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        // The length keeps ("ab", "c") apart from ("a", "bc").
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_tell_their_parts_apart() {
        assert_eq!(derived_id(&["a", "b"]), derived_id(&["a", "b"]));
        assert_ne!(derived_id(&["ab", "c"]), derived_id(&["a", "bc"]));
    }
}
