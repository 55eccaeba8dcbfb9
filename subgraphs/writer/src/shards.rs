//! The shards: which server holds which, and the connections to them.

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use std::time::Duration;
use velvet_kernel::{
    config::PostgresConfig,
    log::{SHARDS, partition_of, shard_of_partition},
};

/// How many shards there are.
pub const COUNT: u8 = 16;
const _: () = assert!(SHARDS == COUNT as i32);

/// Connections to one shard at most: one for decided events, one for commands. With 16 shards on one
/// server and two writers that is 64 of the 100 that PostgreSQL allows by itself.
const CONNECTIONS_MAX: u32 = 2;
/// Connections for reading back: one for a rebuild, one for warm-ups.
const REPLICA_CONNECTIONS_MAX: u32 = 2;
/// A server that does not accept a connection within this counts as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that is not free within this: the batch before hangs.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A statement of one batch takes milliseconds; one that takes longer hangs on a lock or a disk.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// A writer that froze within a transaction must not hold its rows against the one that follows it.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(15);

/// What is wrong with the map of the shards.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A shard has no server, several, or does not exist.
    #[error("writer.postgres: {0}")]
    Map(String),
    /// An address does not parse.
    #[error("the address of the server of shard {shard}")]
    Address {
        /// The shard.
        shard: u8,
        /// What the library said.
        source: DbErr,
    },
}

/// The name of a shard's schema.
pub fn schema(shard: u8) -> String {
    format!("shard_{shard:02}")
}

/// The shard of an owner.
pub fn of_key(key: &str) -> u8 {
    shard_of_partition(partition_of(key, SHARDS))
}

/// The server of each shard, in the order of the shards; each shard must have one.
pub fn servers(config: &[PostgresConfig]) -> Result<Vec<&PostgresConfig>, Error> {
    let mut map: Vec<Option<&PostgresConfig>> = vec![None; usize::from(COUNT)];
    for server in config {
        for shard in &server.shards {
            match map.get_mut(usize::from(*shard)) {
                None => return Err(Error::Map(format!("there is no shard {shard}; they are 0 to 15"))),
                Some(Some(_)) => return Err(Error::Map(format!("shard {shard} is given twice"))),
                Some(place) => *place = Some(server),
            }
        }
    }
    let missing = |shard: usize| Error::Map(format!("no server has shard {shard}"));
    map.into_iter().enumerate().map(|(shard, server)| server.ok_or_else(|| missing(shard))).collect()
}

/// The shards that one server holds. Each lane is read and written by itself, so that a server that is
/// down holds up its own shards and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane(Vec<u8>);

impl Lane {
    /// One lane for each server that holds a shard.
    pub fn all(config: &[PostgresConfig]) -> Vec<Self> {
        config.iter().filter(|server| !server.shards.is_empty()).map(|server| Self(server.shards.clone())).collect()
    }

    /// The consumer group of all writers' readers of this lane: the server is known by its first shard,
    /// whatever its place in a configuration.
    pub fn group(&self, base: &str) -> String {
        format!("{base}.{:02}", self.0.iter().min().copied().unwrap_or_default())
    }

    /// Whether records of a partition belong here.
    pub fn has(&self, partition: i32) -> bool {
        self.0.contains(&shard_of_partition(partition))
    }
}

/// How to connect to a shard.
pub fn options(url: &str, shard: u8, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    let idle = IDLE_IN_TRANSACTION_TIMEOUT.as_millis().to_string();
    options
        .set_schema_search_path(schema(shard))
        .set_application_name("velvet-writer")
        .max_connections(connections)
        .min_connections(0)
        .connect_timeout(CONNECT_TIMEOUT)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .statement_timeout(STATEMENT_TIMEOUT)
        // A dead connection fails its batch, which is tried again; a ping before each batch would cost a round trip.
        .test_before_acquire(false)
        .connect_lazy(true)
        .sqlx_logging(false)
        // Slow starts are told by the retries that they cause, not by each connection.
        .map_sqlx_postgres_pool_opts(|pool| pool.acquire_slow_threshold(ACQUIRE_TIMEOUT))
        .map_sqlx_postgres_opts(move |sql| sql.options([("idle_in_transaction_session_timeout", idle.as_str())]));
    options
}

/// The connections to all shards. They are made when first used, so that a writer starts while a
/// server is down.
#[derive(Debug)]
pub struct Shards {
    primaries: Vec<DatabaseConnection>,
    replicas: Vec<DatabaseConnection>,
    replicated: bool,
}

impl Shards {
    /// Reads the map.
    pub async fn open(config: &[PostgresConfig]) -> Result<Self, Error> {
        let servers = servers(config)?;
        let mut shards = Self { primaries: Vec::new(), replicas: Vec::new(), replicated: false };
        for (shard, server) in (0..COUNT).zip(servers) {
            let address = |source| Error::Address { shard, source };
            let primary = Database::connect(options(&server.url, shard, CONNECTIONS_MAX)).await.map_err(address)?;
            let replica = server.replica_url.as_deref().unwrap_or(&server.url);
            shards.replicated |= server.replica_url.is_some();
            let replica = Database::connect(options(replica, shard, REPLICA_CONNECTIONS_MAX)).await.map_err(address)?;
            shards.primaries.push(primary);
            shards.replicas.push(replica);
        }
        Ok(shards)
    }

    /// Where a shard is written.
    pub fn primary(&self, shard: u8) -> &DatabaseConnection {
        &self.primaries[usize::from(shard % COUNT)]
    }

    /// Where a shard is read back.
    pub fn replica(&self, shard: u8) -> &DatabaseConnection {
        &self.replicas[usize::from(shard % COUNT)]
    }

    /// Whether any shard has a replica.
    pub fn replicated(&self) -> bool {
        self.replicated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(shards: &[u8]) -> PostgresConfig {
        PostgresConfig { url: "postgres://host/db".to_owned(), replica_url: None, shards: shards.to_vec() }
    }

    #[test]
    fn each_shard_has_one_server() {
        let all: Vec<u8> = (0..COUNT).collect();
        assert_eq!(servers(&[server(&all)]).unwrap().len(), 16);
        assert_eq!(servers(&[server(&all[..8]), server(&all[8..])]).unwrap().len(), 16);
        for wrong in
            [vec![server(&all[1..])], vec![server(&all), server(&[3])], vec![server(&all), server(&[16])], vec![]]
        {
            assert!(servers(&wrong).is_err());
        }
    }

    #[test]
    fn each_server_is_a_lane_and_each_partition_is_in_one() {
        let config = [server(&[9, 8]), server(&[]), server(&[0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15])];
        let lanes = Lane::all(&config);
        assert_eq!(lanes.iter().map(|lane| lane.group("writer")).collect::<Vec<_>>(), ["writer.08", "writer.00"]);
        for partition in 0..48 {
            assert_eq!(lanes.iter().filter(|lane| lane.has(partition)).count(), 1, "{partition}");
        }
    }

    #[test]
    fn schemas_are_named_in_order() {
        assert_eq!((schema(0), schema(15)), ("shard_00".to_owned(), "shard_15".to_owned()));
    }
}
