//! Counting in Redis, for all routers; each by itself for as long as Redis does not answer in time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::{Cmd, ErrorKind, RedisError, Script, ServerErrorKind};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::metrics::IS_LOCAL;
use super::month::Month;
use super::outcome::Reply;
use super::policy::{Group, Quota};
use super::quotas::{Quotas, Standing};
use crate::plugins::partners::redis::{Connection, Redis};

const TAKE: &str = include_str!("take.lua");
static TAKE_HASH: LazyLock<String> = LazyLock::new(|| Script::new(TAKE).get_hash().to_owned());

/// What partners have called in each month, kept by the accounts subgraph: `<partner's id>:<month>`.
const MONTHS: &str = "accounts:usage:months";

/// Answers in a row that did not come in time; then Redis is not asked any more until it answers again.
const LATE_MAX: u32 = 3;
/// What is asked about when nothing else was.
const ANY_KEY: &str = "router:rate";
const PROBE_LIFETIME_MS: u32 = 1_000;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

pub(super) struct Store {
    redis: Redis,
    timeout: Duration,
    /// Nothing while Redis is away.
    connection: ArcSwapOption<Connection>,
    /// Held while the connection comes or goes, with all that says so.
    switching: Mutex<()>,
    /// Answers in a row that did not come in time.
    late: AtomicU32,
}

/// Whether units are drawn or given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Draw,
    GiveBack,
}

/// Why Redis has not counted.
enum Missed {
    Late,
    Failed(RedisError),
}

impl From<RedisError> for Missed {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() { Self::Late } else { Self::Failed(error) }
    }
}

/// What a month's field holds, as far as it is needed here.
#[derive(Deserialize)]
struct Used {
    calls: u64,
}

impl Store {
    /// Connects, and goes on trying.
    pub(super) fn start(redis: Redis, timeout: Duration) -> Arc<Self> {
        let connection = ArcSwapOption::empty();
        let store = Arc::new(Self { redis, timeout, connection, switching: Mutex::default(), late: AtomicU32::new(0) });
        IS_LOCAL.store(true, Ordering::Relaxed);
        tokio::spawn(come_back(Arc::downgrade(&store), ANY_KEY.to_owned(), false));
        store
    }

    /// Draws from all of a group or from nothing; nothing is said when Redis does not answer in time.
    pub(super) async fn draw(self: &Arc<Self>, group: &Group, sign: Sign, quotas: &Quotas) -> Option<Reply> {
        let connection = self.connection.load_full()?;
        let counting = timeout(self.timeout, count((*connection).clone(), group, sign, quotas));
        let missed = match counting.await {
            Ok(Ok(reply)) => {
                self.late.store(0, Ordering::Relaxed);
                return Some(reply);
            }
            Ok(Err(missed)) => missed,
            Err(_) => Missed::Late,
        };
        match missed {
            Missed::Late if self.late.fetch_add(1, Ordering::Relaxed) + 1 < LATE_MAX => {}
            Missed::Late => self.leave(group, "it does not answer in time"),
            Missed::Failed(error) => self.leave(group, &error.to_string()),
        }
        None
    }

    /// The durable count of a month; none when there is no such field.
    pub(super) async fn used(&self, quota: &Quota) -> Option<u64> {
        let connection = self.connection.load_full()?;
        timeout(self.timeout, used(&mut (*connection).clone(), quota)).await.ok()?.ok()?
    }

    /// Redis is not asked until it takes something under the hash tag of these keys.
    fn leave(self: &Arc<Self>, group: &Group, why: &str) {
        if self.switch(None).is_none() {
            return;
        }
        tracing::warn!(error = why, "rates are counted by each router for its share of the limits: Redis is away");
        let key = group.draws.first().map_or(ANY_KEY, |draw| &draw.key);
        tokio::spawn(come_back(Arc::downgrade(self), key.to_owned(), true));
    }

    fn switch(&self, connection: Option<Arc<Connection>>) -> Option<Arc<Connection>> {
        let _switching = self.switching.lock();
        let is_local = connection.is_none();
        let before = self.connection.swap(connection);
        IS_LOCAL.store(is_local, Ordering::Relaxed);
        before
    }

    async fn reach(&self, key: &str) -> Result<Connection, RedisError> {
        let mut connection = self.redis.open(self.timeout).await?;
        // A server that only reads, or has no memory left, is no use.
        let mut command = redis::cmd("SET");
        command.arg(format!("{key}:probe")).arg(1).arg("PX").arg(PROBE_LIFETIME_MS);
        timeout(self.timeout, connection.ask::<()>(&command))
            .await
            .unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "Redis does not answer in time"))))?;
        Ok(connection)
    }
}

async fn come_back(store: Weak<Store>, key: String, mut told: bool) {
    let mut pause = PAUSE_FIRST;
    while let Some(store) = store.upgrade() {
        match store.reach(&key).await {
            Ok(connection) => {
                store.late.store(0, Ordering::Relaxed);
                store.switch(Some(Arc::new(connection)));
                tracing::info!("rates are counted in Redis");
                return;
            }
            Err(error) if !told => {
                told = true;
                tracing::warn!(error = %error, "rates are counted by each router for its share of the limits: Redis is away");
            }
            Err(_) => {}
        }
        drop(store);
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

async fn count(mut connection: Connection, group: &Group, sign: Sign, quotas: &Quotas) -> Result<Reply, Missed> {
    let Some(quota) = &group.quota else {
        return reply(group, sign, take(&mut connection, group, sign, None).await?, None);
    };
    let told = quotas.standing(quota);
    let mut counter = Counter { at_least: told.at_least, own: told.own, router: &quotas.router, may_begin: false };
    let mut answer = take(&mut connection, group, sign, Some(&counter)).await?;
    if answer.first() == Some(&-1) {
        match used(&mut connection, quota).await? {
            Some(used) => counter.at_least = counter.at_least.max(used),
            None => quotas.miss(quota),
        }
        counter.may_begin = true;
        answer = take(&mut connection, group, sign, Some(&counter)).await?;
    }
    reply(group, sign, answer, Some((quotas, told)))
}

/// What is known of a quota's counter.
struct Counter<'q> {
    at_least: u64,
    /// What this router has counted by itself.
    own: Option<u64>,
    router: &'q str,
    may_begin: bool,
}

async fn take(
    connection: &mut Connection,
    group: &Group,
    sign: Sign,
    counter: Option<&Counter<'_>>,
) -> Result<Vec<i64>, RedisError> {
    match connection.ask(&command("EVALSHA", &TAKE_HASH, group, sign, counter)).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            connection.ask(&command("EVAL", TAKE, group, sign, counter)).await
        }
        answer => answer,
    }
}

fn command(name: &str, script: &str, group: &Group, sign: Sign, counter: Option<&Counter<'_>>) -> Cmd {
    let mut command = redis::cmd(name);
    let quota = group.quota.as_ref().zip(counter);
    let own = quota.and_then(|(quota, counter)| Some((format!("{}:{}", quota.counter, counter.router), counter.own?)));
    command.arg(script).arg(group.draws.len() + usize::from(quota.is_some()) + usize::from(own.is_some()));
    for draw in &group.draws {
        command.arg(&draw.key);
    }
    if let Some((quota, _)) = quota {
        command.arg(&quota.counter);
    }
    if let Some((key, _)) = &own {
        command.arg(key);
    }
    command.arg(group.draws.len());
    let sign = if sign == Sign::GiveBack { "-" } else { "" };
    for draw in &group.draws {
        let amount = draw.limit.amount(draw.units.saturating_add(draw.ahead));
        command.arg(format!("{sign}{amount}")).arg(draw.limit.capacity()).arg(draw.limit.leak());
    }
    if let Some((quota, counter)) = quota {
        command.arg(quota.limit).arg(format!("{sign}1")).arg(counter.at_least);
        command.arg(u8::from(counter.may_begin)).arg(quota.month.lifetime().as_secs());
    }
    if let Some((_, sum)) = own {
        command.arg(sum);
    }
    command
}

fn reply(group: &Group, sign: Sign, answer: Vec<i64>, told: Option<(&Quotas, Standing)>) -> Result<Reply, Missed> {
    let mut numbers = answer.into_iter().map(|number| u64::try_from(number).unwrap_or(0));
    let passed = numbers.next() == Some(1);
    let levels: Vec<u64> = numbers.by_ref().take(group.draws.len()).collect();
    let left = group.quota.as_ref().zip(told).zip(numbers.next()).map(|((quota, (quotas, told)), count)| {
        match sign {
            Sign::Draw => quotas.learn(quota, told, count),
            Sign::GiveBack => quotas.lower(quota, told, count),
        }
        quota.limit.saturating_sub(count)
    });
    if levels.len() < group.draws.len() || left.is_some() != group.quota.is_some() {
        return Err(Missed::Failed(RedisError::from((ErrorKind::UnexpectedReturnType, "not what the script answers"))));
    }
    Ok(Reply { passed, local: false, levels, left })
}

async fn used(connection: &mut Connection, quota: &Quota) -> Result<Option<u64>, RedisError> {
    let Month { name, .. } = &quota.month;
    let mut command = redis::cmd("HGET");
    command.arg(MONTHS).arg(format!("{}:{name}", quota.partner_id));
    let field: Option<String> = connection.ask(&command).await?;
    Ok(field.and_then(|field| match serde_json::from_str::<Used>(&field) {
        Ok(used) => Some(used.calls),
        Err(error) => {
            tracing::error!(error = %error, "what a partner has used does not parse");
            None
        }
    }))
}
