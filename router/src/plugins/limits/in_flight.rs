//! How many requests the process works on. One count for all generations: a reload must not double the bound.

use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A request's right to be worked on, until it is dropped.
pub(super) struct Permit(&'static AtomicUsize);

/// Nothing when there are as many as there may be.
pub(super) fn enter(requests_max: usize) -> Option<Permit> {
    enter_in(&COUNT, requests_max)
}

pub(super) fn count() -> u64 {
    u64::try_from(COUNT.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
}

fn enter_in(count: &'static AtomicUsize, requests_max: usize) -> Option<Permit> {
    let taken =
        count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < requests_max).then_some(count + 1));
    taken.is_ok().then(|| Permit(count))
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leaves_and_another_may_come() {
        static ROOM: AtomicUsize = AtomicUsize::new(0);
        let first = enter_in(&ROOM, 2).unwrap();
        let _second = enter_in(&ROOM, 2).unwrap();
        assert!(enter_in(&ROOM, 2).is_none());
        drop(first);
        assert!(enter_in(&ROOM, 2).is_some());
        assert!(enter_in(&ROOM, 0).is_none());
    }
}
