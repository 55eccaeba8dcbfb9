//! PostgreSQL's own multi-row `INSERT`, with the very rows that the writer has stored, shard by shard as it does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use velvet_kit::Database;

use super::copy::Copied;

const SCRATCH: &str = "velvet_load_insert";
/// Rows of one statement, which is one transaction.
const ROWS: u32 = 1_000;
const COLUMNS: [&str; 11] = [
    "conversation_id",
    "position",
    "message_id",
    "event_id",
    "client_id",
    "sender_id",
    "body",
    "sent_at",
    "edited_at",
    "deleted",
    "version",
];

/// Inserts up to `rows` messages of each of these shards into a table of the same columns, keys and indexes, all
/// shards side by side. Without the start of `psql` itself.
pub async fn measure(database: &Database, folder: &Path, shards: &[String], rows: u64) -> Result<Copied> {
    let files: Vec<PathBuf> = shards.iter().map(|shard| folder.join(format!("velvet-load.{shard}.sql"))).collect();
    let measured = insert(database, &files, shards, rows).await;
    // All of it is only in the way from here on, and goes with the stack's folder at the latest.
    let _ = database.execute(&format!("DROP SCHEMA IF EXISTS {SCRATCH} CASCADE")).await;
    for file in &files {
        let _ = std::fs::remove_file(file);
    }
    measured
}

async fn insert(database: &Database, files: &[PathBuf], shards: &[String], rows: u64) -> Result<Copied> {
    database.execute(&format!("DROP SCHEMA IF EXISTS {SCRATCH} CASCADE; CREATE SCHEMA {SCRATCH}")).await?;
    for (shard, file) in shards.iter().zip(files) {
        let like = format!("CREATE TABLE {SCRATCH}.{shard} (LIKE {shard}.messages INCLUDING ALL)");
        database.execute(&like).await?;
        database.execute(&format!("\\copy ({}) TO '{}'", statements(shard, rows), file.display())).await?;
    }
    let nothing = Instant::now();
    try_join_all(shards.iter().map(|_| database.execute("SELECT 1"))).await?;
    let start_of_psql = nothing.elapsed();
    let started = Instant::now();
    let commands: Vec<String> = files.iter().map(|file| format!("\\i {}", file.display())).collect();
    try_join_all(commands.iter().map(|command| database.execute(command))).await?;
    let took = started.elapsed().saturating_sub(start_of_psql).max(Duration::from_millis(1));
    let counts = shards.iter().map(|shard| format!("SELECT count(*) AS n FROM {SCRATCH}.{shard}"));
    let counts = counts.collect::<Vec<_>>().join(" UNION ALL ");
    let count = database.value(&format!("SELECT sum(n)::bigint AS n FROM ({counts}) AS counts")).await?;
    Ok(Copied { rows: count.as_u64().unwrap_or_default(), took })
}

/// A query of statements that insert a shard's messages.
fn statements(shard: &str, rows: u64) -> String {
    let columns = COLUMNS.join(", ");
    let slots = vec!["%L"; COLUMNS.len()].join(", ");
    format!(
        "SELECT 'INSERT INTO {SCRATCH}.{shard} ({columns}) VALUES ' || string_agg(format('({slots})', {columns}), ',') || ';' \
         FROM (SELECT *, (row_number() OVER ()) / {ROWS} AS chunk FROM {shard}.messages LIMIT {rows}) AS m GROUP BY chunk"
    )
}
