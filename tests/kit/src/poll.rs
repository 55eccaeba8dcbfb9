//! Waiting for a condition, always with a bound.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// Short enough not to be felt, long enough not to load a small machine.
pub const PAUSE: Duration = Duration::from_millis(25);

/// Calls `check` until it answers `Ok`, for at most `within`; fails with `what` and the last cause.
pub async fn until<T, F, Fut>(what: &str, within: Duration, mut check: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let started = Instant::now();
    let mut last = anyhow!("never asked");
    while let Some(left) = within.checked_sub(started.elapsed()) {
        match tokio::time::timeout(left, check()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(cause)) => last = cause,
            Err(_) => break,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last.context(format!("{what}: not within {} s", within.as_secs_f32())))
}
