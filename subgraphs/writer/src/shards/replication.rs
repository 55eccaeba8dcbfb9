//! Copying a shard from a running server to another, by PostgreSQL's own logical replication: a snapshot first, then all
//! that is committed meanwhile, so that moving takes as long as it takes while holding the shard takes a moment.

use super::{map::statement, schema};
use anyhow::{Context as _, bail};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, QueryResult};
use std::time::Duration;
use tokio::time::Instant;

/// How often the copy is looked at.
const PAUSE: Duration = Duration::from_millis(200);
/// Which migrations a schema has had; each server notes its own.
const MIGRATIONS: &str = "seaql_migrations";

/// The name of a shard's publication, subscription and slot.
pub fn name(shard: u8) -> String {
    format!("velvet_{}", schema(shard))
}

/// The single value of a single row.
pub async fn value<T: sea_orm::TryGetable>(db: &impl ConnectionTrait, sql: &str) -> Result<Option<T>, DbErr> {
    let row: Option<QueryResult> = db.query_one_raw(statement(sql, [])).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}

/// The values of the first column.
pub async fn column(db: &impl ConnectionTrait, sql: &str) -> Result<Vec<String>, DbErr> {
    let rows = db.query_all_raw(statement(sql, [])).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// Begins: the source says what it has, the target asks for it. The target's tables must be there, and empty.
pub async fn begin(source: (&DatabaseConnection, &str), target: &DatabaseConnection, shard: u8) -> anyhow::Result<()> {
    let (source, source_url) = source;
    let level: Option<String> = value(source, "SELECT current_setting('wal_level')").await?;
    if level.as_deref() != Some("logical") {
        bail!("the server that holds the shard must run with wal_level = logical (it has {level:?})");
    }
    let (name, schema) = (name(shard), schema(shard));
    let tables = column(
        source,
        &format!("SELECT tablename::text FROM pg_tables WHERE schemaname = '{schema}' AND tablename <> '{MIGRATIONS}'"),
    )
    .await?;
    let tables: Vec<String> = tables.into_iter().map(|table| format!("{schema}.{table}")).collect();
    let publish = format!("CREATE PUBLICATION {name} FOR TABLE {}", tables.join(", "));
    source.execute_unprepared(&publish).await.context("publishing the shard's tables")?;
    let subscribe = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION {name} WITH (synchronous_commit = on)",
        source_url.replace('\'', "''")
    );
    target.execute_unprepared(&subscribe).await.context("having the target subscribe to the source")?;
    Ok(())
}

/// Waits until all tables have been copied and only what changes is still on its way.
pub async fn copied(target: &DatabaseConnection, shard: u8, timeout: Duration) -> anyhow::Result<()> {
    let started = Instant::now();
    let left = format!(
        "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r' \
         AND srsubid = (SELECT oid FROM pg_subscription WHERE subname = '{}' AND subdbid = \
            (SELECT oid FROM pg_database WHERE datname = current_database()))",
        name(shard)
    );
    let mut told = None;
    loop {
        let tables: i64 = value(target, &left).await?.unwrap_or_default();
        if tables == 0 {
            return Ok(());
        }
        if told != Some(tables) {
            println!("{tables} tables are being copied");
            told = Some(tables);
        }
        if started.elapsed() >= timeout {
            bail!("the copy was not through within {} s; the target's log may say why", timeout.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the target has all that was committed up to a place in the source's log.
pub async fn has(source: &impl ConnectionTrait, shard: u8, place: &str) -> Result<bool, DbErr> {
    let sql = format!(
        "SELECT confirmed_flush_lsn >= '{place}'::pg_lsn FROM pg_replication_slots WHERE slot_name = '{}'",
        name(shard)
    );
    Ok(value(source, &sql).await?.unwrap_or(false))
}

/// The place in the source's log after all that is committed now.
pub async fn end(source: &impl ConnectionTrait) -> Result<String, DbErr> {
    // A commit of its own has all flushed that was committed without waiting for the disk.
    value::<String>(source, "SELECT pg_current_xact_id()::text").await?;
    Ok(value(source, "SELECT pg_current_wal_flush_lsn()::text").await?.unwrap_or_default())
}

/// Numbers that are given out by sequences go on where the source's stand.
pub async fn set_sequences(
    source: &impl ConnectionTrait,
    target: &DatabaseConnection,
    shard: u8,
) -> anyhow::Result<()> {
    let schema = schema(shard);
    let sql = format!("SELECT sequencename::text FROM pg_sequences WHERE schemaname = '{schema}'");
    for sequence in column(source, &sql).await? {
        let last: Option<i64> = value(source, &format!("SELECT last_value FROM {schema}.{sequence}")).await?;
        let set = format!("SELECT setval('{schema}.{sequence}', {})", last.unwrap_or(1));
        value::<i64>(target, &set).await.with_context(|| format!("setting {sequence}"))?;
    }
    Ok(())
}

/// Ends the subscription of a shard on a server, if there is one.
pub async fn unsubscribe(target: &DatabaseConnection, shard: u8) -> Result<(), DbErr> {
    let name = name(shard);
    let there = format!(
        "SELECT count(*) FROM pg_subscription WHERE subname = '{name}' AND subdbid = \
         (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    if value::<i64>(target, &there).await? != Some(1) {
        return Ok(());
    }
    if target.execute_unprepared(&format!("DROP SUBSCRIPTION {name}")).await.is_ok() {
        return Ok(());
    }
    // The slot at the source is gone already, or the source is.
    for step in ["DISABLE", "SET (slot_name = NONE)"] {
        target.execute_unprepared(&format!("ALTER SUBSCRIPTION {name} {step}")).await?;
    }
    target.execute_unprepared(&format!("DROP SUBSCRIPTION {name}")).await.map(drop)
}

/// Ends what a shard's publication left on a server, if anything.
pub async fn unpublish(source: &DatabaseConnection, shard: u8) -> Result<(), DbErr> {
    let name = name(shard);
    source.execute_unprepared(&format!("DROP PUBLICATION IF EXISTS {name}")).await?;
    let drop_slot = format!(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}' AND NOT active"
    );
    source.execute_unprepared(&drop_slot).await.map(drop)
}
