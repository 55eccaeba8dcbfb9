//! Bringing all shards to the newest tables.

use crate::shards::{self, COUNT, options, schema};
use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sea_orm::{ConnectionTrait as _, Database};
use velvet_kernel::config::PostgresConfig;
use velvet_migrations::{Migrator, MigratorTrait as _};

/// Shards that are migrated at the same time.
const SHARDS_AT_ONCE: usize = 8;
/// Two migrations of one shard take turns. The lock ends with its connection.
const LOCK: &str = "SELECT pg_advisory_lock(hashtext('velvet-migrate'), $1)";

/// Makes the schemas that are missing and applies to each the migrations that it has not had.
/// Returns how many were applied.
pub async fn run(config: &[PostgresConfig]) -> anyhow::Result<usize> {
    let servers = shards::servers(config)?;
    let shards = (0..COUNT).zip(servers);
    stream::iter(shards.map(|(shard, server)| async move {
        migrate(shard, &server.url).await.with_context(|| format!("migrating shard {shard}"))
    }))
    .buffer_unordered(SHARDS_AT_ONCE)
    .try_fold(0, |total, applied| async move { Ok(total + applied) })
    .await
}

async fn migrate(shard: u8, url: &str) -> anyhow::Result<usize> {
    // One connection, so that the lock and what it guards are in one session. A migration takes as long as it takes.
    let mut options = options(url, shard, 1);
    options.connect_lazy(false).statement_timeout(std::time::Duration::ZERO);
    let db = Database::connect(options).await?;
    let lock = LOCK.replace("$1", &shard.to_string());
    db.execute_unprepared(&lock).await?;
    db.execute_unprepared(&format!("CREATE SCHEMA IF NOT EXISTS {}", schema(shard))).await?;
    let pending = Migrator::get_pending_migrations(&db).await?.len();
    Migrator::up(&db, None).await?;
    db.close().await?;
    Ok(pending)
}
