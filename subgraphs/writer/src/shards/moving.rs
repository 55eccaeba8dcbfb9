//! Moving a shard from one server to another while everything runs.

use super::{
    fence::{Ends, left_behind},
    map::{self, State, Tenure},
    options, replication, schema,
};
use crate::migrate;
use anyhow::{Context as _, bail, ensure};
use futures::future::try_join_all;
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use std::time::Duration;
use tokio::time::Instant;
use velvet_kernel::config::PostgresConfig;
use velvet_migrations::{Migrator, MigratorTrait as _};

/// Attempts at the switch; a writer that froze within a transaction lets go after fifteen seconds.
const ATTEMPTS_MAX: usize = 30;
/// Between two attempts, so that whoever waited behind the first has its turn.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);
/// How long a move waits for a migration or a move to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Longer than any move; a connection that holds a lock must not be replaced.
const SESSION: Duration = Duration::from_hours(7 * 24);

/// The servers as they are now: all of them must answer.
struct Servers {
    addresses: Vec<String>,
    urls: Vec<String>,
    sessions: Vec<DatabaseConnection>,
    answers: Vec<Option<Vec<Tenure>>>,
}

/// One connection that lasts, for statements that take as long as they take.
async fn session(url: &str, shard: u8) -> anyhow::Result<DatabaseConnection> {
    let mut options = options(url, shard, 1);
    options.connect_lazy(false).statement_timeout(Duration::ZERO).idle_timeout(SESSION).max_lifetime(SESSION);
    Database::connect(options).await.with_context(|| format!("connecting to {}", map::address(url)))
}

impl Servers {
    async fn open(config: &[PostgresConfig], shard: u8) -> anyhow::Result<Self> {
        let sessions = try_join_all(config.iter().map(|server| session(&server.url, shard))).await?;
        let mut servers = Self {
            addresses: config.iter().map(|server| map::address(&server.url)).collect(),
            urls: config.iter().map(|server| server.url.clone()).collect(),
            sessions,
            answers: Vec::new(),
        };
        servers.ask().await?;
        Ok(servers)
    }

    async fn ask(&mut self) -> anyhow::Result<()> {
        self.answers.clear();
        for (db, address) in self.sessions.iter().zip(&self.addresses) {
            let said = map::read(db).await;
            self.answers.push(Some(said.with_context(|| format!("{address} has no map: run velvet-writer migrate"))?));
        }
        Ok(())
    }

    fn named(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.addresses.iter().position(|address| address == name);
        found.with_context(|| format!("writer.postgres names no {name}, only {}", self.addresses.join(", ")))
    }

    fn says(&self, server: usize, shard: u8) -> Option<Tenure> {
        self.answers[server].iter().flatten().find(|tenure| tenure.shard == shard).copied()
    }

    fn holder(&self, shard: u8) -> anyhow::Result<usize> {
        let found = map::holder(shard, &self.answers).map(|(server, _)| server);
        found.with_context(|| format!("no server says that it has shard {shard}: run velvet-writer migrate"))
    }
}

/// Says where each shard is.
pub async fn list(config: &[PostgresConfig]) -> anyhow::Result<()> {
    let servers = Servers::open(config, 0).await?;
    for shard in map::all() {
        let (server, generation) = map::holder(shard, &servers.answers).context("a shard that no server has")?;
        let copies = copies(&servers, shard).await?;
        let copies = copies.into_iter().map(|(server, copy)| format!("  {copy} on {}", servers.addresses[server]));
        println!("{shard:>2}  {}  generation {generation}{}", servers.addresses[server], copies.collect::<String>());
    }
    Ok(())
}

/// Moves a shard to the server of this address. Run again after a crash, it goes on or begins anew, as needed.
pub async fn run(config: &[PostgresConfig], shard: u8, to: &str, timeout: Duration) -> anyhow::Result<()> {
    ensure!(map::all().contains(&shard), "there is no shard {shard}; they are 0 to 15");
    let mut servers = Servers::open(config, shard).await?;
    let target = servers.named(to)?;
    for (db, address) in servers.sessions.iter().zip(&servers.addresses) {
        lock(db, shard).await.with_context(|| format!("having shard {shard} on {address}"))?;
    }
    // With the locks, so that nothing changes any more.
    servers.ask().await?;
    let source = servers.holder(shard)?;
    if source == target {
        settle(&servers, shard, target).await?;
        println!("shard {shard} is on {to}");
        return Ok(());
    }
    let generation = map::newest(shard, &servers.answers) + 1;
    remove_unfinished(&servers, shard, source).await?;
    println!("copying shard {shard} from {} to {to}", servers.addresses[source]);
    copy(&servers, shard, (source, target), generation, timeout).await?;
    let watch = session(&config[source].url, shard).await?;
    let (source, target_db) = (&servers.sessions[source], &servers.sessions[target]);
    let held = switch(&Ends { source, watch: &watch, target: target_db, shard, generation }).await?;
    servers.ask().await?;
    settle(&servers, shard, target).await?;
    let left = left_behind(shard, generation);
    println!("shard {shard} is on {to}; it was held for {} ms; what stays behind is {left}", held.as_millis());
    Ok(())
}

/// Keeps migrations and other moves out; one that was killed may be there for another moment.
async fn lock(db: &DatabaseConnection, shard: u8) -> anyhow::Result<()> {
    let started = Instant::now();
    while !migrate::try_lock(db, shard).await? {
        ensure!(started.elapsed() < LOCK_PATIENCE, "it is being migrated or moved");
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(())
}

async fn copy(
    servers: &Servers,
    shard: u8,
    (source, target): (usize, usize),
    generation: i64,
    timeout: Duration,
) -> anyhow::Result<()> {
    let (from, to) = (&servers.sessions[source], &servers.sessions[target]);
    let pending = Migrator::get_pending_migrations(from).await.context("asking for the shard's migrations")?;
    ensure!(pending.is_empty(), "shard {shard} lacks migrations: run velvet-writer migrate first");
    map::note(to, Tenure { shard, state: State::Incoming, generation }).await?;
    to.execute_unprepared(&format!("CREATE SCHEMA {}", schema(shard))).await.context("making the schema")?;
    Migrator::up(to, None).await.context("making the tables")?;
    replication::begin((from, &servers.urls[source]), to, shard).await?;
    replication::copied(to, shard, timeout).await?;
    let tables = format!("SELECT tablename::text FROM pg_tables WHERE schemaname = '{}'", schema(shard));
    for table in replication::column(to, &tables).await? {
        to.execute_unprepared(&format!("ANALYZE {}.{table}", schema(shard))).await?;
    }
    println!("copied");
    Ok(())
}

async fn switch(ends: &Ends<'_>) -> anyhow::Result<Duration> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(held) = ends.attempt().await? {
            return Ok(held);
        }
        tokio::time::sleep(ATTEMPT_PAUSE).await;
    }
    bail!(
        "the shard could not be had in {ATTEMPTS_MAX} attempts; it stays where it was, and the same command tries again"
    )
}

/// After the switch: the holder says so itself, and what copied the shard is taken down.
async fn settle(servers: &Servers, shard: u8, holder: usize) -> anyhow::Result<()> {
    let db = &servers.sessions[holder];
    if let Some(tenure) = servers.says(holder, shard)
        && tenure.state == State::Incoming
    {
        map::note(db, Tenure { state: State::Held, ..tenure }).await.context("noting who has the shard")?;
    }
    replication::unsubscribe(db, shard).await.context("ending the copy")?;
    for other in &servers.sessions {
        replication::unpublish(other, shard).await.context("ending the publication")?;
    }
    Ok(())
}

/// Removes what moves have left that did not come to their switch.
async fn remove_unfinished(servers: &Servers, shard: u8, holder: usize) -> anyhow::Result<()> {
    for (server, db) in servers.sessions.iter().enumerate().filter(|(server, _)| *server != holder) {
        replication::unsubscribe(db, shard).await.context("ending an unfinished copy")?;
        // What is no copy of a move is nobody's to drop.
        if servers.says(server, shard).is_some_and(|tenure| tenure.state == State::Incoming) {
            db.execute_unprepared(&format!("DROP SCHEMA IF EXISTS {} CASCADE", schema(shard))).await?;
            map::forget(db, shard).await?;
        }
    }
    replication::unpublish(&servers.sessions[holder], shard).await.context("ending an unfinished publication")
}

/// The copies of a shard that have stayed behind: the server's place, and the schema.
async fn copies(servers: &Servers, shard: u8) -> anyhow::Result<Vec<(usize, String)>> {
    let like = left_behind(shard, 0).trim_end_matches('0').replace('_', "\\_");
    let sql = format!("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE '{like}%' ORDER BY 1");
    let mut copies = Vec::new();
    for (server, db) in servers.sessions.iter().enumerate() {
        copies.extend(replication::column(db, &sql).await?.into_iter().map(|copy| (server, copy)));
    }
    Ok(copies)
}

/// Drops what has stayed behind of a shard, wherever it was before.
pub async fn drop_old(config: &[PostgresConfig], shard: u8) -> anyhow::Result<()> {
    ensure!(map::all().contains(&shard), "there is no shard {shard}; they are 0 to 15");
    let servers = Servers::open(config, shard).await?;
    let holder = servers.holder(shard)?;
    let settled = servers.says(holder, shard).is_some_and(|tenure| tenure.state == State::Held);
    ensure!(settled, "the move of shard {shard} has not ended: run shard move again");
    for (server, copy) in copies(&servers, shard).await? {
        servers.sessions[server].execute_unprepared(&format!("DROP SCHEMA {copy} CASCADE")).await?;
        println!("dropped {copy} on {}", servers.addresses[server]);
    }
    Ok(())
}
