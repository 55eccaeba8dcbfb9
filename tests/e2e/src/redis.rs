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
