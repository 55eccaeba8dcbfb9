//! The fold as sequences of facts.

use super::*;
use crate::{
    event::{BLOCKED, BlockDecided, MATCHED, MatchRow, SWIPE, SwipeRow, UNMATCHED, UserRow, Verification},
    model::{ConversationId, MatchDocument, MatchStatus, Point, Preferences, Side, SwipeAction},
};
use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;
use velvet_kernel::{fold::Version, graph::Gender};

const ALICE: UserId = UserId(Uuid::from_u128(0xA));
const BOB: UserId = UserId(Uuid::from_u128(0xB));

fn pair() -> Pair {
    Pair::of(ALICE, BOB).unwrap()
}

/// An entity and its log, without repeats of what it has seen: those the kernel answers.
#[derive(Default)]
struct Log {
    state: State,
    offset: i64,
    seen: Vec<(Uuid, Option<serde_json::Value>)>,
    rows: Vec<(Row, Version)>,
    decided: Vec<&'static str>,
    delivered: usize,
}

impl Log {
    fn append(&mut self, id: u128, entity: &str, fact: Fact) -> Option<serde_json::Value> {
        self.offset += 1;
        let event_id = Uuid::from_u128(id);
        if let Some((_, outcome)) = self.seen.iter().find(|(seen, _)| *seen == event_id) {
            return outcome.clone();
        }
        let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(self.offset);
        let at = Moment { time, version: Version::of_offset(self.offset), event_id, entity };
        let effects = Matching.fold(&mut self.state, fact, &at);
        self.delivered += effects.views.iter().filter(|call| format!("{call:?}").contains("matching:inbox:")).count();
        for (index, decided) in effects.decided.iter().enumerate() {
            self.decided.push(decided.kind);
            self.rows.push((row_of(decided.kind, &decided.data), Version(at.version.0 + index as u64)));
        }
        self.seen.push((event_id, effects.outcome.clone()));
        effects.outcome
    }

    fn tell(&mut self, fact: Fact) -> serde_json::Value {
        let id = 1_000 + u128::try_from(self.offset).unwrap();
        self.append(id, &pair().to_string(), fact).unwrap_or_default()
    }

    fn swipe(&mut self, swiper: UserId, action: SwipeAction) -> Option<MatchDocument> {
        let other = pair().other(swiper).unwrap();
        match serde_json::from_value(self.tell(Fact::Swiped { swiper, swiped: other, action })).unwrap() {
            SwipeOutcome::Swiped { completed } => completed,
            SwipeOutcome::NotFound => panic!("not found"),
        }
    }

    fn count(&self, kind: &str) -> usize {
        self.decided.iter().filter(|decided| **decided == kind).count()
    }

    fn open_conversation(&mut self) {
        let conversation_id = pair().match_id().conversation();
        self.tell(Fact::ConversationOpened { conversation_id });
    }
}

fn row_of(kind: &str, data: &serde_json::Value) -> Row {
    let data = data.clone();
    match kind {
        SWIPE => Row::Swipe(serde_json::from_value::<SwipeRow>(data).unwrap()),
        MATCHED | UNMATCHED => Row::Match(serde_json::from_value::<MatchRow>(data).unwrap()),
        BLOCKED => Row::Block(serde_json::from_value::<BlockDecided>(data).unwrap().row),
        other => panic!("{other}"),
    }
}

#[test]
fn a_like_returned_is_one_match() {
    for (first, second) in [(ALICE, BOB), (BOB, ALICE)] {
        let mut log = Log::default();
        assert_eq!(log.swipe(first, SwipeAction::Like), None);
        let made = log.swipe(second, SwipeAction::Like).unwrap();
        assert_eq!((made.user_a_id, made.user_b_id, made.status), (ALICE, BOB, MatchStatus::Active));
        assert_eq!(made.match_id, pair().match_id());
        assert_eq!(log.decided, [SWIPE, SWIPE, MATCHED, MATCHED]);
        let owners: Vec<_> = log.rows[2..].iter().map(|(row, _)| row.clone()).collect();
        assert!(matches!(&owners[..], [Row::Match(a), Row::Match(b)] if a.owner_id == ALICE && b.owner_id == BOB));
    }
}

#[test]
fn a_super_like_counts_like_a_like() {
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::SuperLike);
    assert!(log.swipe(BOB, SwipeAction::Like).is_some());
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::Like);
    assert!(log.swipe(BOB, SwipeAction::SuperLike).is_some());
}

#[test]
fn a_pass_never_matches_and_replaces_a_like() {
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::Like);
    assert_eq!(log.swipe(BOB, SwipeAction::Pass), None);
    log.swipe(ALICE, SwipeAction::Pass);
    assert_eq!(log.swipe(BOB, SwipeAction::Like), None, "alice has changed her mind");
    assert!(log.swipe(ALICE, SwipeAction::Like).is_some());
}

#[test]
fn a_match_is_made_once_and_outlives_a_pass() {
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::Like);
    log.swipe(BOB, SwipeAction::Like);
    assert_eq!(log.swipe(BOB, SwipeAction::SuperLike), None);
    assert_eq!(log.swipe(ALICE, SwipeAction::Pass), None);
    assert!(log.state.standing().is_some());
    assert_eq!(log.swipe(ALICE, SwipeAction::Like), None);
    assert_eq!((log.count(MATCHED), log.count(SWIPE)), (2, 5));
}

#[test]
fn a_repeat_of_the_completing_swipe_gets_its_match_even_after_a_rebuild() {
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::Like);
    let made = log.swipe(BOB, SwipeAction::Like).unwrap();
    let completing = log.seen[1].0.as_u128();
    let mut rebuilt = Log { state: restored(&log.rows), offset: log.offset, ..Log::default() };
    let swipe = Fact::Swiped { swiper: BOB, swiped: ALICE, action: SwipeAction::Like };
    let outcome = rebuilt.append(completing, &pair().to_string(), swipe).unwrap();
    let SwipeOutcome::Swiped { completed } = serde_json::from_value(outcome).unwrap() else { panic!("not found") };
    assert_eq!(completed.map(|document| document.match_id), Some(made.match_id));
    assert!(rebuilt.decided.is_empty());
}

#[test]
fn a_dissolved_pair_never_matches_again() {
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::Like);
    log.swipe(BOB, SwipeAction::Like);
    assert_eq!(log.tell(Fact::Unmatched { by: BOB }), json!({ "outcome": "unmatched" }));
    assert_eq!(log.tell(Fact::Unmatched { by: ALICE }), json!({ "outcome": "not_found" }));
    for swiper in [ALICE, BOB, ALICE] {
        assert_eq!(log.swipe(swiper, SwipeAction::Like), None);
    }
    assert_eq!((log.count(MATCHED), log.count(UNMATCHED)), (2, 2));
    let document = log.state.document(pair()).unwrap();
    assert_eq!(document.status, MatchStatus::Unmatched);
}

#[test]
fn nothing_to_unmatch_is_not_found() {
    let mut log = Log::default();
    assert_eq!(log.tell(Fact::Unmatched { by: ALICE }), json!({ "outcome": "not_found" }));
    log.swipe(ALICE, SwipeAction::Like);
    assert_eq!(log.tell(Fact::Unmatched { by: ALICE }), json!({ "outcome": "not_found" }));
    assert_eq!(log.tell(Fact::Unmatched { by: UserId(Uuid::from_u128(9)) }), json!({ "outcome": "not_found" }));
}

#[test]
fn a_block_forbids_swipes_both_ways() {
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::Like);
    assert_eq!(log.tell(Fact::Blocked { by: ALICE }), json!({ "outcome": "blocked" }));
    for swiper in [ALICE, BOB] {
        let swipe = Fact::Swiped { swiper, swiped: pair().other(swiper).unwrap(), action: SwipeAction::Like };
        assert_eq!(log.tell(swipe), json!({ "outcome": "not_found" }));
    }
    assert_eq!(log.decided, [SWIPE, BLOCKED]);
}

#[test]
fn a_block_ends_the_match_and_is_told_to_both() {
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::Like);
    log.swipe(BOB, SwipeAction::Like);
    log.open_conversation();
    assert_eq!(log.delivered, 2);
    log.tell(Fact::Blocked { by: BOB });
    assert_eq!(log.delivered, 4);
    assert_eq!(log.decided[4..], [BLOCKED, UNMATCHED, UNMATCHED]);
    assert!(
        matches!(&log.rows[5].0, Row::Match(row) if row.status == MatchStatus::Blocked && row.ended_by == Some(BOB))
    );
    assert_eq!(log.tell(Fact::Blocked { by: BOB }), json!({ "outcome": "standing" }));
    assert_eq!(log.tell(Fact::Blocked { by: ALICE }), json!({ "outcome": "blocked" }));
    assert_eq!(log.count(UNMATCHED), 2);
}

#[test]
fn the_end_of_a_match_reaches_both_in_spite_of_the_block() {
    let mut state = State::default();
    let at = |offset, id| Moment {
        time: DateTime::UNIX_EPOCH,
        version: Version::of_offset(offset),
        event_id: Uuid::from_u128(id),
        entity: "00000000-0000-0000-0000-00000000000a:00000000-0000-0000-0000-00000000000b",
    };
    let like = |swiper, swiped| Fact::Swiped { swiper, swiped, action: SwipeAction::Like };
    Matching.fold(&mut state, like(ALICE, BOB), &at(1, 1));
    Matching.fold(&mut state, like(BOB, ALICE), &at(2, 2));
    let effects = Matching.fold(&mut state, Fact::Blocked { by: ALICE }, &at(3, 3));
    let places = |what: &str| -> Vec<usize> {
        let called = effects.views.iter().enumerate();
        called.filter(|(_, call)| format!("{call:?}").contains(what)).map(|(place, _)| place).collect()
    };
    let (told, blocked) = (places("matching:inbox:"), places("[\"matching:blocks:"));
    assert_eq!((told.len(), blocked.len()), (2, 2));
    assert!(told.iter().max() < blocked.iter().min(), "{told:?} {blocked:?}");
}

#[test]
fn the_conversation_is_announced_once_and_only_while_the_match_stands() {
    let mut log = Log::default();
    log.open_conversation();
    assert_eq!(log.delivered, 0, "there is no match");
    log.swipe(ALICE, SwipeAction::Like);
    log.swipe(BOB, SwipeAction::Like);
    assert_eq!(log.state.document(pair()).unwrap().conversation_id, None);
    log.open_conversation();
    log.open_conversation();
    assert_eq!(log.delivered, 2);
    assert_eq!(log.state.document(pair()).unwrap().conversation_id, Some(pair().match_id().conversation()));
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::Like);
    log.swipe(BOB, SwipeAction::Like);
    log.tell(Fact::Unmatched { by: ALICE });
    let told = log.delivered;
    log.open_conversation();
    assert_eq!(log.delivered, told);
}

#[test]
fn a_super_like_waits_until_it_is_answered() {
    let mut log = Log::default();
    log.swipe(ALICE, SwipeAction::SuperLike);
    assert!(log.state.super_like_waits(pair(), ALICE));
    log.swipe(ALICE, SwipeAction::Like);
    assert!(!log.state.super_like_waits(pair(), ALICE), "withdrawn");
    log.swipe(ALICE, SwipeAction::SuperLike);
    log.swipe(BOB, SwipeAction::Pass);
    assert!(!log.state.super_like_waits(pair(), ALICE), "answered");
}

#[test]
fn facts_of_no_pair_are_answered() {
    let mut log = Log::default();
    let swipe = Fact::Swiped { swiper: ALICE, swiped: ALICE, action: SwipeAction::Like };
    assert_eq!(log.tell(swipe), json!({ "outcome": "not_found" }));
    let stranger = UserId(Uuid::from_u128(9));
    assert_eq!(log.tell(Fact::Blocked { by: stranger }), json!({ "outcome": "not_found" }));
    assert!(log.decided.is_empty());
}

fn user(version: u64, longitude: f64) -> UserRow {
    UserRow {
        user_id: ALICE,
        birth_date: "1990-05-06".parse().unwrap(),
        gender: Gender::Female,
        side: Side::Creator,
        preferences: Preferences {
            age_min: 18,
            age_max: 99,
            distance_km_max: 50,
            genders: vec![],
            verified_only: false,
        },
        verification_status: Verification::Verified,
        cell: Some(Point { latitude: 52.525, longitude }),
        last_active_at: DateTime::UNIX_EPOCH,
        source_version: version,
    }
}

fn profile(version: u64, longitude: f64) -> Fact {
    Fact::Profile { user_id: ALICE, profile: user(version, longitude).into(), source_version: version }
}

#[test]
fn an_older_profile_changes_nothing() {
    let mut log = Log::default();
    let entity = ALICE.to_string();
    log.append(1, &entity, profile(512, 13.375));
    log.append(2, &entity, profile(256, 2.325));
    assert_eq!(log.state.known.as_ref().map(|known| known.source_version), Some(512));
    let restored = {
        let mut state = State::default();
        for row in [user(512, 13.375), user(256, 2.325)] {
            Matching.restore(&mut state, Row::User(row), &moment(&entity, Version::default()));
        }
        state
    };
    assert_eq!(restored, log.state);
}

#[test]
fn who_moves_leaves_one_box_and_enters_another() {
    let mut state = State::default();
    let entity = ALICE.to_string();
    let at = moment(&entity, Version::of_offset(1));
    let touched = |effects: Effects| -> Vec<String> { effects.views.iter().map(|call| format!("{call:?}")).collect() };
    let first = touched(Matching.fold(&mut state, profile(256, 13.375), &at));
    assert_eq!(first.len(), 2, "the profile and the box");
    let near = touched(Matching.fold(&mut state, profile(512, 13.425), &at));
    assert_eq!(near.len(), 2, "the same box");
    let far = touched(Matching.fold(&mut state, profile(768, 2.325), &at));
    assert_eq!(far.len(), 3, "the profile, the old box, the new box");
    assert!(far[1].contains("HDEL") && far[2].contains("HSET"));
}

fn moment(entity: &str, version: Version) -> Moment<'_> {
    // Rows are read back later than anything that they tell of.
    Moment { time: DateTime::UNIX_EPOCH + TimeDelta::days(1), version, event_id: Uuid::nil(), entity }
}

/// The state that rows make.
fn restored(rows: &[(Row, Version)]) -> State {
    let mut state = State::default();
    let entity = pair().to_string();
    for (row, version) in rows {
        let effects = Matching.restore(&mut state, row.clone(), &moment(&entity, *version));
        assert!(effects.decided.is_empty() && effects.outcome.is_none());
        assert!(effects.views.iter().all(|call| !format!("{call:?}").contains("matching:inbox:")));
    }
    state
}

fn anyone() -> impl Strategy<Value = UserId> {
    prop_oneof![Just(ALICE), Just(BOB)]
}

fn any_action() -> impl Strategy<Value = SwipeAction> {
    prop_oneof![Just(SwipeAction::Like), Just(SwipeAction::SuperLike), Just(SwipeAction::Pass)]
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let conversation_id = ConversationId(pair().match_id().conversation().0);
    prop_oneof![
        6 => (anyone(), any_action()).prop_map(|(swiper, action)| {
            Fact::Swiped { swiper, swiped: pair().other(swiper).unwrap(), action }
        }),
        1 => anyone().prop_map(|by| Fact::Unmatched { by }),
        1 => anyone().prop_map(|by| Fact::Blocked { by }),
        1 => Just(Fact::ConversationOpened { conversation_id }),
    ]
}

/// Facts with ids, some of them more than once.
fn any_log() -> impl Strategy<Value = Vec<(u128, Fact)>> {
    prop::collection::vec(any_fact(), 1..12).prop_flat_map(|facts| {
        let count = facts.len();
        let order = prop::collection::vec(0..count, 1..24);
        order.prop_map(move |order| order.into_iter().map(|place| (place as u128 + 1, facts[place].clone())).collect())
    })
}

proptest! {
    #[test]
    fn two_likes_in_any_order_and_number_are_one_match(order in prop::collection::vec(0_usize..2, 2..16)) {
        prop_assume!(order.contains(&0) && order.contains(&1));
        let mut log = Log::default();
        for place in &order {
            let (swiper, other) = [(ALICE, BOB), (BOB, ALICE)][*place];
            let like = Fact::Swiped { swiper, swiped: other, action: SwipeAction::Like };
            log.append(*place as u128 + 1, &pair().to_string(), like);
        }
        prop_assert_eq!(log.count(MATCHED), 2);
        prop_assert_eq!(log.count(SWIPE), 2);
    }

    #[test]
    fn no_log_makes_a_second_match_or_one_after_a_block(facts in any_log()) {
        let mut log = Log::default();
        for (id, fact) in facts {
            let blocked = !log.state.blocked_by.is_empty();
            let matched = log.count(MATCHED);
            let awaited = !matches!(fact, Fact::ConversationOpened { .. });
            let outcome = log.append(id, &pair().to_string(), fact);
            prop_assert!(outcome.is_some() || !awaited);
            prop_assert!(!blocked || log.count(MATCHED) == matched);
            prop_assert!(log.state.blocked_by.is_empty() || log.state.standing().is_none());
        }
        prop_assert!(matches!(log.count(MATCHED), 0 | 2));
        prop_assert!(log.count(UNMATCHED) <= log.count(MATCHED));
        prop_assert!(log.count(BLOCKED) <= 2);
        prop_assert!(log.delivered <= 4);
    }

    #[test]
    fn rows_in_any_order_restore_what_was_folded(facts in any_log(), seed in any::<u64>()) {
        let mut log = Log::default();
        for (id, fact) in facts {
            log.append(id, &pair().to_string(), fact);
        }
        if log.state.matched.is_some() {
            log.open_conversation();
        }
        // The database keeps the newest row of each; a dump may also bring older ones, and some twice.
        let mut rows = log.rows.clone();
        rows.extend(log.rows.iter().step_by(2).cloned());
        let count = rows.len().max(1);
        for place in 0..rows.len() {
            let other = usize::try_from(seed.wrapping_mul(place as u64 + 7) >> 33).unwrap() % count;
            rows.swap(place, other);
        }
        prop_assert_eq!(restored(&rows), log.state);
    }

    #[test]
    fn folding_is_deterministic(facts in any_log()) {
        let (mut one, mut other) = (Log::default(), Log::default());
        for (id, fact) in facts {
            let answers = (
                one.append(id, &pair().to_string(), fact.clone()),
                other.append(id, &pair().to_string(), fact),
            );
            prop_assert_eq!(answers.0, answers.1);
        }
        prop_assert_eq!(one.state, other.state);
    }
}
