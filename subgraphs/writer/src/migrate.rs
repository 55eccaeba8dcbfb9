//! Bringing all shards to the newest tables.

use crate::shards::{
    self, COUNT,
    map::{self, State, Tenure},
    options, schema,
};
use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr};
use velvet_kernel::config::PostgresConfig;
use velvet_migrations::{Migrator, MigratorTrait as _};

/// Shards that are migrated at the same time.
const SHARDS_AT_ONCE: usize = 8;
/// Two migrations of one shard take turns, and so do migrating and moving it. The lock ends with its connection.
const LOCK: &str = "SELECT pg_advisory_lock(hashtext('velvet-migrate'), $1)";
const TRY_LOCK: &str = "SELECT pg_try_advisory_lock(hashtext('velvet-migrate'), $1)";
/// What stands for a server's map where others stand for shards.
const MAP: i32 = -1;

/// Makes the schemas that are missing and applies to each the migrations that it has not had, where each shard is.
/// Returns how many were applied.
pub async fn run(config: &[PostgresConfig]) -> anyhow::Result<usize> {
    let homes = shards::servers(config)?;
    let answers = try_join_all(config.iter().map(|server| async move {
        let context = || format!("preparing {}", map::address(&server.url));
        prepare(&server.url).await.map(Some).with_context(context)
    }))
    .await?;
    let places = (0..COUNT).zip(homes).map(|(shard, home)| {
        let known = map::newest(shard, &answers) > 0;
        let holder = map::holder(shard, &answers).map(|(server, _)| &config[server]);
        ensure!(holder.is_some() || !known, "shard {shard} is between two servers: run velvet-writer shard move again");
        Ok((shard, holder.unwrap_or(home)))
    });
    let places: Vec<(u8, &PostgresConfig)> = places.collect::<anyhow::Result<_>>()?;
    stream::iter(places.into_iter().map(|(shard, server)| async move {
        migrate(shard, &server.url).await.with_context(|| format!("migrating shard {shard}"))
    }))
    .buffer_unordered(SHARDS_AT_ONCE)
    .try_fold(0, |total, applied| async move { Ok(total + applied) })
    .await
}

/// One connection, so that a lock and what it guards are in one session. A migration takes as long as it takes.
async fn connect(url: &str, shard: u8) -> Result<DatabaseConnection, DbErr> {
    let mut options = options(url, shard, 1);
    options.connect_lazy(false).statement_timeout(std::time::Duration::ZERO);
    Database::connect(options).await
}

/// Makes a server's map, and reads it.
async fn prepare(url: &str) -> anyhow::Result<Vec<Tenure>> {
    let db = connect(url, 0).await?;
    db.execute_unprepared(&LOCK.replace("$1", &MAP.to_string())).await?;
    db.execute_unprepared(map::PREPARE).await?;
    let tenures = map::read(&db).await?;
    db.close().await?;
    Ok(tenures)
}

async fn migrate(shard: u8, url: &str) -> anyhow::Result<usize> {
    let db = connect(url, shard).await?;
    db.execute_unprepared(&LOCK.replace("$1", &shard.to_string())).await?;
    // It may have moved while the lock was waited for.
    let says = map::read(&db).await?.into_iter().find(|tenure| tenure.shard == shard);
    ensure!(says.is_none_or(|tenure| tenure.state != State::Moved), "it has just been moved: run this again");
    db.execute_unprepared(&format!("CREATE SCHEMA IF NOT EXISTS {}", schema(shard))).await?;
    let pending = Migrator::get_pending_migrations(&db).await?.len();
    Migrator::up(&db, None).await?;
    map::claim(&db, shard).await?;
    db.close().await?;
    Ok(pending)
}

/// Keeps migrations and moves of a shard out of a server for as long as this connection lives; false when one is there.
pub async fn try_lock(db: &impl ConnectionTrait, shard: u8) -> Result<bool, DbErr> {
    let sql = TRY_LOCK.replace("$1", &shard.to_string());
    Ok(shards::replication::value(db, &sql).await?.unwrap_or(false))
}
