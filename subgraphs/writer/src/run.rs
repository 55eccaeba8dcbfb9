//! Running the writer until the process is told to end.

use crate::{
    apply::{Applier, Work},
    calibrate, commands,
    dead_letter::DeadLetters,
    decided, lag,
    outbox::Carrier,
    shards::{Lane, Shards},
    warm,
};
use anyhow::Context as _;
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use velvet_kernel::{api::health_routes, config::Config, log::Log, process, store::Store, telemetry};

/// How long what is under way gets to finish when the process ends; the log has the rest.
const DRAIN: Duration = Duration::from_secs(10);

/// What all loops work with.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The shards.
    pub shards: Arc<Shards>,
    /// The log's writing end.
    pub log: Log,
    /// The views; the writer only asks whether they are whole.
    pub store: Store,
    /// Ends the loops.
    pub stop: CancellationToken,
}

impl Parts {
    /// Connects.
    pub async fn connect(config: Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let shards = Arc::new(Shards::open(&config.writer.postgres).await?);
        let log = Log::connect(&config.kafka).context("making the producer")?;
        let store = process::connect_store(&config.redis).await?;
        Ok(Self { config, shards, log, store, stop })
    }

    /// Applies portions by `work`.
    pub fn applier<W: Work>(&self, work: W) -> Applier<W> {
        let dead_letters = DeadLetters::new(self.log.clone(), self.stop.clone());
        Applier { shards: Arc::clone(&self.shards), dead_letters, stop: self.stop.clone(), work }
    }

    /// Empties outboxes.
    pub fn carrier(&self) -> Carrier {
        Carrier { shards: Arc::clone(&self.shards), log: self.log.clone(), stop: self.stop.clone() }
    }
}

/// Runs all loops until SIGTERM or SIGINT, then drains.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = telemetry::start(&config.telemetry, "velvet-writer")?;
    let listen = config.writer.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    tracing::info!(%listen, "start");
    let stop = CancellationToken::new();
    let parts = Arc::new(Parts::connect(config, stop.clone()).await?);
    let mut loops = JoinSet::new();
    for lane in Lane::all(&parts.config.writer.postgres) {
        loops.spawn(decided::run(Arc::clone(&parts), lane.clone()));
        loops.spawn(commands::run(Arc::clone(&parts), lane));
    }
    let located = Arc::clone(&parts);
    loops.spawn(async move { located.shards.follow(&located.stop).await });
    loops.spawn(warm::run(Arc::clone(&parts)));
    loops.spawn(calibrate::run(Arc::clone(&parts)));
    loops.spawn(lag::run(Arc::clone(&parts)));
    let routes = health_routes(telemetry.metrics.clone(), move || lag::ready(Arc::clone(&parts)));
    let ending = stop.clone();
    tokio::spawn(async move {
        process::ended().await;
        tracing::info!("drain");
        ending.cancel();
    });
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await?;
    if tokio::time::timeout(DRAIN, async { while loops.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("drain.incomplete");
    }
    Ok(())
}
