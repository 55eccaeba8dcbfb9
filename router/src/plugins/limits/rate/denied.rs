//! Refusals that are remembered until they would not be repeated, so that a flood of them costs Redis nothing.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use velvet_edge::rate::fields::Standing;
use velvet_edge::rate::{Limit, whole_seconds};

use super::policy::{Draw, Group, QUOTA, Quota};
use crate::plugins::recent::Recent;

/// Redis is asked again after this: what was drawn may have been given back, and Redis may have been emptied.
const REMEMBERED_MAX: Duration = Duration::from_secs(1);

pub(super) struct Denials(Mutex<Recent<Box<str>, Denied>>);

#[derive(Debug, Clone, Copy)]
struct Denied {
    bound: Bound,
    /// Fewer may still be let in.
    units: u64,
    /// As many as that will not be let in before.
    until: Instant,
    forgotten_at: Instant,
    remaining: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Rate(Limit),
    Quota(u64),
}

/// For how much longer something is refused, and how many units are left.
pub(super) type Refused = (Duration, u64);

impl Denials {
    pub(super) fn new(size_max: usize) -> Self {
        Self(Mutex::new(Recent::new(size_max)))
    }

    /// The one of all limits that is known to refuse the call for the longest.
    pub(super) fn longest(&self, groups: &[Group]) -> Option<Standing> {
        if self.0.lock().is_empty() {
            return None;
        }
        let of_draws = groups.iter().flat_map(|group| &group.draws).map(|draw| (draw.name, self.draw(draw)));
        let of_quotas = groups.iter().filter_map(|group| group.quota.as_ref()).map(|quota| (QUOTA, self.quota(quota)));
        let known = of_draws.chain(of_quotas).filter_map(|(name, refused)| refused.map(|refused| (name, refused)));
        let (name, (wait, remaining)) = known.max_by_key(|(_, (wait, _))| *wait)?;
        Some(Standing { name, remaining, reset_seconds: whole_seconds(wait) })
    }

    fn draw(&self, draw: &Draw) -> Option<Refused> {
        self.find(&draw.key, Bound::Rate(draw.limit), draw.units)
    }

    fn quota(&self, quota: &Quota) -> Option<Refused> {
        self.find(&quota.counter, Bound::Quota(quota.limit), 1)
    }

    fn find(&self, key: &str, bound: Bound, units: u64) -> Option<Refused> {
        let known = *self.0.lock().get(key)?;
        let now = Instant::now();
        let holds = known.bound == bound && units >= known.units && now < known.until && now < known.forgotten_at;
        holds.then(|| (known.until - now, known.remaining))
    }

    /// Remembers what was refused after a moment, for that long from then on.
    pub(super) fn put_draw(&self, draw: &Draw, asked_at: Instant, (wait, remaining): Refused) {
        self.put(draw.key.as_str(), Bound::Rate(draw.limit), draw.units, asked_at, (wait, remaining));
    }

    pub(super) fn put_quota(&self, quota: &Quota, asked_at: Instant, (wait, remaining): Refused) {
        self.put(&quota.counter, Bound::Quota(quota.limit), 1, asked_at, (wait, remaining));
    }

    /// Something is given back to the buckets of a group.
    pub(super) fn forget(&self, group: &Group) {
        let mut known = self.0.lock();
        for draw in &group.draws {
            known.remove(draw.key.as_str());
        }
        if let Some(quota) = &group.quota {
            known.remove(quota.counter.as_str());
        }
    }

    fn put(&self, key: &str, bound: Bound, units: u64, asked_at: Instant, (wait, remaining): Refused) {
        let Some(until) = asked_at.checked_add(wait) else { return };
        let denied = Denied { bound, units, until, forgotten_at: asked_at + REMEMBERED_MAX, remaining };
        self.0.lock().put(key, denied);
    }
}

#[cfg(test)]
mod tests {
    use velvet_edge::rate::fields::Unit;

    use super::*;

    fn draw(units: u64, burst: u64) -> Draw {
        let limit = Limit::new(1, Duration::from_secs(1), burst).unwrap();
        Draw { name: "key", unit: Unit::Cost, key: "a".to_owned(), limit, units, ahead: 0 }
    }

    #[test]
    fn as_much_is_refused_until_its_time_and_less_is_not() {
        let denials = Denials::new(10);
        assert!(denials.longest(&[]).is_none());
        let now = Instant::now();
        denials.put_draw(&draw(5, 9), now, (Duration::from_secs(30), 4));
        assert!(denials.draw(&draw(5, 9)).is_some_and(|(wait, left)| wait <= Duration::from_secs(30) && left == 4));
        assert!(denials.draw(&draw(6, 9)).is_some());
        assert!(denials.draw(&draw(4, 9)).is_none(), "less may fit");
        assert!(denials.draw(&draw(5, 8)).is_none(), "the limit is another");
        denials.forget(&Group { draws: vec![draw(5, 9)], quota: None });
        assert!(denials.draw(&draw(5, 9)).is_none());
        denials.put_draw(&draw(5, 9), now, (Duration::ZERO, 4));
        assert!(denials.draw(&draw(5, 9)).is_none());
    }
}
