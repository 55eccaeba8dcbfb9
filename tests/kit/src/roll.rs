//! Restarting what is ours, one after the other: each is asked to end as an orchestrator asks, and the next one has its
//! turn when this one is ready again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::handle::Handle;

/// In which order: nobody waits for what is restarted after him.
const ROLES: [&str; 3] = ["writer", "api", "router"];
/// Balancers look that often, and so long a process that is back has no new connections.
const NOTICED: Duration = Duration::from_secs(1);

/// One restart.
#[derive(Debug)]
pub struct Rolled {
    pub part: String,
    /// From being asked to end to being ready again.
    pub took: Duration,
}

/// Restarts every writer, API and router of a stack in turn, and tells of each.
pub async fn roll(stack: &Handle, mut tell: impl FnMut(&Rolled)) -> Result<Vec<Rolled>> {
    let mut rolled = Vec::new();
    for role in ROLES {
        for part in stack
            .info
            .parts
            .iter()
            .filter(|part| part.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()) == role)
        {
            let since = Instant::now();
            stack.part(part).restart().await.with_context(|| format!("restarting {part}"))?;
            let done = Rolled { part: part.clone(), took: since.elapsed() };
            tell(&done);
            rolled.push(done);
            tokio::time::sleep(NOTICED).await;
        }
    }
    Ok(rolled)
}
