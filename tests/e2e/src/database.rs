//! Looking into PostgreSQL, where everything that was decided ends up.

use anyhow::{Context, Result};
use velvet_kit::Handle;

/// The shards of the two servers that tests run on.
const SHARDS: u8 = 16;

/// Runs a query in each shard, as `{shard}` in its text, and gathers the rows.
pub async fn everywhere(stack: &Handle, query: &str) -> Result<Vec<serde_json::Value>> {
    let servers = u8::try_from(stack.info.postgres.len()).context("a few servers")?;
    let mut rows = Vec::new();
    for shard in 0..SHARDS {
        let server = usize::from(shard * servers / SHARDS);
        let text = query.replace("{shard}", &format!("shard_{shard:02}"));
        rows.extend(stack.database(server)?.query(&text).await?);
    }
    Ok(rows)
}

/// The messages of a conversation: position and body, in order.
pub async fn messages(stack: &Handle, conversation: &str) -> Result<Vec<(i64, String)>> {
    let query = format!("SELECT position, body FROM {{shard}}.messages WHERE conversation_id = '{conversation}'");
    let mut rows: Vec<(i64, String)> = everywhere(stack, &query)
        .await?
        .iter()
        .map(|row| (row["position"].as_i64().unwrap_or(-1), row["body"].as_str().unwrap_or_default().to_owned()))
        .collect();
    rows.sort();
    Ok(rows)
}
