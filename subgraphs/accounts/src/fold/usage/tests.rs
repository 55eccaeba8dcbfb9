//! The rule of a partner's usage, read as batches that come once, twice, late, or after a rebuild.

use super::{super::Accounts, *};
use crate::{
    event::{Fact, HourTally, KeyTally},
    fixtures,
    fold::State,
    row::Row,
};
use proptest::prelude::*;
use velvet_kernel::fold::{Decided, Fold as _};

const NOON: &str = "2026-07-27T12:00:00Z";

/// One partner's log of usage, folded as it grows.
struct Log {
    slug: Slug,
    state: State,
    now: DateTime<Utc>,
    offset: i64,
    decided: Vec<(Version, Decided)>,
}

impl Log {
    fn empty() -> Self {
        let now = NOON.parse().unwrap();
        Self { slug: Slug::parse("acme").unwrap(), state: State::default(), now, offset: 40, decided: Vec::new() }
    }

    fn after(&mut self, minutes: i64) -> &mut Self {
        self.now += TimeDelta::minutes(minutes);
        self
    }

    fn append(&mut self, fact: UsageFact) -> Effects {
        self.offset += 1;
        let (entity, version) = (self.slug.usage_entity(), Version::of_offset(self.offset));
        let at = Moment { time: self.now, version, event_id: Uuid::from_u128(1), entity: &entity };
        let effects = Accounts.fold(&mut self.state, Fact::Usage(Box::new(fact)), &at);
        self.decided.extend(effects.decided.iter().map(|event| (version, event.clone())));
        effects
    }

    fn usage(&self) -> &UsageState {
        self.state.usage.as_deref().unwrap()
    }

    fn total(&self, of: TotalOf, name: &str) -> u64 {
        let mut usage = self.state.usage.clone().unwrap_or_default();
        usage.totals(of).get(name).map_or(0, |kept| kept.row.calls)
    }

    /// The rows as the writer keeps them, old versions of them among them.
    fn rows(&self) -> Vec<(Version, Row)> {
        let mut rows = Vec::new();
        for (version, event) in &self.decided {
            assert_eq!(event.kind, PARTNER_USAGE);
            let UsageRows { hours, totals, router } = serde_json::from_value(event.data.clone()).unwrap();
            rows.extend(hours.into_iter().map(|row| (*version, Row::PartnerUsage(row))));
            rows.extend(totals.into_iter().map(|row| (*version, Row::PartnerUsageTotal(row))));
            rows.push((*version, Row::PartnerUsageRouter(router)));
        }
        rows
    }

    fn restored(&self, rows: impl IntoIterator<Item = (Version, Row)>) -> State {
        let mut state = State::default();
        for (version, row) in rows {
            let entity = row.entity();
            assert_eq!(entity, self.slug.usage_entity());
            let at = Moment { time: self.now, version, event_id: Uuid::nil(), entity: &entity };
            // States go through JSON, as they do in Redis.
            assert!(Accounts.restore(&mut state, row, &at).decided.is_empty());
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        }
        state
    }
}

fn router(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) + 7)
}

/// A batch of calls of one operation in the hour of a time.
fn batch(of: u8, sequence: u64, time: DateTime<Utc>, operation: &str, ok: u64) -> UsageFact {
    let tally = Tally { ok, cost: ok * 3, latency: vec![0, ok], last_at: time, ..Tally::default() };
    UsageFact {
        router: router(of),
        sequence,
        made_at: time,
        hours: vec![HourTally { hour: hour_of(time), operation: operation.to_owned(), tally }],
        keys: vec![KeyTally { prefix: "k".to_owned(), calls: ok, last_at: time }],
    }
}

#[test]
fn calls_are_summed_up_by_hour_operation_month_and_key() {
    let mut log = Log::empty();
    let now = log.now;
    log.append(batch(1, 1, now, "deck", 2));
    log.append(batch(2, 1, now, "deck", 3));
    let mut refused = batch(1, 2, now, "", 0);
    refused.hours[0].tally.refused = 1;
    refused.keys[0].calls = 1;
    let effects = log.append(refused);
    assert_eq!(effects.decided.len(), 1, "all that a batch changes is one event");
    let hour = &log.usage().hours[&now.timestamp()];
    assert_eq!((hour["deck"].row.ok, hour["deck"].row.cost, hour["deck"].row.latency[1]), (5, 15, 5));
    assert_eq!((hour[""].row.refused, hour[""].row.calls()), (1, 1));
    assert_eq!(log.total(TotalOf::Month, "2026-07"), 5, "what was not let through is in no month");
    assert_eq!(log.total(TotalOf::Operation, "deck"), 5);
    assert_eq!(log.total(TotalOf::Key, "k"), 6);
    assert!(!log.usage().operations.contains_key(""));
}

#[test]
fn a_repeat_counts_nothing_however_late_it_comes() {
    let mut log = Log::empty();
    let first = batch(1, 1, log.now, "deck", 2);
    log.append(first.clone());
    for sequence in 2..2_000 {
        let now = log.now;
        log.append(batch(1, sequence, now, "deck", 1));
    }
    let before = log.state.clone();
    let repeat = log.after(60 * 23).append(first.clone());
    assert!(repeat.decided.is_empty() && repeat.views.is_empty());
    let too_late = log.after(60 * 2).append(first);
    assert!(too_late.decided.is_empty(), "no batch is sent for a day");
    assert_eq!(log.state, before);
    assert_eq!(log.total(TotalOf::Operation, "deck"), 2_000);
}

#[test]
fn calls_that_come_late_count_in_the_earliest_open_hour() {
    let mut log = Log::empty();
    let noon = log.now;
    log.append(batch(1, 1, noon, "deck", 1));
    let evening = log.after(60 * 6).now;
    log.append(batch(2, 1, evening, "deck", 1));
    // The hour of noon is closed: it would begin anew.
    log.append(batch(3, 1, noon, "deck", 5));
    let (earliest, latest) = log.usage().open_hours();
    assert_eq!(latest - earliest, 2 * 3_600);
    assert_eq!(log.usage().hours.keys().copied().collect::<Vec<_>>(), [earliest, latest]);
    assert_eq!(log.usage().hours[&earliest]["deck"].row.ok, 5);
    // A router whose clock is ahead counts in the newest.
    let mut ahead = batch(4, 1, evening + TimeDelta::hours(9), "deck", 7);
    ahead.made_at = evening;
    log.append(ahead);
    assert_eq!(log.usage().hours[&latest]["deck"].row.ok, 8);
    assert_eq!(log.total(TotalOf::Operation, "deck"), 14);
}

#[test]
fn routers_and_totals_are_bounded() {
    let mut log = Log::empty();
    for month in 0..20 {
        let now = log.after(60 * 24 * 31).now;
        log.append(batch(month, 1, now, "deck", 1));
    }
    assert_eq!(log.usage().months.len(), 13);
    assert_eq!(log.usage().routers.len(), 1, "those of other days have ended");
    assert_eq!(log.total(TotalOf::Operation, "deck"), 20);
    assert_eq!(log.restored(log.rows()), log.state);
}

/// Batches as routers send them: each in its order, and any that was sent comes again.
fn deliveries() -> impl Strategy<Value = Vec<(u8, bool, usize, i64, u8, u64)>> {
    // Router, whether it is a new batch, else which old one; minutes that pass; operation; calls.
    proptest::collection::vec((0..4_u8, prop::bool::weighted(0.6), 0..50_usize, 0..90_i64, 0..3_u8, 1..9_u64), 0..60)
}

proptest! {
    /// Whatever comes again, at once or later, and wherever the log is cut and folded on from what is stored: each
    /// batch counts once.
    #[test]
    fn each_batch_counts_once((deliveries, cut, seed) in (deliveries(), 0..60_usize, any::<u64>())) {
        let mut log = Log::empty();
        let mut sent: BTreeMap<u8, Vec<UsageFact>> = BTreeMap::new();
        let mut next = fixtures::numbers(seed);
        for (index, (of, is_new, old, minutes, operation, calls)) in deliveries.into_iter().enumerate() {
            let now = log.after(minutes % 20).now;
            let batches = sent.entry(of).or_default();
            if is_new || batches.is_empty() {
                let time = now - TimeDelta::minutes(minutes);
                batches.push(batch(of, batches.len() as u64 + 1, time, &format!("o{operation}"), calls));
                log.append(batches[batches.len() - 1].clone());
            } else {
                let before = log.state.clone();
                let repeat = batches[old % batches.len()].clone();
                prop_assert!(log.append(repeat).decided.is_empty());
                prop_assert_eq!(&log.state, &before);
            }
            if index == cut {
                // Rows in any order, old ones among them.
                let mut rows = log.rows();
                rows.sort_by_cached_key(|_| next());
                prop_assert_eq!(&log.restored(rows), &log.state);
                log.state = log.restored(log.rows());
            }
        }
        let all = || sent.values().flatten().flat_map(|batch| &batch.hours);
        for operation in ["o0", "o1", "o2"] {
            let expected: u64 = all().filter(|entry| entry.operation == operation).map(|entry| entry.tally.ok).sum();
            prop_assert_eq!(log.total(TotalOf::Operation, operation), expected);
        }
        let expected: u64 = all().map(|entry| entry.tally.ok).sum();
        prop_assert_eq!(log.total(TotalOf::Month, "2026-07"), expected);
        prop_assert_eq!(log.total(TotalOf::Key, "k"), expected);
        // The newest row of each hour has all that was counted in it.
        let mut hours: BTreeMap<(DateTime<Utc>, String), (Version, u64)> = BTreeMap::new();
        for (version, row) in log.rows() {
            if let Row::PartnerUsage(row) = row {
                let newest = hours.entry((row.hour, row.operation)).or_default();
                *newest = (*newest).max((version, row.tally.ok));
            }
        }
        prop_assert_eq!(hours.values().map(|(_, calls)| calls).sum::<u64>(), expected);
    }
}
