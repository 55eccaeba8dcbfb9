//! What this router knows of the partners' quotas: the counts that it saw last, and what it counted by itself.
//!
//! What it counted by itself is told to Redis as a sum under this router's name, by each call until one has come back with
//! an answer. The script adds what is new in the sum: so it does not matter which of several calls is first, and what was
//! added by one whose answer was lost is not added again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::Rng as _;

use super::policy::Quota;

/// How often the durable count is asked for again after it was not there, as when Redis' views are being restored.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// When it is taken that there is none.
const LOOK_FOR: Duration = Duration::from_mins(10);

pub(super) struct Quotas {
    /// This router among all: another after each start.
    pub(super) router: String,
    /// By the partner's id; as many as the registry has partners.
    known: Mutex<HashMap<Arc<str>, Known>>,
}

#[derive(Default)]
struct Known {
    month: String,
    /// As it was seen last.
    count: u64,
    /// Counted here, in all.
    own: u64,
    /// How much of that is in the count for certain.
    told: u64,
    missing: Option<Missing>,
}

impl Known {
    /// Counted here and perhaps not there.
    fn owed(&self) -> u64 {
        self.own - self.told
    }

    fn settle(&mut self, told: Standing) {
        self.told = self.told.max(told.own.unwrap_or_default());
    }
}

/// What a call tells of a quota's counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// It stands at so much, or higher.
    pub(super) at_least: u64,
    /// What this router has counted by itself, when not all of that is known to be there.
    pub(super) own: Option<u64>,
}

/// The durable count was not there when the counter was begun.
struct Missing {
    look_at: Instant,
    until: Instant,
}

impl Quotas {
    pub(super) fn new() -> Self {
        Self { router: format!("{:016x}", rand::rng().random::<u64>()), known: Mutex::default() }
    }

    fn with<T>(&self, quota: &Quota, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut all = self.known.lock();
        let known = all.entry(Arc::clone(&quota.partner_id)).or_default();
        if known.month > quota.month.name {
            // A call that was on its way when its month ended.
            return work(&mut Known::default());
        }
        if known.month < quota.month.name {
            *known = Known { month: quota.month.name.clone(), ..Known::default() };
        }
        work(known)
    }

    pub(super) fn standing(&self, quota: &Quota) -> Standing {
        self.with(quota, |known| Standing { at_least: known.count, own: (known.owed() > 0).then_some(known.own) })
    }

    /// Answers may come in another order than they were given in: of two counts the higher is the later.
    pub(super) fn learn(&self, quota: &Quota, told: Standing, count: u64) {
        self.with(quota, |known| {
            known.count = known.count.max(count);
            known.settle(told);
        });
    }

    /// What the count is after something was given back.
    pub(super) fn lower(&self, quota: &Quota, told: Standing, count: u64) {
        self.with(quota, |known| {
            known.count = count;
            known.settle(told);
        });
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
            let fits = known.owed() < part;
            if fits && is_wanted {
                known.own += 1;
            }
            (fits, part.saturating_sub(known.owed()))
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

    const NOTHING: Standing = Standing { at_least: 0, own: None };

    #[test]
    fn a_router_alone_draws_its_part_of_what_is_left_and_owes_it_until_it_is_told() {
        let (quotas, november) = (Quotas::new(), quota("2026-11"));
        quotas.learn(&november, NOTHING, 4);
        let drawn: Vec<_> = (0..5).map(|_| quotas.draw(&november, 2, true)).collect();
        assert_eq!(drawn, [(true, 2), (true, 1), (true, 0), (false, 0), (false, 0)]);
        let owing = quotas.standing(&november);
        assert_eq!(owing, Standing { at_least: 4, own: Some(3) });
        assert_eq!(quotas.standing(&november), owing, "every call tells of it until one is answered");
        assert_eq!(quotas.draw(&november, 2, true), (false, 0), "what is on its way is not free");
        quotas.learn(&november, owing, 8);
        assert_eq!(quotas.standing(&november), Standing { at_least: 8, own: None });
        assert_eq!(quotas.draw(&november, 2, true), (true, 0));
        assert_eq!(quotas.standing(&november).own, Some(4), "the sum goes on");
        quotas.learn(&november, owing, 9);
        assert_eq!(quotas.standing(&november).own, Some(4), "a late answer tells nothing of what came after");
        let december = quota("2026-12");
        assert_eq!(quotas.draw(&december, 2, true), (true, 4), "a new month begins at nothing");
        quotas.learn(&november, owing, 10);
        assert_eq!(
            quotas.standing(&december),
            Standing { at_least: 0, own: Some(1) },
            "and what is late changes nothing"
        );
    }

    #[test]
    fn a_durable_count_that_comes_later_only_raises() {
        let (quotas, november) = (Quotas::new(), quota("2026-11"));
        quotas.miss(&november);
        assert!(!quotas.looks_again(&november), "not at once");
        quotas.learn(&november, NOTHING, 4);
        quotas.learn(&november, NOTHING, 2);
        quotas.raise(&november, 3);
        assert_eq!(quotas.standing(&november).at_least, 4);
        quotas.raise(&november, 7);
        assert_eq!(quotas.standing(&november).at_least, 7);
    }
}
