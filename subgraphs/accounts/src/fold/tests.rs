//! The rule, read as sequences of facts.

use super::{sessions::SESSIONS_MAX, *};
use crate::{
    event::{SESSION_ENDED, SESSION_ROTATED, SESSION_STARTED, SessionOutcome},
    fixtures,
    model::{Cell, PreferencesChange},
};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::Value;
use velvet_kernel::{fold::Decided, id::UserId};

const PHONE: Uuid = Uuid::from_u128(0x0f0e);
const LAPTOP: Uuid = Uuid::from_u128(0x1a97);

/// One user's log, folded as it grows.
struct Log {
    alice: UserId,
    state: State,
    now: DateTime<Utc>,
    offset: i64,
    decided: Vec<(Version, Decided)>,
}

impl Log {
    /// Nobody has registered yet.
    fn empty() -> Self {
        let user = fixtures::user("Alice@Example.com");
        Self { alice: user.user_id, state: State::default(), now: user.created_at, offset: 40, decided: Vec::new() }
    }

    /// Alice has registered.
    fn of_alice() -> Self {
        let mut log = Self::empty();
        let user = UserRow { user_id: log.alice, ..*fixtures::user("Alice@Example.com") };
        log.append(Fact::Registered { command_id: user.registration_id, user: Box::new(user) });
        log
    }

    fn after(&mut self, seconds: i64) -> &mut Self {
        self.now += TimeDelta::seconds(seconds);
        self
    }

    fn append(&mut self, fact: Fact) -> Effects {
        self.offset += 1;
        let entity = self.alice.to_string();
        let version = Version::of_offset(self.offset);
        let at = Moment { time: self.now, version, event_id: Uuid::from_u128(1), entity: &entity };
        let effects = Accounts.fold(&mut self.state, fact, &at);
        // As the projector does it.
        let versions = (0..).map(|index| Version(version.0 + index));
        self.decided.extend(versions.zip(effects.decided.iter().cloned()));
        effects
    }

    fn sign_in(&mut self, family_id: Uuid, token: &str) -> SessionOutcome {
        session(&self.append(Fact::SessionStarted { family_id, token_hash: token.to_owned() }))
    }

    fn refresh(&mut self, family_id: Uuid, presented: &str, next: &str) -> SessionOutcome {
        let (presented_hash, next_hash) = (presented.to_owned(), next.to_owned());
        session(&self.append(Fact::SessionRotated { family_id, presented_hash, next_hash }))
    }

    fn granted(&self) -> SessionOutcome {
        SessionOutcome::Granted { expires_at: self.now + REFRESH_TOKEN_LIFETIME }
    }

    /// The newest row of each thing, as the writer keeps it.
    fn rows(&self) -> Vec<(Version, Row)> {
        let mut rows: BTreeMap<String, (Version, Row)> = BTreeMap::new();
        for (version, event) in &self.decided {
            let row = if event.kind.starts_with("user.") {
                Row::User(serde_json::from_value(event.data.clone()).unwrap())
            } else {
                Row::Session(serde_json::from_value(event.data.clone()).unwrap())
            };
            let id = event.data.get("family_id").map_or_else(String::new, Value::to_string);
            rows.insert(id, (*version, row));
        }
        rows.into_values().collect()
    }

    fn restored(&self, rows: impl IntoIterator<Item = (Version, Row)>) -> State {
        let mut state = State::default();
        for (version, row) in rows {
            let entity = row.entity();
            let at = Moment { time: self.now, version, event_id: Uuid::nil(), entity: &entity };
            let effects = Accounts.restore(&mut state, row, &at);
            assert!(effects.decided.is_empty() && effects.told.is_empty() && effects.outcome.is_none());
        }
        state
    }
}

fn session(effects: &Effects) -> SessionOutcome {
    serde_json::from_value(effects.outcome.clone().unwrap()).unwrap()
}

fn profile(effects: &Effects) -> ProfileOutcome {
    serde_json::from_value(effects.outcome.clone().unwrap()).unwrap()
}

fn kinds(effects: &Effects) -> Vec<&'static str> {
    effects.decided.iter().map(|event| event.kind).collect()
}

#[test]
fn a_registration_makes_an_account_and_a_repeat_only_tells() {
    let mut log = Log::empty();
    let user = UserRow { user_id: log.alice, ..*fixtures::user("Alice@Example.com") };
    let fact = Fact::Registered { command_id: user.registration_id, user: Box::new(user) };
    let first = log.append(fact.clone());
    assert_eq!((kinds(&first), first.views.len(), first.told.len()), (vec![USER_CREATED], 2, 1));
    let state = log.state.clone();
    let repeat = log.append(fact);
    assert_eq!((repeat.views.len(), repeat.decided.len(), repeat.told.len()), (0, 0, 1));
    assert_eq!(log.state, state);
}

#[test]
fn a_refusal_is_told_and_nothing_else() {
    let refused = Log::empty().append(Fact::RegisterRefused { command_id: PHONE });
    assert_eq!((refused.views.len(), refused.decided.len(), refused.told.len()), (0, 0, 1));
}

#[test]
fn the_first_rotation_in_log_order_wins() {
    let mut log = Log::of_alice();
    assert_eq!(log.sign_in(PHONE, "t1"), log.granted());
    // Two tabs refresh at the same instant: the second gets a fresh pair once more, the first's is replaced.
    log.after(60);
    assert_eq!(log.refresh(PHONE, "t1", "t2"), log.granted());
    assert_eq!(log.refresh(PHONE, "t1", "t3"), log.granted());
    assert_eq!(log.refresh(PHONE, "t3", "t4"), log.granted());
}

#[test]
fn the_token_just_replaced_is_let_in_once_more_for_30_seconds() {
    let mut log = Log::of_alice();
    log.sign_in(PHONE, "t1");
    log.refresh(PHONE, "t1", "t2");
    assert_eq!(log.after(30).refresh(PHONE, "t1", "t3"), log.granted());
    assert_eq!(log.refresh(PHONE, "t1", "t4"), SessionOutcome::Refused);
    assert_eq!(log.refresh(PHONE, "t3", "t5"), SessionOutcome::Refused);
}

#[test]
fn after_30_seconds_the_token_replaced_ends_the_session() {
    let mut log = Log::of_alice();
    log.sign_in(PHONE, "t1");
    log.refresh(PHONE, "t1", "t2");
    log.after(31);
    let reuse = log.append(Fact::SessionRotated {
        family_id: PHONE,
        presented_hash: "t1".to_owned(),
        next_hash: "t3".to_owned(),
    });
    assert_eq!((session(&reuse), kinds(&reuse)), (SessionOutcome::Refused, vec![SESSION_ENDED]));
    assert_eq!(log.refresh(PHONE, "t2", "t4"), SessionOutcome::Refused);
}

#[test]
fn an_older_or_unknown_token_ends_its_session_and_no_other() {
    for stolen in ["t1", "never made"] {
        let mut log = Log::of_alice();
        log.sign_in(PHONE, "t1");
        log.sign_in(LAPTOP, "l1");
        log.refresh(PHONE, "t1", "t2");
        log.refresh(PHONE, "t2", "t3");
        assert_eq!(log.refresh(PHONE, stolen, "t4"), SessionOutcome::Refused);
        assert_eq!(log.refresh(PHONE, "t3", "t5"), SessionOutcome::Refused);
        assert_eq!(log.refresh(LAPTOP, "l1", "l2"), log.granted());
    }
}

#[test]
fn signing_out_ends_the_session_at_once() {
    let mut log = Log::of_alice();
    log.sign_in(PHONE, "t1");
    let ended = log.append(Fact::SessionEnded { family_id: PHONE });
    assert_eq!(kinds(&ended), [SESSION_ENDED]);
    assert_eq!(log.refresh(PHONE, "t1", "t2"), SessionOutcome::Refused);
    let again = log.append(Fact::SessionEnded { family_id: PHONE });
    assert_eq!((kinds(&again), again.outcome.is_some()), (vec![], true));
    assert!(log.append(Fact::SessionEnded { family_id: LAPTOP }).outcome.is_some());
}

#[test]
fn a_token_lasts_30_days_from_its_rotation() {
    const DAY: i64 = 24 * 3600;
    let mut log = Log::of_alice();
    log.sign_in(PHONE, "t1");
    assert_eq!(log.after(30 * DAY - 1).refresh(PHONE, "t1", "t2"), log.granted());
    assert_eq!(log.after(30 * DAY).refresh(PHONE, "t2", "t3"), SessionOutcome::Refused);
}

#[test]
fn nobody_signs_in_to_an_account_that_is_not_there() {
    let mut log = Log::empty();
    assert_eq!(log.sign_in(PHONE, "t1"), SessionOutcome::Refused);
    assert_eq!(log.state, State::default());
    assert_eq!(profile(&log.append(Fact::Located { cell: Cell::snap(0.0, 0.0) })), ProfileOutcome::NoAccount);
}

#[test]
fn one_session_too_many_ends_the_oldest() {
    let mut log = Log::of_alice();
    let family = |n: usize| Uuid::from_u128(n as u128);
    for n in 0..SESSIONS_MAX {
        log.after(1).sign_in(family(n), "t");
    }
    log.after(1);
    let started = log.append(Fact::SessionStarted { family_id: PHONE, token_hash: "t".to_owned() });
    assert_eq!(kinds(&started), [SESSION_STARTED, SESSION_ENDED]);
    assert_eq!(log.state.sessions.len(), SESSIONS_MAX);
    assert_eq!(log.refresh(family(0), "t", "u"), SessionOutcome::Refused);
    assert_eq!(log.refresh(family(1), "t", "u"), log.granted());
    assert_eq!(log.restored(log.rows()), log.state);
}

#[test]
fn an_ended_session_makes_room_before_one_that_is_on() {
    let mut log = Log::of_alice();
    let family = |n: usize| Uuid::from_u128(n as u128);
    for n in 0..SESSIONS_MAX {
        log.after(1).sign_in(family(n), "t");
    }
    log.append(Fact::SessionEnded { family_id: family(7) });
    let started = log.after(1).append(Fact::SessionStarted { family_id: PHONE, token_hash: "t".to_owned() });
    assert_eq!(kinds(&started), [SESSION_STARTED]);
    assert_eq!(log.refresh(family(0), "t", "u"), log.granted());
}

#[test]
fn a_profile_keeps_what_a_change_does_not_name() {
    let mut log = Log::of_alice();
    let change = ProfileChange {
        bio: Some("likes tea".to_owned()),
        preferences: Some(PreferencesChange { age_max: Some(40), ..PreferencesChange::default() }),
        ..ProfileChange::default()
    };
    let changed = log.after(5).append(Fact::ProfileUpdated(change));
    assert_eq!((profile(&changed), kinds(&changed)), (ProfileOutcome::Changed, vec![USER_UPDATED]));
    let user = &log.state.user.as_ref().unwrap().row;
    assert_eq!((user.display_name.as_str(), user.bio.as_str(), user.preferences.age_max), ("Alice", "likes tea", 40));
    assert_eq!((user.preferences.age_min, user.updated_at), (18, log.now));
}

#[test]
fn ages_that_cross_change_nothing() {
    let mut log = Log::of_alice();
    let ages = |min, max| {
        let preferences = Some(PreferencesChange { age_min: min, age_max: max, ..PreferencesChange::default() });
        Fact::ProfileUpdated(ProfileChange { preferences, bio: Some("new".to_owned()), ..ProfileChange::default() })
    };
    log.append(ages(Some(30), Some(40)));
    let state = log.state.clone();
    let crossed = log.append(ages(Some(41), None));
    assert_eq!((profile(&crossed), kinds(&crossed)), (ProfileOutcome::AgesCrossed, vec![]));
    assert_eq!(log.state, state);
}

#[test]
fn only_being_verified_is_an_event_of_its_own() {
    let mut log = Log::of_alice();
    let statuses = [VerificationStatus::Pending, VerificationStatus::Verified, VerificationStatus::Verified];
    let events = statuses.map(|status| kinds(&log.append(Fact::Verified { status })));
    assert_eq!(events, [vec![USER_UPDATED], vec![USER_VERIFIED], vec![]]);
}

#[test]
fn activity_only_moves_forward() {
    let mut log = Log::of_alice();
    assert_eq!(kinds(&log.after(60).append(Fact::Active)), [USER_ACTIVE]);
    assert!(kinds(&log.after(-30).append(Fact::Active)).is_empty());
    assert_eq!(log.state.user.as_ref().unwrap().row.last_active_at, log.now + TimeDelta::seconds(30));
}

#[test]
fn a_block_hides_both_ways_and_is_acknowledged() {
    let mut log = Log::of_alice();
    let hidden = log.append(Fact::Hidden { other: UserId(LAPTOP), acknowledge: PHONE });
    assert_eq!((hidden.views.len(), hidden.told.len(), hidden.decided.len()), (2, 1, 0));
}

#[test]
fn what_is_decided_carries_no_token() {
    let mut log = Log::of_alice();
    log.sign_in(PHONE, "t1");
    log.refresh(PHONE, "t1", "t2");
    let (_, rotated) = log.decided.last().unwrap();
    assert_eq!((rotated.kind, rotated.key.as_str()), (SESSION_ROTATED, log.alice.to_string().as_str()));
    assert_eq!(rotated.data["current_hash"], "t2");
    assert_eq!(rotated.data["previous_hash"], "t1");
}

/// What can happen to an account, and how many seconds after what happened before.
fn happenings() -> impl Strategy<Value = Vec<(i64, Fact)>> {
    let family = prop_oneof![Just(PHONE), Just(LAPTOP)];
    let token = || (0..6_u8).prop_map(|n| format!("t{n}"));
    let started =
        (family.clone(), token()).prop_map(|(family_id, token_hash)| Fact::SessionStarted { family_id, token_hash });
    let rotated = (family.clone(), token(), token()).prop_map(|(family_id, presented_hash, next_hash)| {
        Fact::SessionRotated { family_id, presented_hash, next_hash }
    });
    let ended = family.prop_map(|family_id| Fact::SessionEnded { family_id });
    let ages = (proptest::option::of(18..60), proptest::option::of(18..60)).prop_map(|(age_min, age_max)| {
        let preferences = Some(PreferencesChange { age_min, age_max, ..PreferencesChange::default() });
        Fact::ProfileUpdated(ProfileChange { preferences, ..ProfileChange::default() })
    });
    let bio =
        "[a-z]{0,3}".prop_map(|bio| Fact::ProfileUpdated(ProfileChange { bio: Some(bio), ..ProfileChange::default() }));
    let located =
        (-90.0..90.0, -180.0..180.0).prop_map(|(north, east)| Fact::Located { cell: Cell::snap(north, east) });
    let verified = prop_oneof![Just(VerificationStatus::Pending), Just(VerificationStatus::Verified)]
        .prop_map(|status| Fact::Verified { status });
    let hidden = Just(Fact::Hidden { other: UserId(LAPTOP), acknowledge: PHONE });
    let fact = prop_oneof![
        3 => started, 6 => rotated, 1 => ended, 2 => ages, 1 => bio, 1 => located, 1 => verified, 1 => hidden,
        1 => Just(Fact::Active),
    ];
    proptest::collection::vec((0..40_i64, fact), 0..40)
}

proptest! {
    /// Without the projector's memory of event ids, too: the rule itself takes a repeat for what it is.
    #[test]
    fn a_duplicate_changes_nothing(happenings in happenings()) {
        let mut log = Log::of_alice();
        for (seconds, fact) in happenings {
            let first = log.after(seconds).append(fact.clone());
            let state = log.state.clone();
            let repeat = log.append(fact);
            prop_assert_eq!(&log.state, &state);
            prop_assert!(repeat.decided.is_empty());
            prop_assert_eq!(repeat.outcome, first.outcome);
        }
    }

    #[test]
    fn the_same_facts_give_the_same_state_and_effects(happenings in happenings()) {
        let (mut one, mut other) = (Log::of_alice(), Log::of_alice());
        other.alice = one.alice;
        other.state = one.state.clone();
        for (seconds, fact) in happenings {
            let first = one.after(seconds).append(fact.clone());
            let second = other.after(seconds).append(fact);
            prop_assert_eq!(first.views, second.views);
            prop_assert_eq!(first.decided, second.decided);
        }
        prop_assert_eq!(one.state, other.state);
    }

    /// Rows in any order, more than once, old ones among them: the state is the one that was folded.
    #[test]
    fn restoring_the_decided_rows_gives_the_folded_state(
        (happenings, old, seed) in (happenings(), 0..40_usize, any::<u64>())
    ) {
        let mut log = Log::of_alice();
        let mut stale = Vec::new();
        for (index, (seconds, fact)) in happenings.into_iter().enumerate() {
            log.after(seconds).append(fact);
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
