//! Partners' usage: what their routers have counted is summed up, each batch once.
//!
//! A router sends its batches for a partner one after the other, and each until it is acknowledged. So the highest
//! number that was seen of a router tells every repeat, and need not be remembered for longer than a batch may be sent.
//!
//! The state has what may still change, and all of it is in the rows: the hours that are open, the totals, the routers.

use super::{Kept, next_version};
use crate::{
    event::{PARTNER_USAGE, UsageFact},
    model::{Slug, Tally, hour_of, month_of},
    row::{Total, TotalOf, USAGE_ROUTERS_KEPT, UsageRouterRow, UsageRow, UsageRows, UsageTotalRow},
    view::usage as view,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use velvet_kernel::fold::{Effects, Moment, Version};

/// Hours that calls are counted in, the newest among them. Calls of earlier ones count in the earliest.
const HOURS_OPEN: i64 = 3;
/// A batch that comes this long after it was made is not counted: whether it was before is not known any more.
const BATCH_AGE_MAX: TimeDelta = TimeDelta::hours(24);
/// Routers that are remembered; of more, those that sent last.
const ROUTERS_MAX: usize = 512;

type Usage = Option<Box<UsageState>>;

/// What is remembered of a partner's usage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageState {
    /// Up to which batch each router's counts are in.
    #[serde(default)]
    routers: BTreeMap<Uuid, Kept<Mark>>,
    /// The open hours, by seconds since 1970, then by operation.
    #[serde(default)]
    hours: BTreeMap<i64, BTreeMap<String, Kept<Tally>>>,
    /// Totals by month.
    #[serde(default)]
    months: BTreeMap<String, Kept<Total>>,
    /// Totals by operation.
    #[serde(default)]
    operations: BTreeMap<String, Kept<Total>>,
    /// Totals by key.
    #[serde(default)]
    keys: BTreeMap<String, Kept<Total>>,
}

/// What is known of a router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// The highest batch that was counted.
    sequence: u64,
    /// When it came.
    last_at: DateTime<Utc>,
}

impl TotalOf {
    const ALL: [Self; 3] = [Self::Month, Self::Operation, Self::Key];

    /// How many are remembered; of more, those that were called last. One that is forgotten and called again begins
    /// anew.
    const fn kept_max(self) -> usize {
        match self {
            Self::Month => 13,
            Self::Operation => 4_000,
            Self::Key => 200,
        }
    }
}

pub(super) fn fold(usage: &mut Usage, fact: UsageFact, at: &Moment<'_>, effects: &mut Effects) {
    let Some(slug) = Slug::of_usage_entity(at.entity) else { return };
    let repeat = usage.as_ref().and_then(|state| state.routers.get(&fact.router));
    if at.time - fact.made_at > BATCH_AGE_MAX || repeat.is_some_and(|kept| kept.row.sequence >= fact.sequence) {
        return;
    }
    let state = usage.get_or_insert_default();
    let counted = state.count(fact, at.time, next_version(at, effects));
    state.tell(&slug, &counted, effects);
    state.forget(&slug, effects);
}

/// What a batch has changed.
struct Counted {
    version: Version,
    router: Uuid,
    hours: BTreeSet<(i64, String)>,
    totals: BTreeSet<(TotalOf, String)>,
}

impl UsageState {
    fn count(&mut self, fact: UsageFact, now: DateTime<Utc>, version: Version) -> Counted {
        let UsageFact { router, sequence, hours, keys, .. } = fact;
        let last_at = self.routers.get(&router).map_or(now, |kept| kept.row.last_at.max(now));
        self.routers.insert(router, Kept { row: Mark { sequence, last_at }, version });
        let mut counted = Counted { version, router, hours: BTreeSet::new(), totals: BTreeSet::new() };
        let (earliest, latest) = self.open_hours();
        for entry in hours {
            let hour = hour_of(entry.hour).timestamp().clamp(earliest, latest);
            let (operation, tally) = (entry.operation, entry.tally);
            let kept = self.hours.entry(hour).or_default().entry(operation.clone()).or_default();
            kept.version = version;
            kept.row.add(&tally);
            let mut total = |of, name: String, calls: u64| {
                if calls > 0 {
                    self.totals(of).entry(name.clone()).or_default().count(calls, tally.cost, tally.last_at, version);
                    counted.totals.insert((of, name));
                }
            };
            total(TotalOf::Month, month_of(time_of(hour)), tally.let_through());
            if !operation.is_empty() {
                total(TotalOf::Operation, operation.clone(), tally.calls());
            }
            counted.hours.insert((hour, operation));
        }
        for key in keys {
            self.keys.entry(key.prefix.clone()).or_default().count(key.calls, 0, key.last_at, version);
            counted.totals.insert((TotalOf::Key, key.prefix));
        }
        counted
    }

    /// The earliest and the latest hour that calls count in.
    fn open_hours(&self) -> (i64, i64) {
        let now = self.routers.values().map(|kept| hour_of(kept.row.last_at).timestamp()).max();
        let newest = self.hours.keys().next_back().copied();
        let latest = now.max(newest).unwrap_or_default();
        (latest - (HOURS_OPEN - 1) * 3_600, latest)
    }

    fn totals(&mut self, of: TotalOf) -> &mut BTreeMap<String, Kept<Total>> {
        match of {
            TotalOf::Month => &mut self.months,
            TotalOf::Operation => &mut self.operations,
            TotalOf::Key => &mut self.keys,
        }
    }

    /// Shows what was counted, and says that it is so.
    fn tell(&mut self, slug: &Slug, counted: &Counted, effects: &mut Effects) {
        let Some(mark) = self.routers.get(&counted.router) else { return };
        let router = UsageRouterRow {
            partner_id: slug.id(),
            slug: slug.clone(),
            router: counted.router,
            sequence: mark.row.sequence,
            last_at: mark.row.last_at,
        };
        let mut rows = UsageRows { hours: Vec::new(), totals: Vec::new(), router };
        for (hour, operation) in &counted.hours {
            if let Some(kept) = self.hours.get(hour).and_then(|operations| operations.get(operation)) {
                let row = UsageRow {
                    partner_id: slug.id(),
                    slug: slug.clone(),
                    hour: time_of(*hour),
                    operation: operation.clone(),
                    tally: kept.row.clone(),
                };
                effects.view(view::put_hour(&row, counted.version));
                rows.hours.push(row);
            }
        }
        for (of, name) in &counted.totals {
            if let Some(kept) = self.totals(*of).get(name) {
                let (partner_id, slug, name) = (slug.id(), slug.clone(), name.clone());
                let row = UsageTotalRow { partner_id, slug, of: *of, name, total: kept.row.clone() };
                effects.view(view::put_total(&row, counted.version));
                rows.totals.push(row);
            }
        }
        effects.decide(PARTNER_USAGE, slug.id().to_string(), &rows);
    }

    /// Forgets hours that are closed, routers that have ended, and of totals those beyond what is kept.
    fn forget(&mut self, slug: &Slug, effects: &mut Effects) {
        let (earliest, _) = self.open_hours();
        self.hours.retain(|hour, _| *hour >= earliest);
        let newest = self.routers.values().map(|kept| kept.row.last_at).max();
        let kept = TimeDelta::hours(i64::from(USAGE_ROUTERS_KEPT));
        self.routers.retain(|_, mark| newest.is_none_or(|newest| newest - mark.row.last_at <= kept));
        forget_first(&mut self.routers, ROUTERS_MAX, |mark| mark.last_at);
        for of in TotalOf::ALL {
            for name in forget_first(self.totals(of), of.kept_max(), |total| total.last_at) {
                effects.view(view::drop_total(slug, of, &name));
            }
        }
    }
}

impl<R: Default> Default for Kept<R> {
    fn default() -> Self {
        Self { row: R::default(), version: Version::default() }
    }
}

impl Kept<Total> {
    fn count(&mut self, calls: u64, cost: u64, last_at: DateTime<Utc>, version: Version) {
        let Total { calls: before, cost: cost_before, last_at: last_before } = &mut self.row;
        *before = before.saturating_add(calls);
        *cost_before = cost_before.saturating_add(cost);
        *last_before = (*last_before).max(last_at);
        self.version = version;
    }
}

/// Takes out what is oldest beyond a number; says what.
fn forget_first<K: Ord + Clone, R>(
    all: &mut BTreeMap<K, Kept<R>>,
    max: usize,
    time: impl Fn(&R) -> DateTime<Utc>,
) -> Vec<K> {
    let mut forgotten = Vec::new();
    while all.len() > max {
        let oldest = all.iter().min_by_key(|(name, kept)| (time(&kept.row), *name)).map(|(name, _)| name.clone());
        let Some(oldest) = oldest else { break };
        all.remove(&oldest);
        forgotten.push(oldest);
    }
    forgotten
}

fn time_of(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default()
}

fn keep<K: Ord, R>(all: &mut BTreeMap<K, Kept<R>>, name: K, row: R, version: Version) {
    if all.get(&name).is_none_or(|kept| kept.version < version) {
        all.insert(name, Kept { row, version });
    }
}

pub(super) fn restore_hour(usage: &mut Usage, row: UsageRow, version: Version, effects: &mut Effects) {
    effects.view(view::put_hour(&row, version));
    let state = usage.get_or_insert_default();
    keep(state.hours.entry(row.hour.timestamp()).or_default(), row.operation, row.tally, version);
    state.forget(&row.slug, effects);
}

pub(super) fn restore_total(usage: &mut Usage, row: UsageTotalRow, version: Version, effects: &mut Effects) {
    effects.view(view::put_total(&row, version));
    let state = usage.get_or_insert_default();
    keep(state.totals(row.of), row.name, row.total, version);
    state.forget(&row.slug, effects);
}

pub(super) fn restore_router(usage: &mut Usage, row: &UsageRouterRow, version: Version, effects: &mut Effects) {
    let state = usage.get_or_insert_default();
    keep(&mut state.routers, row.router, Mark { sequence: row.sequence, last_at: row.last_at }, version);
    state.forget(&row.slug, effects);
}

#[cfg(test)]
mod tests;
