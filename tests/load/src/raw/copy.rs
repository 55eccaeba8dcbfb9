//! PostgreSQL's own `COPY`, with the very rows that the writer has stored.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use velvet_kit::Database;

const SCRATCH: &str = "velvet_load";

/// How many rows, and in what time.
pub struct Copied {
    pub rows: u64,
    pub took: Duration,
}

/// Writes up to `rows` messages of these shards to a file and copies them from there into a table of
/// the same columns, keys and indexes, in one transaction. Without the start of `psql` itself.
pub async fn measure(database: &Database, file: &std::path::Path, shards: &[String], rows: u64) -> Result<Copied> {
    let file_name = file.display();
    let messages: Vec<String> = shards.iter().map(|shard| format!("SELECT * FROM {shard}.messages")).collect();
    let first = shards.first().context("no shard")?;
    let prepared = async {
        database.execute(&format!("DROP SCHEMA IF EXISTS {SCRATCH} CASCADE; CREATE SCHEMA {SCRATCH}")).await?;
        let like = format!("CREATE TABLE {SCRATCH}.messages (LIKE {first}.messages INCLUDING ALL)");
        database.execute(&like).await?;
        let source = format!("SELECT * FROM ({}) m LIMIT {rows}", messages.join(" UNION ALL "));
        database.execute(&format!("\\copy ({source}) TO '{file_name}'")).await?;
        let nothing = Instant::now();
        database.execute("SELECT 1").await?;
        let start_of_psql = nothing.elapsed();
        let started = Instant::now();
        database.execute(&format!("\\copy {SCRATCH}.messages FROM '{file_name}'")).await?;
        let took = started.elapsed().saturating_sub(start_of_psql);
        let count = database.value(&format!("SELECT count(*) FROM {SCRATCH}.messages")).await?;
        Ok(Copied { rows: count.as_u64().unwrap_or_default(), took })
    };
    let copied = prepared.await;
    // Both are only in the way from here on, and go with the stack's folder at the latest.
    let _ = database.execute(&format!("DROP SCHEMA IF EXISTS {SCRATCH} CASCADE")).await;
    let _ = std::fs::remove_file(file);
    copied
}
