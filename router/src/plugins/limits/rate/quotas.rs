//! What this router knows of the partners' quotas: the counts that it saw last, and what it counted by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::policy::Quota;

/// How often the durable count is asked for again after it was not there, as when Redis' views are being restored.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// When it is taken that there is none.
const LOOK_FOR: Duration = Duration::from_mins(10);

/// By the partner's id; as many as the registry has partners.
#[derive(Default)]
pub(super) struct Quotas(Mutex<HashMap<Arc<str>, Known>>);

#[derive(Default)]
struct Known {
    month: String,
    /// As it was seen last.
    count: u64,
    /// Counted here and not yet there.
    owed: u64,
    missing: Option<Missing>,
}

/// The durable count was not there when the counter was begun.
struct Missing {
    look_at: Instant,
    until: Instant,
}

impl Quotas {
    fn with<T>(&self, quota: &Quota, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut all = self.0.lock();
        let known = all.entry(Arc::clone(&quota.partner_id)).or_default();
        if known.month != quota.month.name {
            *known = Known { month: quota.month.name.clone(), ..Known::default() };
        }
        work(known)
    }

    /// The count that was seen last, and what is to be added to it; whoever takes it adds it or gives it back.
    pub(super) fn settle(&self, quota: &Quota) -> (u64, u64) {
        self.with(quota, |known| (known.count, std::mem::take(&mut known.owed)))
    }

    pub(super) fn give_back(&self, quota: &Quota, owed: u64) {
        self.with(quota, |known| known.owed += owed);
    }

    /// Answers may come in another order than they were given in: of two counts the higher is the later.
    pub(super) fn learn(&self, quota: &Quota, count: u64) {
        self.with(quota, |known| known.count = known.count.max(count));
    }

    /// What the count is after something was given back.
    pub(super) fn lower(&self, quota: &Quota, count: u64) {
        self.with(quota, |known| known.count = count);
    }

    /// What the durable count is.
    pub(super) fn raise(&self, quota: &Quota, count: u64) {
        self.with(quota, |known| {
            known.count = known.count.max(count);
            known.missing = None;
        });
    }

    /// The durable count was not there.
    pub(super) fn miss(&self, quota: &Quota) {
        let now = Instant::now();
        self.with(quota, |known| {
            let until = known.missing.as_ref().map_or(now + LOOK_FOR, |missing| missing.until);
            known.missing = (now < until).then_some(Missing { look_at: now + LOOK_AGAIN, until });
        });
    }

    /// Whether it is time to look for the durable count again; true for one of all who ask.
    pub(super) fn looks_again(&self, quota: &Quota) -> bool {
        let now = Instant::now();
        self.with(quota, |known| match &mut known.missing {
            Some(missing) if missing.look_at <= now => {
                missing.look_at = now + LOOK_AGAIN;
                true
            }
            _ => false,
        })
    }

    /// Counts a request here, if it is within this router's part of what is left; and what is left of the part.
    pub(super) fn draw(&self, quota: &Quota, routers: u64, is_wanted: bool) -> (bool, u64) {
        self.with(quota, |known| {
            let part = quota.limit.saturating_sub(known.count) / routers;
            let fits = known.owed < part;
            if fits && is_wanted {
                known.owed += 1;
            }
            (fits, part.saturating_sub(known.owed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::month::Month;
    use super::*;

    fn quota(month: &str) -> Quota {
        let month = Month { name: month.to_owned(), ..Month::now() };
        Quota { partner_id: "p".into(), counter: String::new(), limit: 10, month }
    }

    #[test]
    fn a_router_alone_draws_its_part_of_what_is_left_and_owes_it() {
        let (quotas, november) = (Quotas::default(), quota("2026-11"));
        quotas.learn(&november, 4);
        let drawn: Vec<_> = (0..5).map(|_| quotas.draw(&november, 2, true)).collect();
        assert_eq!(drawn, [(true, 2), (true, 1), (true, 0), (false, 0), (false, 0)]);
        assert_eq!(quotas.settle(&november), (4, 3));
        assert_eq!(quotas.settle(&november), (4, 0));
        quotas.give_back(&november, 3);
        assert_eq!(quotas.settle(&november), (4, 3));
        assert_eq!(quotas.draw(&quota("2026-12"), 2, true), (true, 4), "a new month begins at nothing");
    }

    #[test]
    fn a_durable_count_that_comes_later_only_raises() {
        let (quotas, november) = (Quotas::default(), quota("2026-11"));
        quotas.miss(&november);
        assert!(!quotas.looks_again(&november), "not at once");
        quotas.learn(&november, 4);
        quotas.learn(&november, 2);
        quotas.raise(&november, 3);
        assert_eq!(quotas.settle(&november).0, 4);
        quotas.raise(&november, 7);
        assert_eq!(quotas.settle(&november).0, 7);
    }
}
