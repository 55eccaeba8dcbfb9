//! The shards: which server holds which, and the connections to them.

use futures::future::join_all;
use map::Tenure;
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use std::{
    sync::atomic::{AtomicI64, AtomicUsize, Ordering},
    time::Duration,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use velvet_kernel::{
    config::PostgresConfig,
    log::{SHARDS, partition_of, shard_of_partition},
};

pub mod fence;
pub mod map;
pub mod moving;
pub mod replication;

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

/// How often the servers are asked which shards they have: a shard that moved is written again within this and the
/// pause of whoever retries.
const LOCATE_PAUSE: Duration = Duration::from_millis(250);
/// A server that does not say within this is asked again at the next look.
const LOCATE_PATIENCE: Duration = Duration::from_secs(1);
/// A schema that there is never.
const NO_SCHEMA: &str = "shard_of_nobody";

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

/// The connections to all shards. They are made when first used, so that a writer starts while a server is down.
///
/// Which server a shard is on is what the servers themselves say ([`map`]), whatever the configuration says. A shard of
/// which none of them has said so yet is nowhere: whatever is asked of it fails, and is tried again.
#[derive(Debug)]
pub struct Shards {
    servers: Vec<Server>,
    places: Vec<Place>,
    nowhere: DatabaseConnection,
    replicated: bool,
}

/// A server, and the connections to the shards that it has held while this process ran.
#[derive(Debug)]
struct Server {
    config: PostgresConfig,
    map: DatabaseConnection,
    replicated_map: Option<DatabaseConnection>,
    shards: Vec<OnceCell<Pools>>,
}

#[derive(Debug)]
struct Pools {
    primary: DatabaseConnection,
    replica: DatabaseConnection,
}

/// Where a shard is: its server's number, and the generation that said so. A lower one is out of date.
#[derive(Debug)]
struct Place {
    server: AtomicUsize,
    generation: AtomicI64,
}

/// No server's number.
const NOWHERE: usize = usize::MAX;

impl Shards {
    /// Reads the configuration, and asks the servers what each has.
    pub async fn open(config: &[PostgresConfig]) -> Result<Self, Error> {
        let home = servers(config)?[0];
        let mut nowhere = options(&home.url, 0, 1);
        nowhere.set_schema_search_path(NO_SCHEMA);
        let nowhere = connect(nowhere, 0).await?;
        let mut opened = Vec::with_capacity(config.len());
        for server in config {
            opened.push(Server::open(server).await?);
        }
        let place = || Place { server: AtomicUsize::new(NOWHERE), generation: AtomicI64::new(0) };
        let places = std::iter::repeat_with(place).take(usize::from(COUNT)).collect();
        let replicated = config.iter().any(|server| server.replica_url.is_some());
        let shards = Self { servers: opened, places, nowhere, replicated };
        shards.locate().await?;
        Ok(shards)
    }

    /// Asks all servers which shards they have, and goes by the newest that any has said.
    pub async fn locate(&self) -> Result<(), Error> {
        let answers = join_all(self.servers.iter().map(Server::tenures)).await;
        for shard in 0..COUNT {
            let Some((server, generation)) = map::holder(shard, &answers) else { continue };
            let place = &self.places[usize::from(shard)];
            let same = place.server.load(Ordering::Relaxed) == server;
            if generation < place.generation.load(Ordering::Relaxed) || (same && self.pools(shard).is_some()) {
                continue;
            }
            let there = &self.servers[server];
            let pools = &there.shards[usize::from(shard)];
            pools.get_or_try_init(|| Pools::open(&there.config, shard)).await?;
            place.generation.store(generation, Ordering::Relaxed);
            if place.server.swap(server, Ordering::Relaxed) != NOWHERE {
                tracing::info!(shard, generation, server = %map::address(&there.config.url), "shard.moved");
            }
        }
        Ok(())
    }

    /// Follows moves until the process is to end.
    pub async fn follow(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOCATE_PAUSE)).await.is_some() {
            if let Err(error) = self.locate().await {
                tracing::warn!(%error, "shards.unknown");
            }
        }
    }

    fn pools(&self, shard: u8) -> Option<&Pools> {
        let shard = usize::from(shard % COUNT);
        self.servers.get(self.places[shard].server.load(Ordering::Relaxed))?.shards[shard].get()
    }

    /// Where a shard is written.
    pub fn primary(&self, shard: u8) -> &DatabaseConnection {
        self.pools(shard).map_or(&self.nowhere, |pools| &pools.primary)
    }

    /// Where a shard is read back.
    pub fn replica(&self, shard: u8) -> &DatabaseConnection {
        self.pools(shard).map_or(&self.nowhere, |pools| &pools.replica)
    }

    /// Whether any shard has a replica.
    pub fn replicated(&self) -> bool {
        self.replicated
    }
}

impl Server {
    async fn open(config: &PostgresConfig) -> Result<Self, Error> {
        let map = connect(options(&config.url, 0, 1), 0).await?;
        let replicated_map = match &config.replica_url {
            Some(url) => Some(connect(options(url, 0, 1), 0).await?),
            None => None,
        };
        let shards = std::iter::repeat_with(OnceCell::new).take(usize::from(COUNT)).collect();
        Ok(Self { config: config.clone(), map, replicated_map, shards })
    }

    /// What it says that it has; while the primary is away its replica says what it last said.
    async fn tenures(&self) -> Option<Vec<Tenure>> {
        for db in std::iter::once(&self.map).chain(&self.replicated_map) {
            if let Ok(Ok(tenures)) = tokio::time::timeout(LOCATE_PATIENCE, map::read(db)).await {
                return Some(tenures);
            }
        }
        None
    }
}

impl Pools {
    async fn open(server: &PostgresConfig, shard: u8) -> Result<Self, Error> {
        let replica = server.replica_url.as_deref().unwrap_or(&server.url);
        Ok(Self {
            primary: connect(options(&server.url, shard, CONNECTIONS_MAX), shard).await?,
            replica: connect(options(replica, shard, REPLICA_CONNECTIONS_MAX), shard).await?,
        })
    }
}

async fn connect(options: ConnectOptions, shard: u8) -> Result<DatabaseConnection, Error> {
    Database::connect(options).await.map_err(|source| Error::Address { shard, source })
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
