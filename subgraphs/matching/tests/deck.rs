//! The deck on the real Redis, each test with people and a place of its own.

#![expect(clippy::disallowed_methods, reason = "tests take ids as they come")]

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use std::{collections::HashSet, time::Duration};
use uuid::Uuid;
use velvet_kernel::{
    config::RedisConfig,
    fold::{Fold as _, Moment, Version},
    graph::Gender,
    id::UserId,
    store::{Call, Epoch, Store},
};
use velvet_kit::{Handle, until};
use velvet_matching::{
    deck::{self, Card, Filter},
    event::Fact,
    fold::{Matching, State},
    model::{Pair, Point, Preferences, Profile, Side, SwipeAction},
};

/// A place far from the demo's cities, and a log of one test.
struct Sea {
    store: Store,
    centre: Point,
    now: DateTime<Utc>,
    offset: i64,
}

impl Sea {
    async fn new() -> Result<Self> {
        let stack = Handle::from_env()?;
        let store = Store::connect(&RedisConfig { urls: stack.info.redis_urls.clone() }).await?;
        if stack.info.servers_only && store.epoch().await?.is_none() {
            store.begin_epoch(Epoch(Uuid::now_v7())).await?;
        }
        // The southern ocean has room for 32,000 tests.
        let number = Uuid::new_v4().as_u128();
        let (row, column) = (u32::try_from(number % 80)?, u32::try_from(number / 80 % 400)?);
        let centre = Point { latitude: -60.0 + f64::from(row) * 0.25, longitude: -179.0 + f64::from(column) * 0.9 };
        let now = "2026-01-02T03:04:05Z".parse()?;
        Ok(Self { store, centre, now, offset: 0 })
    }

    /// Somebody of a side, so many kilometres to the east, active so many seconds ago.
    fn person(&self, side: Side, east_km: f64, seconds_ago: i64) -> Profile {
        let degrees = east_km / (111.195 * self.centre.latitude.to_radians().cos());
        Profile {
            side,
            gender: Gender::Female,
            birth_date: "1990-05-06".parse().unwrap_or_default(),
            preferences: Preferences {
                age_min: 18,
                age_max: 99,
                distance_km_max: 50,
                genders: vec![],
                verified_only: false,
            },
            verified: false,
            cell: Some(Point { longitude: self.centre.longitude + degrees, ..self.centre }),
            last_active_at: self.now - TimeDelta::seconds(seconds_ago),
        }
    }

    async fn fold(&mut self, state: &mut State, entity: &str, fact: Fact) -> Result<()> {
        self.offset += 1;
        let at = Moment { time: self.now, version: Version::of_offset(self.offset), event_id: Uuid::now_v7(), entity };
        let effects = Matching.fold(state, fact, &at);
        self.store.run(&effects.views).await?;
        Ok(())
    }

    async fn know(&mut self, state: &mut State, user_id: UserId, profile: Profile) -> Result<()> {
        let source_version = u64::try_from(self.offset + 1)? << 8;
        self.fold(state, &user_id.to_string(), Fact::Profile { user_id, profile, source_version }).await
    }

    async fn join(&mut self, profile: Profile) -> Result<UserId> {
        let user = UserId(Uuid::now_v7());
        self.know(&mut State::default(), user, profile).await?;
        Ok(user)
    }

    async fn swipe(&mut self, swiper: UserId, other: UserId, action: SwipeAction) -> Result<()> {
        let pair = Pair::of(swiper, other).context("a pair")?.to_string();
        self.fold(&mut State::default(), &pair, Fact::Swiped { swiper, swiped: other, action }).await
    }

    async fn deal(&self, viewer: UserId, first: usize, filter: Option<&Filter>) -> Result<Vec<Card>> {
        match deck::deal(&self.store, viewer, first, filter, self.now).await {
            Ok(cards) => cards.context("the viewer is known"),
            Err(fault) => bail!("{fault:?}"),
        }
    }
}

impl Sea {
    /// Seconds until a key of a viewer's goes; -2 when it is not there.
    async fn ttl(&self, what: &str, viewer: UserId) -> Result<i64> {
        let key = format!("matching:{what}:{{{viewer}}}");
        self.store.ask(Call::command_on("TTL", key)).await.context("reading a lifetime")
    }

    /// Time passes for the deck, and its scan, which had come to its end, may start anew.
    async fn wait(&mut self, viewer: UserId, seconds: i64) -> Result<()> {
        self.now += TimeDelta::seconds(seconds);
        until("a scan that has rested", Duration::from_secs(10), || async {
            ensure!(self.ttl("scan", viewer).await? == -2, "it still rests");
            Ok(())
        })
        .await
    }
}

fn users(cards: &[Card]) -> Vec<UserId> {
    cards.iter().map(|card| card.user).collect()
}

#[tokio::test]
async fn nobody_without_a_place_or_company_is_an_error() -> Result<()> {
    let mut sea = Sea::new().await?;
    let placeless = Profile { cell: None, ..sea.person(Side::Patron, 0.0, 0) };
    let placeless = sea.join(placeless).await?;
    assert!(sea.deal(placeless, 10, None).await?.is_empty());
    let alone = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    assert!(sea.deal(alone, 10, None).await?.is_empty());
    let stranger = deck::deal(&sea.store, UserId(Uuid::now_v7()), 10, None, sea.now).await;
    assert!(matches!(stranger, Ok(None)));
    Ok(())
}

#[tokio::test]
async fn the_most_recently_active_come_first_and_nobody_twice() -> Result<()> {
    let mut sea = Sea::new().await?;
    let alice = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    let mut expected = Vec::new();
    for number in 0_u32..70 {
        expected.push(sea.join(sea.person(Side::Creator, 0.1, i64::from(number) * 60)).await?);
    }
    sea.join(sea.person(Side::Patron, 0.1, 0)).await?;
    sea.join(sea.person(Side::Creator, 80.0, 0)).await?;
    let mut met = Vec::new();
    for _ in 0..20 {
        let cards = sea.deal(alice, 10, None).await?;
        assert!(cards.iter().all(|card| card.distance_km == 1 && !card.super_liked_you));
        met.extend(users(&cards));
        if cards.is_empty() {
            break;
        }
    }
    assert_eq!(met, expected);
    Ok(())
}

#[tokio::test]
async fn parallel_calls_share_the_cards_among_them() -> Result<()> {
    let mut sea = Sea::new().await?;
    let alice = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    for number in 0..60 {
        sea.join(sea.person(Side::Creator, 1.0, number)).await?;
    }
    let hands = futures::future::try_join_all((0..8).map(|_| sea.deal(alice, 7, None))).await?;
    let met: Vec<UserId> = hands.iter().flat_map(|hand| users(hand)).collect();
    let distinct: HashSet<_> = met.iter().collect();
    assert_eq!(distinct.len(), met.len());
    Ok(())
}

#[tokio::test]
async fn swiped_and_blocked_people_do_not_come_though_they_are_queued() -> Result<()> {
    let mut sea = Sea::new().await?;
    let alice = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    let mut others = Vec::new();
    for number in 0..5 {
        others.push(sea.join(sea.person(Side::Creator, 1.0, number * 60)).await?);
    }
    assert_eq!(users(&sea.deal(alice, 1, None).await?), others[..1]);
    sea.swipe(alice, others[1], SwipeAction::Pass).await?;
    let pair = Pair::of(alice, others[2]).context("a pair")?.to_string();
    sea.fold(&mut State::default(), &pair, Fact::Blocked { by: others[2] }).await?;
    assert_eq!(users(&sea.deal(alice, 10, None).await?), others[3..]);
    Ok(())
}

#[tokio::test]
async fn a_super_liker_comes_first_with_a_mark() -> Result<()> {
    let mut sea = Sea::new().await?;
    let alice = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    for number in 0..5 {
        sea.join(sea.person(Side::Creator, 1.0, number)).await?;
    }
    let late = sea.join(sea.person(Side::Creator, 1.0, 9_000)).await?;
    let far = sea.join(sea.person(Side::Creator, 90.0, 0)).await?;
    assert_eq!(sea.deal(alice, 1, None).await?.len(), 1);
    sea.swipe(late, alice, SwipeAction::SuperLike).await?;
    sea.swipe(far, alice, SwipeAction::SuperLike).await?;
    let cards = sea.deal(alice, 2, None).await?;
    assert_eq!(cards.len(), 2);
    assert!(cards[0].user == late && cards[0].super_liked_you && !cards[1].super_liked_you);
    Ok(())
}

#[tokio::test]
async fn who_moves_away_is_not_met_at_the_old_place() -> Result<()> {
    let mut sea = Sea::new().await?;
    let alice = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    let (bob, mut state) = (UserId(Uuid::now_v7()), State::default());
    let (here, away) = (sea.person(Side::Creator, 1.0, 0), sea.person(Side::Creator, 300.0, 0));
    sea.know(&mut state, bob, here).await?;
    sea.know(&mut state, bob, away).await?;
    assert!(sea.deal(alice, 10, None).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_filter_narrows_one_call_and_leaves_the_queue_alone() -> Result<()> {
    let mut sea = Sea::new().await?;
    let alice = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    let near = sea.join(sea.person(Side::Creator, 1.0, 60)).await?;
    let far = sea.join(sea.person(Side::Creator, 30.0, 0)).await?;
    let filter = Filter { distance_km_max: Some(5), ..Filter::default() };
    assert_eq!(users(&sea.deal(alice, 10, Some(&filter)).await?), [near]);
    assert_eq!(users(&sea.deal(alice, 10, None).await?), [far]);
    Ok(())
}

#[tokio::test]
async fn changed_preferences_drop_what_was_queued() -> Result<()> {
    let mut sea = Sea::new().await?;
    let (alice, mut state) = (UserId(Uuid::now_v7()), State::default());
    let mut profile = sea.person(Side::Patron, 0.0, 0);
    sea.know(&mut state, alice, profile.clone()).await?;
    let far = sea.join(sea.person(Side::Creator, 30.0, 0)).await?;
    let mut rest = Vec::new();
    for number in 1..4 {
        rest.push(sea.join(sea.person(Side::Creator, 30.0, number * 60)).await?);
    }
    assert_eq!(users(&sea.deal(alice, 1, None).await?), [far]);
    profile.preferences.distance_km_max = 10;
    sea.know(&mut state, alice, profile.clone()).await?;
    assert!(sea.deal(alice, 10, None).await?.is_empty());
    profile.preferences.distance_km_max = 40;
    sea.know(&mut state, alice, profile).await?;
    assert_eq!(users(&sea.deal(alice, 10, None).await?), rest);
    Ok(())
}

#[tokio::test]
async fn queued_cards_are_good_for_300_seconds_from_the_refill() -> Result<()> {
    let mut sea = Sea::new().await?;
    let alice = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    for number in 0..10 {
        sea.join(sea.person(Side::Creator, 1.0, number)).await?;
    }
    assert_eq!(sea.ttl("cards", alice).await?, -2);
    assert_eq!(sea.deal(alice, 1, None).await?.len(), 1);
    for what in ["cards", "served"] {
        let left = sea.ttl(what, alice).await?;
        assert!((295..=300).contains(&left), "{what}: {left} s");
    }
    // Handing out from the queue does not make the rest of it any younger.
    let cards = format!("matching:cards:{{{alice}}}");
    let _: i64 = sea.store.ask(Call::command_on("EXPIRE", cards).arg(100)).await?;
    assert_eq!(sea.deal(alice, 1, None).await?.len(), 1);
    let left = sea.ttl("cards", alice).await?;
    assert!((1..=100).contains(&left), "{left} s");
    Ok(())
}

#[tokio::test]
async fn who_was_served_comes_again_after_300_seconds_and_not_before() -> Result<()> {
    let mut sea = Sea::new().await?;
    let alice = sea.join(sea.person(Side::Patron, 0.0, 0)).await?;
    let mut others = Vec::new();
    for number in 0..3 {
        others.push(sea.join(sea.person(Side::Creator, 1.0, number * 60)).await?);
    }
    assert_eq!(users(&sea.deal(alice, 10, None).await?), others);
    sea.wait(alice, 299).await?;
    assert_eq!(users(&sea.deal(alice, 10, None).await?), []);
    sea.wait(alice, 1).await?;
    assert_eq!(users(&sea.deal(alice, 10, None).await?), others);
    Ok(())
}

#[tokio::test]
async fn a_viewer_who_moves_is_dealt_nobody_of_the_old_place() -> Result<()> {
    let mut sea = Sea::new().await?;
    let (alice, mut state) = (UserId(Uuid::now_v7()), State::default());
    let (here, there) = (sea.person(Side::Patron, 0.0, 0), sea.person(Side::Patron, 300.0, 0));
    sea.know(&mut state, alice, here).await?;
    for number in 0..5 {
        sea.join(sea.person(Side::Creator, 1.0, number)).await?;
    }
    let neighbour = sea.join(sea.person(Side::Creator, 301.0, 0)).await?;
    assert_eq!(sea.deal(alice, 1, None).await?.len(), 1);
    assert!(sea.ttl("cards", alice).await? > 0, "the others are queued");
    sea.know(&mut state, alice, there).await?;
    assert_eq!(users(&sea.deal(alice, 10, None).await?), [neighbour]);
    Ok(())
}
