//! Quotas on the real Redis, each test with a viewer of its own.

#![expect(clippy::disallowed_methods, reason = "tests take ids as they come")]

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use velvet_kernel::{config::RedisConfig, id::UserId, store::Store};
use velvet_kit::Handle;
use velvet_matching::{
    model::{QuotaWindow, Settings},
    quota::{Kind, Quota, Spent},
};

struct World {
    store: Store,
    viewer: UserId,
    settings: Settings,
}

impl World {
    async fn new(settings: Settings) -> Result<Self> {
        let stack = Handle::from_env()?;
        let store = Store::connect(&RedisConfig { urls: stack.info.redis_urls.clone() }).await?;
        Ok(Self { store, viewer: UserId(Uuid::now_v7()), settings })
    }

    async fn like(&self, request: Uuid, at: DateTime<Utc>, super_like: bool) -> Result<Spent> {
        let quota = Quota::of(&self.settings, self.viewer, at);
        Ok(Spent::read(self.store.ask(quota.spend(UserId(Uuid::now_v7()), request, super_like)).await?))
    }

    async fn left(&self, kind: Kind, at: DateTime<Utc>) -> Result<(Option<u32>, DateTime<Utc>)> {
        let standing = Quota::of(&self.settings, self.viewer, at).standing(kind, &self.store).await;
        let standing = standing.ok().context("the standing")?;
        Ok((standing.remaining, standing.resets_at))
    }
}

fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(12)
}

#[tokio::test]
async fn likes_count_until_none_is_left_and_a_repeat_counts_once() -> Result<()> {
    let world = World::new(Settings { likes_per_day: Some(3), ..Settings::default() }).await?;
    let repeated = Uuid::new_v4();
    for request in [repeated, repeated, Uuid::new_v4(), Uuid::new_v4()] {
        assert_eq!(world.like(request, noon(), false).await?, Spent::Yes);
    }
    assert_eq!(world.left(Kind::Likes, noon()).await?, (Some(0), noon() + TimeDelta::hours(12)));
    assert_eq!(world.like(Uuid::new_v4(), noon(), false).await?, Spent::UsedUp(Kind::Likes));
    assert_eq!(world.like(repeated, noon(), false).await?, Spent::Yes, "it has been counted");
    let tomorrow = noon() + TimeDelta::days(1);
    assert_eq!(world.left(Kind::Likes, tomorrow).await?.0, Some(3));
    assert_eq!(world.like(Uuid::new_v4(), tomorrow, false).await?, Spent::Yes);
    Ok(())
}

#[tokio::test]
async fn super_likes_have_a_quota_of_their_own_within_the_likes() -> Result<()> {
    let settings = Settings { likes_per_day: Some(3), super_likes_per_day: Some(1), ..Settings::default() };
    let world = World::new(settings).await?;
    assert_eq!(world.like(Uuid::new_v4(), noon(), true).await?, Spent::Yes);
    assert_eq!(world.like(Uuid::new_v4(), noon(), true).await?, Spent::UsedUp(Kind::SuperLikes));
    assert_eq!(world.left(Kind::SuperLikes, noon()).await?.0, Some(0));
    assert_eq!(world.left(Kind::Likes, noon()).await?.0, Some(2), "a super like is a like; a refused one is none");
    Ok(())
}

#[tokio::test]
async fn in_a_rolling_window_each_like_counts_for_a_day() -> Result<()> {
    let settings = Settings { likes_per_day: Some(1), quota_window: QuotaWindow::Rolling, ..Settings::default() };
    let world = World::new(settings).await?;
    assert_eq!(world.like(Uuid::new_v4(), noon(), false).await?, Spent::Yes);
    let midnight = noon() + TimeDelta::hours(12);
    assert_eq!(world.like(Uuid::new_v4(), midnight, false).await?, Spent::UsedUp(Kind::Likes));
    assert_eq!(world.left(Kind::Likes, midnight).await?, (Some(0), noon() + TimeDelta::days(1)));
    let day_after = noon() + TimeDelta::hours(24) + TimeDelta::milliseconds(1);
    assert_eq!(world.like(Uuid::new_v4(), day_after, false).await?, Spent::Yes);
    Ok(())
}

#[tokio::test]
async fn two_hundred_likes_at_once_do_not_pass_the_limit() -> Result<()> {
    let world = World::new(Settings { likes_per_day: Some(50), ..Settings::default() }).await?;
    let likes = (0..200).map(|_| world.like(Uuid::new_v4(), noon(), false));
    let spent = futures::future::try_join_all(likes).await?;
    assert_eq!(spent.iter().filter(|spent| **spent == Spent::Yes).count(), 50);
    Ok(())
}
