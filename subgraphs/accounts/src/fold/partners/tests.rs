//! A partner's rule, read as sequences of facts.

use super::{super::Accounts, operations::OPERATIONS_LIVE_MAX, *};
use crate::{
    event::{Fact, NewOperation, PARTNER_OPERATIONS},
    fixtures,
    fold::State,
    model::{KeyMode, LimitsChange, OperationKind, Scope},
    row::{OperationsRow, Row},
};
use proptest::prelude::*;
use uuid::Uuid;
use velvet_kernel::fold::{Decided, Fold as _};

/// One partner's log, folded as it grows.
struct Log {
    slug: Slug,
    state: State,
    now: DateTime<Utc>,
    offset: i64,
    decided: Vec<(Version, Decided)>,
}

impl Log {
    fn empty() -> Self {
        let now = "2026-07-27T12:00:00Z".parse().unwrap();
        Self { slug: Slug::parse("acme").unwrap(), state: State::default(), now, offset: 40, decided: Vec::new() }
    }

    /// The partner is made.
    fn of_acme() -> Self {
        let mut log = Self::empty();
        assert_eq!(log.append(created("Acme")).0, PartnerOutcome::Done);
        log
    }

    fn append(&mut self, change: PartnerChange) -> (PartnerOutcome, Effects) {
        let request = Uuid::from_u128(self.offset.unsigned_abs().into());
        self.append_as(request, change)
    }

    fn append_as(&mut self, request: Uuid, change: PartnerChange) -> (PartnerOutcome, Effects) {
        self.offset += 1;
        let (entity, version) = (self.slug.entity(), Version::of_offset(self.offset));
        let at = Moment { time: self.now, version, event_id: request, entity: &entity };
        let fact = Fact::Partner(Box::new(PartnerFact { by: "operator".to_owned(), change }));
        let effects = Accounts.fold(&mut self.state, fact, &at);
        assert!(effects.decided.len() < 256, "a fact has 256 versions");
        let versions = (0..).map(|index| Version(version.0 + index));
        self.decided.extend(versions.zip(effects.decided.iter().cloned()));
        (serde_json::from_value(effects.outcome.clone().unwrap()).unwrap(), effects)
    }

    fn after(&mut self, seconds: i64) -> &mut Self {
        self.now += TimeDelta::seconds(seconds);
        self
    }

    fn acme(&self) -> &PartnerState {
        self.state.partner.as_deref().unwrap()
    }

    fn key(&self, prefix: &str) -> &KeyRow {
        &self.acme().keys[prefix].row
    }

    /// The newest row of each thing, as the writer keeps it.
    fn rows(&self) -> Vec<(Version, Row)> {
        let mut rows: BTreeMap<String, (Version, Row)> = BTreeMap::new();
        for (version, event) in &self.decided {
            let data = event.data.clone();
            match event.kind {
                PARTNER => {
                    rows.insert("partner".to_owned(), (*version, Row::Partner(serde_json::from_value(data).unwrap())));
                }
                PARTNER_KEY => {
                    let row: KeyRow = serde_json::from_value(data).unwrap();
                    rows.insert(format!("key {}", row.prefix), (*version, Row::PartnerKey(row)));
                }
                PARTNER_OPERATIONS => {
                    for row in serde_json::from_value::<OperationsRow>(data).unwrap().operations {
                        let id = format!("operation {}", row.about.id);
                        rows.insert(id, (*version, Row::PartnerOperation(Box::new(row))));
                    }
                }
                _ => {}
            }
        }
        rows.into_values().collect()
    }

    fn restored(&self, rows: impl IntoIterator<Item = (Version, Row)>) -> State {
        let mut state = State::default();
        for (version, row) in rows {
            let entity = row.entity();
            let at = Moment { time: self.now, version, event_id: Uuid::nil(), entity: &entity };
            assert!(Accounts.restore(&mut state, row, &at).decided.is_empty());
        }
        state
    }
}

fn created(name: &str) -> PartnerChange {
    PartnerChange::Created { name: name.to_owned(), user_id: UserId(Uuid::nil()), limits: Limits::default() }
}

fn key(prefix: &str) -> PartnerChange {
    PartnerChange::KeyCreated(NewKey {
        prefix: prefix.to_owned(),
        hash: format!("hash of {prefix}"),
        mode: KeyMode::Live,
        scopes: vec![Scope("matching:query".to_owned())],
        require_signature: true,
        expires_at: None,
    })
}

fn rotated(prefix: &str, to: &str, overlap_s: u32) -> PartnerChange {
    let replacement = Replacement { prefix: to.to_owned(), hash: format!("hash of {to}"), expires_at: None };
    PartnerChange::KeyRotated { prefix: prefix.to_owned(), replacement, overlap_s }
}

fn revoked(prefix: &str) -> PartnerChange {
    PartnerChange::KeyRevoked { prefix: prefix.to_owned() }
}

fn published(operations: &[(&str, &str)]) -> PartnerChange {
    let operation = |(id, body): &(&str, &str)| NewOperation {
        id: (*id).to_owned(),
        name: "Deck".to_owned(),
        kind: OperationKind::Query,
        body: (*body).to_owned(),
        cost: 3,
    };
    PartnerChange::Published { client_name: "app".to_owned(), operations: operations.iter().map(operation).collect() }
}

fn retired(id: &str, body: &str) -> PartnerChange {
    PartnerChange::OperationRetired { id: id.to_owned(), body: body.to_owned() }
}

fn is(prefix: &str) -> PartnerOutcome {
    PartnerOutcome::Key { prefix: prefix.to_owned() }
}

fn release(release: u32, added: u32, unchanged: u32) -> PartnerOutcome {
    PartnerOutcome::Published { release, added, unchanged }
}

fn kinds(effects: &Effects) -> Vec<&'static str> {
    effects.decided.iter().map(|event| event.kind).collect()
}

#[test]
fn a_slug_is_one_partners() {
    let mut log = Log::empty();
    let request = Uuid::from_u128(7);
    let (first, effects) = log.append_as(request, created("Acme"));
    assert_eq!((first, kinds(&effects)), (PartnerOutcome::Done, vec![PARTNER, PARTNER_AUDIT]));
    assert_eq!(effects.decided[0].key, log.slug.id().to_string());
    let (repeat, effects) = log.append_as(request, created("Acme"));
    assert_eq!((repeat, effects.views.len()), (PartnerOutcome::Done, 0));
    assert_eq!(log.append(created("Another")).0, PartnerOutcome::Exists);
    assert_eq!(log.acme().row.as_ref().unwrap().row.name, "Acme");
}

#[test]
fn nothing_happens_to_a_partner_that_is_not_there() {
    for change in [key("k1"), revoked("k1"), published(&[("a", "{a}")]), retired("a", "{a}")] {
        let mut log = Log::empty();
        let (outcome, effects) = log.append(change);
        assert_eq!((outcome, effects.views.len(), effects.decided.len()), (PartnerOutcome::NotFound, 0, 0));
        assert_eq!(log.state, State::default());
    }
}

#[test]
fn an_update_keeps_what_it_does_not_name() {
    let mut log = Log::of_acme();
    let limits = LimitsChange { burst: Some(7), ..LimitsChange::default() };
    let update = PartnerUpdate { limits, disabled: Some(true), ..PartnerUpdate::default() };
    let (_, effects) = log.append(PartnerChange::Updated(update.clone()));
    assert_eq!(effects.decided[1].data["action"], "partner.disabled");
    let row = &log.acme().row.as_ref().unwrap().row;
    assert_eq!((row.name.as_str(), row.disabled), ("Acme", true));
    assert_eq!(row.limits, Limits { burst: 7, ..Limits::default() });
    let (again, effects) = log.append(PartnerChange::Updated(update));
    assert_eq!((again, effects.decided.len()), (PartnerOutcome::Done, 0), "what changes nothing is not audited");
}

#[test]
fn a_request_makes_one_key_however_often_it_comes() {
    let mut log = Log::of_acme();
    let request = Uuid::from_u128(7);
    assert_eq!(log.append_as(request, key("k1")).0, is("k1"));
    // The API has made another secret for the repeat.
    let (repeat, effects) = log.append_as(request, key("k2"));
    assert_eq!((repeat, effects.decided.len()), (is("k1"), 0));
    assert_eq!(log.append(key("k2")).0, is("k2"));
}

#[test]
fn a_rotated_key_goes_on_for_the_overlap_and_never_longer_than_it_would_have() {
    let mut log = Log::of_acme();
    log.append(key("k1"));
    assert_eq!(log.append(rotated("k1", "k2", 3_600)).0, is("k2"));
    assert_eq!(log.key("k1").expires_at, Some(log.now + TimeDelta::hours(1)));
    assert_eq!((log.key("k2").scopes.clone(), log.key("k2").require_signature), (log.key("k1").scopes.clone(), true));
    assert_eq!(log.append(rotated("k1", "k3", 86_400)).0, is("k3"));
    assert_eq!(log.key("k1").expires_at, Some(log.now + TimeDelta::hours(1)));
    log.after(3_600);
    assert_eq!(log.append(rotated("k1", "k4", 0)).0, PartnerOutcome::KeyNotFound, "it is over");
    assert_eq!(log.append(rotated("none", "k4", 0)).0, PartnerOutcome::KeyNotFound);
}

#[test]
fn a_revoked_key_stays_revoked() {
    let mut log = Log::of_acme();
    log.append(key("k1"));
    assert_eq!(log.append(revoked("k1")).0, is("k1"));
    let first = log.key("k1").revoked_at;
    assert_eq!(first, Some(log.now));
    let (again, effects) = log.after(5).append(revoked("k1"));
    assert_eq!((again, effects.decided.len(), log.key("k1").revoked_at), (is("k1"), 0, first));
    assert_eq!(log.append(rotated("k1", "k2", 0)).0, PartnerOutcome::KeyNotFound);
    assert_eq!(log.append(revoked("none")).0, PartnerOutcome::KeyNotFound);
}

#[test]
fn keys_that_are_good_are_limited_and_those_that_are_over_make_room() {
    let mut log = Log::of_acme();
    for n in 0..KEYS_LIVE_MAX {
        assert_eq!(log.append(key(&format!("k{n}"))).0, is(&format!("k{n}")));
    }
    assert_eq!(log.append(key("more")).0, PartnerOutcome::TooManyKeys);
    assert_eq!(log.append(rotated("k0", "more", 0)).0, PartnerOutcome::TooManyKeys);
    log.append(revoked("k0"));
    assert_eq!(log.append(key("more")).0, is("more"));
}

#[test]
fn keys_that_were_over_first_are_forgotten_first() {
    let mut log = Log::of_acme();
    log.append(key("good"));
    for n in 0..KEYS_KNOWN_MAX {
        log.after(1).append(key(&format!("k{n:03}")));
        log.append(revoked(&format!("k{n:03}")));
    }
    assert_eq!(log.acme().keys.len(), KEYS_KNOWN_MAX);
    assert!(log.acme().keys.contains_key("good") && !log.acme().keys.contains_key("k000"));
    assert_eq!(log.restored(log.rows()), log.state);
}

#[test]
fn a_release_adds_what_is_new() {
    let mut log = Log::of_acme();
    assert_eq!(log.append(published(&[("a", "{a}"), ("b", "{b}")])).0, release(1, 2, 0));
    let (again, effects) = log.append(published(&[("a", "{a}"), ("b", "{b}")]));
    assert_eq!((again, effects.views.len(), effects.decided.len()), (release(1, 0, 2), 0, 0));
    assert_eq!(log.append(published(&[("b", "{b}"), ("c", "{c}"), ("c", "{c}")])).0, release(2, 1, 2));
}

#[test]
fn an_id_keeps_its_body_and_a_release_is_all_or_nothing() {
    let mut log = Log::of_acme();
    log.append(published(&[("a", "{a}")]));
    let state = log.state.clone();
    let changed = PartnerOutcome::OperationChanged { ids: vec!["a".to_owned()] };
    let (outcome, effects) = log.append(published(&[("new", "{n}"), ("a", "{x}")]));
    assert_eq!((outcome, effects.views.len(), effects.decided.len()), (changed, 0, 0));
    let twice = PartnerOutcome::OperationChanged { ids: vec!["d".to_owned()] };
    assert_eq!(log.append(published(&[("d", "{d}"), ("d", "{x}")])).0, twice);
    assert_eq!(log.state, state);
}

#[test]
fn a_retired_operation_keeps_its_id_and_comes_back_with_a_release() {
    let mut log = Log::of_acme();
    log.append(published(&[("a", "{a}")]));
    assert_eq!(log.append(retired("a", "{x}")).0, PartnerOutcome::OperationNotFound);
    assert_eq!(log.append(retired("a", "{a}")).0, PartnerOutcome::Done);
    let (again, effects) = log.append(retired("a", "{a}"));
    assert_eq!((again, effects.decided.len()), (PartnerOutcome::Done, 0));
    let changed = PartnerOutcome::OperationChanged { ids: vec!["a".to_owned()] };
    assert_eq!(log.append(published(&[("a", "{x}")])).0, changed);
    assert_eq!(log.append(published(&[("a", "{a}")])).0, release(2, 1, 0));
    assert_eq!(log.restored(log.rows()), log.state);
}

#[test]
fn operations_are_limited_and_a_full_release_fits_one_fact() {
    let mut log = Log::of_acme();
    let ids: Vec<String> = (0..=OPERATIONS_LIVE_MAX).map(|n| n.to_string()).collect();
    let some = |range: std::ops::Range<usize>| {
        published(&ids[range].iter().map(|id| (id.as_str(), "{a}")).collect::<Vec<_>>())
    };
    for n in 0..OPERATIONS_LIVE_MAX / 500 {
        let (outcome, effects) = log.append(some(n * 500..(n + 1) * 500));
        assert_eq!(outcome, release(u32::try_from(n).unwrap() + 1, 500, 0));
        assert_eq!(effects.views.len(), 1_001);
    }
    assert_eq!(log.append(some(OPERATIONS_LIVE_MAX..OPERATIONS_LIVE_MAX + 1)).0, PartnerOutcome::TooManyOperations);
    log.append(retired("0", "{a}"));
    assert_eq!(log.append(some(OPERATIONS_LIVE_MAX..OPERATIONS_LIVE_MAX + 1)).0, release(5, 1, 0));
}

/// What can happen to a partner, and how many seconds after what happened before.
fn happenings() -> impl Strategy<Value = Vec<(i64, PartnerChange)>> {
    let prefix = || (0..5_u8).prop_map(|n| format!("k{n}"));
    let operation = || ((0..5_u8).prop_map(|n| format!("o{n}")), (0..2_u8).prop_map(|n| format!("{{f{n}}}")));
    let update =
        (proptest::option::of("[a-z]{1,3}"), proptest::option::of(any::<bool>())).prop_map(|(name, disabled)| {
            PartnerChange::Updated(PartnerUpdate { name, disabled, ..PartnerUpdate::default() })
        });
    let publish = proptest::collection::vec(operation(), 1..4).prop_map(|operations| {
        let pairs: Vec<(&str, &str)> = operations.iter().map(|(id, body)| (id.as_str(), body.as_str())).collect();
        published(&pairs)
    });
    let change = prop_oneof![
        1 => "[a-z]{1,3}".prop_map(|name| created(&name)),
        2 => update,
        3 => prefix().prop_map(|prefix| key(&prefix)),
        3 => (prefix(), prefix(), 0..60_u32).prop_map(|(old, new, overlap)| rotated(&old, &new, overlap)),
        1 => prefix().prop_map(|prefix| revoked(&prefix)),
        4 => publish,
        2 => operation().prop_map(|(id, body)| retired(&id, &body)),
    ];
    proptest::collection::vec((0..40_i64, change), 0..40)
}

proptest! {
    /// Without the projector's memory of event ids, too: the rule itself takes a repeat for what it is.
    #[test]
    fn a_duplicate_changes_nothing(happenings in happenings()) {
        let mut log = Log::of_acme();
        for (index, (seconds, change)) in happenings.into_iter().enumerate() {
            let request = Uuid::from_u128(1_000 + index as u128);
            log.after(seconds).append_as(request, change.clone());
            let state = log.state.clone();
            let (_, repeat) = log.append_as(request, change);
            prop_assert_eq!(&log.state, &state);
            prop_assert!(repeat.decided.is_empty() && repeat.views.is_empty());
        }
    }

    /// Rows in any order, more than once, old ones among them: the state is the one that was folded.
    #[test]
    fn restoring_the_decided_rows_gives_the_folded_state(
        (happenings, old, seed) in (happenings(), 0..40_usize, any::<u64>())
    ) {
        let mut log = Log::of_acme();
        let mut stale = Vec::new();
        for (index, (seconds, change)) in happenings.into_iter().enumerate() {
            log.after(seconds).append(change);
            if index == old {
                stale = log.rows();
            }
        }
        let mut rows: Vec<_> = [stale, log.rows(), log.rows()].concat();
        let mut next = fixtures::numbers(seed);
        rows.sort_by_cached_key(|_| next());
        prop_assert_eq!(log.restored(rows), log.state);
    }
}
