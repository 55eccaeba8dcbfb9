//! Reads the registry and follows its changes, for as long as it is in use.

use std::sync::Weak;
use std::time::Duration;

use redis::RedisError;
use redis::streams::StreamReadReply;
use tokio::time::{Instant, sleep};

use super::super::redis::{Connection, Redis};
use super::{Kind, Registry};

const CHANGES: &str = "accounts:registry_changes:{registry}";

/// How long one read of the changes waits for the next: the stream is looked after that often.
const BLOCK: Duration = Duration::from_millis(500);
/// Changes taken at once.
const BATCH: usize = 256;
/// Fields read at once when everything is.
const PAGE: usize = 500;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(2);

/// The id before all others.
const BEGINNING: &str = "0-0";

/// Reads everything, then the changes; from the start again whenever something goes wrong.
pub(super) async fn run(registry: Weak<Registry>, redis: Redis, reload_interval_seconds: u64) {
    let interval = Duration::from_secs(reload_interval_seconds.max(1));
    let mut pause = PAUSE_FIRST;
    while registry.strong_count() > 0 {
        match follow(&registry, &redis, interval, &mut pause).await {
            Ok(()) => {}
            Err(error) => {
                // Once for as long as it lasts.
                if pause == PAUSE_FIRST {
                    tracing::warn!(error = %error, "the registry of partners is not followed now");
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_LONGEST);
            }
        }
    }
}

/// Returns when everything has to be read again.
async fn follow(
    registry: &Weak<Registry>,
    redis: &Redis,
    interval: Duration,
    pause: &mut Duration,
) -> Result<(), RedisError> {
    let mut connection = redis.open(BLOCK).await?;
    loop {
        // What changes while everything is read is read once more, after it.
        let mut seen = last_id(&mut connection).await?;
        load(registry, &mut connection).await?;
        *pause = PAUSE_FIRST;
        let until = Instant::now() + interval;
        while Instant::now() < until && registry.strong_count() > 0 {
            let changes = changes_after(&mut connection, &seen).await?;
            if let Some(last) = changes.last() {
                seen.clone_from(&last.id);
                apply(registry, &mut connection, &changes).await?;
            }
            // Another stream than the one that was being read, or one that was cut where it was not read yet.
            if !is_continued(&mut connection, &seen, changes.len()).await? {
                break;
            }
        }
        if registry.strong_count() == 0 {
            return Ok(());
        }
    }
}

/// A change, as the stream tells it.
struct Change {
    id: String,
    /// Nothing for a kind that this version does not know.
    what: Option<(Kind, String)>,
}

async fn last_id(connection: &mut Connection) -> Result<String, RedisError> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(CHANGES).arg("+").arg("-").arg("COUNT").arg(1);
    let last: redis::streams::StreamRangeReply = connection.ask(&command).await?;
    Ok(last.ids.into_iter().next().map_or_else(|| BEGINNING.to_owned(), |entry| entry.id))
}

async fn load(registry: &Weak<Registry>, connection: &mut Connection) -> Result<(), RedisError> {
    for kind in Kind::ALL {
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(kind.hash()).arg(cursor).arg("COUNT").arg(PAGE);
            let (next, pairs): (u64, Vec<(String, String)>) = connection.ask(&command).await?;
            let values: Vec<String> = pairs.into_iter().map(|(_, value)| value).collect();
            if let Some(registry) = registry.upgrade() {
                registry.merge(kind, &values);
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(())
}

async fn changes_after(connection: &mut Connection, seen: &str) -> Result<Vec<Change>, RedisError> {
    let mut command = redis::cmd("XREAD");
    let block_ms = u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX);
    command.arg("COUNT").arg(BATCH).arg("BLOCK").arg(block_ms).arg("STREAMS").arg(CHANGES).arg(seen);
    let reply: Option<StreamReadReply> = connection.ask(&command).await?;
    let entries = reply.unwrap_or_default().keys.into_iter().flat_map(|stream| stream.ids);
    Ok(entries
        .map(|entry| {
            let kind = entry.get::<String>("kind").as_deref().and_then(Kind::parse);
            Change { what: kind.zip(entry.get("field")), id: entry.id }
        })
        .collect())
}

async fn apply(registry: &Weak<Registry>, connection: &mut Connection, changes: &[Change]) -> Result<(), RedisError> {
    for kind in Kind::ALL {
        let named = changes.iter().filter_map(|change| change.what.as_ref());
        let fields: Vec<&str> = named.filter(|(named, _)| *named == kind).map(|(_, field)| field.as_str()).collect();
        if fields.is_empty() {
            continue;
        }
        let mut command = redis::cmd("HMGET");
        command.arg(kind.hash()).arg(&fields);
        let values: Vec<Option<String>> = connection.ask(&command).await?;
        let values: Vec<String> = values.into_iter().flatten().collect();
        if let Some(registry) = registry.upgrade() {
            registry.merge(kind, &values);
        }
    }
    Ok(())
}

/// Whether what comes after `seen` is still all that was ever put there.
async fn is_continued(connection: &mut Connection, seen: &str, taken: usize) -> Result<bool, RedisError> {
    let last = last_id(connection).await?;
    if order(&last) < order(seen) {
        return Ok(false);
    }
    // Trimming takes the oldest: only a reader that is far behind can lose something by it.
    if taken < BATCH {
        return Ok(true);
    }
    let mut command = redis::cmd("XRANGE");
    command.arg(CHANGES).arg("-").arg("+").arg("COUNT").arg(1);
    let first: redis::streams::StreamRangeReply = connection.ask(&command).await?;
    Ok(first.ids.first().is_none_or(|first| order(&first.id) <= order(seen)))
}

/// An entry's id as what it is compared by.
fn order(id: &str) -> (u64, u64) {
    let (milliseconds, number) = id.split_once('-').unwrap_or((id, "0"));
    (milliseconds.parse().unwrap_or(0), number.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn ids_are_compared_as_numbers() {
        assert!(order("9-0") < order("10-0"));
        assert!(order("10-2") < order("10-10"));
        assert_eq!(order("0-0"), (0, 0));
    }
}
