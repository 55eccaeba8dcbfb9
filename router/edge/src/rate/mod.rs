//! How often something may be asked for: the generic cell rate algorithm, in its form as a leaky bucket
//! (ITU-T I.371, Annex A).
//!
//! Everything is counted in whole numbers: a bucket's level is in units times the microseconds of the limit's period, so
//! that it loses a whole number in each microsecond and nothing is ever rounded.

pub mod fields;
#[cfg(test)]
mod tests;

use std::time::Duration;

/// Whole numbers up to here are exact in Redis' scripts, which count in doubles.
const EXACT_MAX: u64 = 1 << 53;

/// So many units in a period in the long run, and so many of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What one unit adds to the level.
    unit: u64,
    /// The highest level.
    capacity: u64,
    /// What the level loses in a microsecond.
    leak: u64,
}

/// How full a bucket was, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// The level.
    pub level: u64,
    /// When it was that, in microseconds of any clock.
    pub at_us: u64,
}

impl Limit {
    /// Nothing when one of the numbers is 0, or when they are too large to be counted exactly.
    pub fn new(units: u64, period: Duration, burst: u64) -> Option<Self> {
        let period_us = u64::try_from(period.as_micros()).ok()?;
        let capacity = burst.checked_mul(period_us).filter(|capacity| *capacity <= EXACT_MAX)?;
        (units > 0 && units <= EXACT_MAX && capacity > 0).then_some(Self { unit: period_us, capacity, leak: units })
    }

    /// The part of it for one of so many that share it and do not know of one another.
    #[must_use]
    pub fn share(&self, count: u64) -> Self {
        Self { unit: self.unit.saturating_mul(count.max(1)), ..*self }
    }

    /// What so many units add to the level.
    pub fn amount(&self, units: u64) -> u64 {
        self.unit.saturating_mul(units).min(EXACT_MAX)
    }

    /// The highest level.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What the level loses in a microsecond.
    pub fn leak(&self) -> u64 {
        self.leak
    }

    /// Units that may come at once, after a pause.
    pub fn burst(&self) -> u64 {
        self.capacity / self.unit
    }

    /// How long it takes until a full bucket is empty: within it, `burst` units may come, and no more in the long run.
    pub fn window(&self) -> Duration {
        self.drained(self.capacity)
    }

    /// How long it takes until a bucket of that level is empty.
    pub fn drained(&self, level: u64) -> Duration {
        Duration::from_micros(level.div_ceil(self.leak))
    }

    /// The level at a later moment.
    pub fn level(&self, bucket: Bucket, now_us: u64) -> u64 {
        bucket.level.saturating_sub(now_us.saturating_sub(bucket.at_us).saturating_mul(self.leak))
    }

    /// Units that may still come now.
    pub fn remaining(&self, level: u64) -> u64 {
        self.capacity.saturating_sub(level) / self.unit
    }

    /// How long until so many units may come; zero when they may now. More than fit at all come when the bucket is
    /// empty, and are paid for afterwards.
    pub fn wait(&self, level: u64, units: u64) -> Duration {
        let room_from = self.capacity - self.amount(units).min(self.capacity);
        self.drained(level.saturating_sub(room_from))
    }

    /// Lets units in, or says how long they have to wait.
    pub fn take(&self, bucket: &mut Bucket, now_us: u64, units: u64) -> Result<(), Duration> {
        let level = self.level(*bucket, now_us);
        let wait = self.wait(level, units);
        if !wait.is_zero() {
            return Err(wait);
        }
        *bucket = Bucket { level: level.saturating_add(self.amount(units)), at_us: now_us };
        Ok(())
    }
}

/// Whole seconds after which the time has passed.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
