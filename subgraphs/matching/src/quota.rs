//! How many likes are left. Counted in Redis by the ids of the requests, so that a repeat counts once.

use crate::model::{QuotaWindow, Settings};
use chrono::{DateTime, Utc};
use uuid::Uuid;
use velvet_kernel::{
    fault::Fault,
    id::UserId,
    live::inbox::blocks_key,
    store::{Call, Script, Store},
};

/// A count that nothing was added to for this long is out of every window.
const LIFETIME_S: u32 = 2 * 24 * 3600;
/// In place of a limit that there is not.
const UNLIMITED: i64 = -1;

/// KEYS: likes, super likes, blocked. ARGV: target, request, now and the window's start in
/// milliseconds, limit of likes, of super likes (-1: none), 1 for a super like, lifetime.
/// Counts a like. Returns 0, or which quota is used up (1: likes, 2: super likes), or -1 when the two are blocked.
static SPEND: Script = Script::new(
    r"
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then return -1 end
local limits = {tonumber(ARGV[5]), ARGV[7] == '1' and tonumber(ARGV[6]) or -1}
for i = 1, 2 do
  if limits[i] >= 0 then
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', '(' .. ARGV[4])
    if not redis.call('ZSCORE', KEYS[i], ARGV[2]) and redis.call('ZCARD', KEYS[i]) >= limits[i] then return i end
  end
end
for i = 1, 2 do
  if limits[i] >= 0 then
    redis.call('ZADD', KEYS[i], 'NX', ARGV[3], ARGV[2])
    redis.call('EXPIRE', KEYS[i], ARGV[8])
  end
end
return 0
",
);

/// What a viewer may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Likes and super likes of a window; none without a limit.
    pub limit: Option<u32>,
    /// Those that are left.
    pub remaining: Option<u32>,
    /// When the count starts again.
    pub resets_at: DateTime<Utc>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Likes, super likes among them.
    Likes,
    /// Super likes alone.
    SuperLikes,
}

/// What came of counting a like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// It counts.
    Yes,
    /// None was left of these.
    UsedUp(Kind),
    /// The two are blocked; nothing was counted.
    Blocked,
}

impl Spent {
    /// Reads what [`Quota::spend`] was answered.
    pub fn read(reply: i64) -> Self {
        match reply {
            0 => Self::Yes,
            1 => Self::UsedUp(Kind::Likes),
            2 => Self::UsedUp(Kind::SuperLikes),
            _ => Self::Blocked,
        }
    }
}

/// One viewer's quota.
#[derive(Debug, Clone)]
pub struct Quota<'a> {
    settings: &'a Settings,
    viewer: UserId,
    now: DateTime<Utc>,
}

impl<'a> Quota<'a> {
    /// The quota of a viewer.
    pub fn of(settings: &'a Settings, viewer: UserId, now: DateTime<Utc>) -> Self {
        Self { settings, viewer, now }
    }

    fn likes_key(&self) -> String {
        format!("matching:quota:{{{}}}", self.viewer)
    }

    fn super_likes_key(&self) -> String {
        format!("matching:quota:{{{}}}:super", self.viewer)
    }

    fn start_ms(&self) -> i64 {
        self.settings.quota_window.start(self.now).timestamp_millis()
    }

    /// Counts a like of `target` by `request`, unless the two are blocked.
    pub fn spend(&self, target: UserId, request: Uuid, super_like: bool) -> Call {
        let limit = |limit: Option<u32>| limit.map_or(UNLIMITED, i64::from);
        Call::script(&SPEND, [self.likes_key(), self.super_likes_key(), blocks_key(crate::DOMAIN_NAME, self.viewer)])
            .arg(target.to_string())
            .arg(request.to_string())
            .arg(self.now.timestamp_millis())
            .arg(self.start_ms())
            .arg(limit(self.settings.likes_per_day))
            .arg(limit(self.settings.super_likes_per_day))
            .arg(i32::from(super_like))
            .arg(LIFETIME_S)
    }

    /// Takes back what a request has counted, as nobody was liked by it.
    pub fn take_back(&self, request: Uuid) -> [Call; 2] {
        [self.likes_key(), self.super_likes_key()].map(|key| Call::command_on("ZREM", key).arg(request.to_string()))
    }

    /// What is left of a kind, in one round trip; none without a limit.
    pub async fn standing(&self, kind: Kind, store: &Store) -> Result<Standing, Fault> {
        let window = self.settings.quota_window;
        let (limit, key) = match kind {
            Kind::Likes => (self.settings.likes_per_day, self.likes_key()),
            Kind::SuperLikes => (self.settings.super_likes_per_day, self.super_likes_key()),
        };
        let Some(limit) = limit else {
            let resets_at = QuotaWindow::UtcDay.resets_at(self.now, None);
            return Ok(Standing { limit: None, remaining: None, resets_at });
        };
        let call = Call::command_on("ZRANGEBYSCORE", key).arg(self.start_ms()).arg("+inf").arg("WITHSCORES");
        let spent: Vec<(String, f64)> = store.ask(call).await?;
        #[expect(clippy::cast_possible_truncation, reason = "scores are written as whole milliseconds")]
        let oldest = spent.first().and_then(|(_, ms)| DateTime::from_timestamp_millis(*ms as i64));
        let spent = u32::try_from(spent.len()).unwrap_or(u32::MAX);
        let resets_at = window.resets_at(self.now, oldest);
        Ok(Standing { limit: Some(limit), remaining: Some(limit.saturating_sub(spent)), resets_at })
    }
}
