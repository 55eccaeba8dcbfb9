//! All that the registry holds at one moment, for those who look at it from outside a running router.

use std::collections::HashMap;
use std::time::Duration;

use redis::RedisError;

use super::config::RedisConfig;
use super::redis::{Connection, Redis};
use super::registry::hashes;

/// Fields read at once.
const PAGE: usize = 500;

/// How often each operation was called: `<partner's short name>/<operation's id>` to a record.
const USAGE: &str = "accounts:usage:operations";

/// The records, as they are in Redis.
pub struct Snapshot {
    /// Partners.
    pub partners: Vec<String>,
    /// Operations, retired ones among them.
    pub operations: Vec<String>,
    /// By the field in Redis.
    pub usage: HashMap<String, String>,
}

/// Reads it, from addresses with a comma between them: several are a cluster's, one is a single server's.
pub async fn read(urls: &str) -> Result<Snapshot, RedisError> {
    let config = RedisConfig { urls: urls.to_owned(), reload_interval_seconds: 0, keys_max: 0, operations_max: 0 };
    if config.list().is_empty() {
        return Err(RedisError::from((redis::ErrorKind::InvalidClientConfig, "no server is named")));
    }
    let mut connection = Redis::new(&config).open(Duration::ZERO).await?;
    let values = |records: HashMap<String, String>| records.into_values().collect();
    Ok(Snapshot {
        partners: values(all(&mut connection, hashes::PARTNERS).await?),
        operations: values(all(&mut connection, hashes::OPERATIONS).await?),
        usage: all(&mut connection, USAGE).await?,
    })
}

async fn all(connection: &mut Connection, hash: &str) -> Result<HashMap<String, String>, RedisError> {
    let mut records = HashMap::new();
    let mut cursor = 0_u64;
    loop {
        let mut command = redis::cmd("HSCAN");
        command.arg(hash).arg(cursor).arg("COUNT").arg(PAGE);
        let (next, pairs): (u64, Vec<(String, String)>) = connection.ask(&command).await?;
        records.extend(pairs);
        cursor = next;
        if cursor == 0 {
            return Ok(records);
        }
    }
}
