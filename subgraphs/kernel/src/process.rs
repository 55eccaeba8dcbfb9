//! What every process of ours does at its start and its end.

use crate::{config::RedisConfig, store::Store, telemetry};
use anyhow::Context as _;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long starting waits for Redis before it gives up; whoever supervises then starts it again.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Connects to Redis, waiting for it a while.
pub async fn connect_store(config: &RedisConfig) -> anyhow::Result<Store> {
    let connected = tokio::time::timeout(CONNECT_PATIENCE, async {
        loop {
            match Store::connect(config).await {
                Ok(store) => return store,
                Err(error) => tracing::warn!(error = %telemetry::chain(&error), "start.redis_unavailable"),
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    });
    connected.await.context("Redis did not answer in time")
}

/// Waits until the process is told to end: SIGTERM or SIGINT.
pub async fn ended() {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
