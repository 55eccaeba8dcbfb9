//! Taking things out of Redis that would go by themselves one day.

use anyhow::{Context, Result};
use velvet_kit::{Handle, servers::redis::open_url};

/// Deletes all keys of a pattern; how many there were.
pub async fn delete_matching(stack: &Handle, pattern: &str) -> Result<usize> {
    let mut deleted = 0;
    for url in &stack.info.redis_urls {
        let mut connection = open_url(url).await?;
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.context("listing keys")?;
        for key in keys {
            deleted += 1;
            let _: i64 = redis::cmd("DEL").arg(key).query_async(&mut connection).await.context("deleting a key")?;
        }
    }
    Ok(deleted)
}

/// A field of one of the hashes that the router reads, from whichever master has it.
pub async fn registered(stack: &Handle, hash: &str, field: &str) -> Result<Option<serde_json::Value>> {
    let key = format!("accounts:{hash}:{{registry}}");
    let json: Option<String> = ask_owner(stack, redis::cmd("HGET").arg(key).arg(field)).await?;
    json.map(|json| serde_json::from_str(&json).context("reading a field of the registry")).transpose()
}

/// A field of a hash of JSON, from whichever master has it.
pub async fn hash_field(stack: &Handle, key: &str, field: &str) -> Result<Option<serde_json::Value>> {
    let json: Option<String> = ask_owner(stack, redis::cmd("HGET").arg(key).arg(field)).await?;
    json.map(|json| serde_json::from_str(&json).context("reading a field of a hash")).transpose()
}

/// The fields that the stream of changes names, oldest first: kind and field.
pub async fn registry_changes(stack: &Handle) -> Result<Vec<(String, String)>> {
    type Entries = Vec<(String, Vec<(String, String)>)>;
    let key = "accounts:registry_changes:{registry}";
    let entries: Entries = ask_owner(stack, redis::cmd("XRANGE").arg(key).arg("-").arg("+")).await?;
    let value = |fields: &[(String, String)], name: &str| {
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    Ok(entries.iter().map(|(_, fields)| (value(fields, "kind"), value(fields, "field"))).collect())
}

async fn ask_owner<T: redis::FromRedisValue>(stack: &Handle, command: &redis::Cmd) -> Result<T> {
    for url in &stack.info.redis_urls {
        let mut connection = open_url(url).await?;
        match command.query_async(&mut connection).await {
            Ok(answer) => return Ok(answer),
            // Another master has the key's slot.
            Err(error) if error.code() == Some("MOVED") => {}
            Err(error) => return Err(error).context("asking Redis"),
        }
    }
    anyhow::bail!("no master has the key")
}
