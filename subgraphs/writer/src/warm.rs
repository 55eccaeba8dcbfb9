//! Reading rows back, for views that are cold.
//!
//! Rows go to a topic that only the domain's projector reads, with their versions; merging by version
//! makes their order irrelevant.

use crate::{
    domain::named,
    positions::{self, Place},
    rebuild::Rebuilds,
    retry::{self, Stopped},
    run::Parts,
    shards::{self, Shards},
    table::{Stored, Unfit, page},
};
use futures::{StreamExt as _, stream};
use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, IsolationLevel, TransactionTrait,
};
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use velvet_kernel::{
    fold::Version,
    log::{AppendError, Batch, Consumer, Log, NewEvent, Pace, Recorded, Stage, Topic, partition_of},
    project::{MARKER_KIND, Marker, ROW_KIND, SAMPLE_KIND, WarmRequest, WarmRow},
    telemetry,
    time::{Clock as _, SystemClock, fresh_id},
};

/// All writers are one group, so that each request has one.
const GROUP: &str = "writer.warm";
/// Requests that one read takes.
const BATCH_MAX: usize = 256;
/// How long a read waits for a first request before it looks whether the process is to end.
const READ_WAIT: Duration = Duration::from_millis(200);
/// Requests that are worked on at the same time; each holds a connection of a replica or two.
const REQUESTS_AT_ONCE: usize = 8;
/// Attempts at one request; whoever waits asks again after ten seconds.
const ATTEMPTS_MAX: usize = 3;
/// How long a replica gets to catch up before the primary is read instead.
const CATCH_UP: Duration = Duration::from_millis(500);
const CATCH_UP_PAUSE: Duration = Duration::from_millis(10);
/// Asking the primary how far it is must not hold up reading the replica while the primary is down.
const PRIMARY_PATIENCE: Duration = Duration::from_millis(500);
/// Rows that are read and appended at once.
pub const PAGE: u64 = 2_000;

/// Why nothing was read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database did not do it.
    #[error("reading rows back")]
    Database(#[from] DbErr),
    /// What is stored is not what this version writes.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The log did not take the rows.
    #[error("appending rows")]
    Append(#[from] AppendError),
}

/// A row that was read back, on its way to a domain's projector.
#[derive(Debug)]
pub struct Warmed {
    /// The domain.
    pub domain: &'static str,
    /// The row's event.
    pub event: NewEvent,
}

impl Warmed {
    /// A row of `entity` in `domain`.
    pub fn new<R: Serialize>(domain: &'static str, entity: String, version: Version, row: R) -> Self {
        let event = NewEvent::new(fresh_id(), ROW_KIND, entity, SystemClock.now(), &WarmRow { row });
        Self { domain, event: event.caused_by(version) }
    }
}

impl Warmed {
    /// The same row as one of a sample.
    #[must_use]
    pub fn sampled(mut self) -> Self {
        SAMPLE_KIND.clone_into(&mut self.event.kind);
        self
    }
}

/// Appends rows.
pub async fn append(log: &Log, rows: &[Warmed]) -> Result<(), AppendError> {
    let events: Vec<(Topic, &NewEvent)> =
        rows.iter().map(|row| (Topic::of(row.domain, Stage::Warm), &row.event)).collect();
    log.append_all(events.iter().map(|(topic, event)| (topic, *event))).await?;
    Ok(())
}

/// Opens what warm-ups read from.
pub struct Reads {
    /// The shards.
    pub shards: Arc<Shards>,
    /// Partitions of each topic.
    pub partitions: i32,
}

impl Reads {
    /// A snapshot of the owner's shard, of the replica if that has what the primary has of this owner.
    pub async fn open(&self, domain: &str, owner: &str) -> Result<DatabaseTransaction, DbErr> {
        let shard = shards::of_key(owner);
        let topic = Topic::of(domain, Stage::Decided).0;
        let place = Place { topic, partition: partition_of(owner, self.partitions) };
        let needed = self.written(shard, &place).await;
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let snapshot = snapshot(self.shards.replica(shard)).await?;
            if needed <= positions::read(&snapshot).await?.get(&place).copied().unwrap_or(0) {
                return Ok(snapshot);
            }
            snapshot.rollback().await?;
            if Instant::now() >= deadline {
                metrics::counter!("velvet_writer_warm_from_primary_total").increment(1);
                return self::snapshot(self.shards.primary(shard)).await;
            }
            tokio::time::sleep(CATCH_UP_PAUSE).await;
        }
    }

    /// How far the primary is; 0 when it does not say, as old rows are better than none.
    async fn written(&self, shard: u8, place: &Place) -> i64 {
        if !self.shards.replicated() {
            return 0;
        }
        let read = positions::read(self.shards.primary(shard));
        match tokio::time::timeout(PRIMARY_PATIENCE, read).await {
            Ok(Ok(positions)) => positions.get(place).copied().unwrap_or(0),
            Ok(Err(_)) | Err(_) => 0,
        }
    }
}

async fn snapshot(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    db.begin_with_config(Some(IsolationLevel::RepeatableRead), Some(AccessMode::ReadOnly)).await
}

/// One shard on its way to the projectors, page by page.
pub struct Dump<'a> {
    /// Where the shard is read.
    pub db: &'a DatabaseConnection,
    /// Where rows go.
    pub log: &'a Log,
    /// Rows that have gone there.
    pub sent: &'a AtomicU64,
    /// Ends it.
    pub stop: &'a CancellationToken,
}

impl Dump<'_> {
    /// Reads a whole table.
    pub async fn table<M: Stored>(&self, convert: fn(M) -> Result<Vec<Warmed>, Unfit>) -> Result<(), Stopped>
    where
        M::Entity: EntityTrait<Model = M>,
    {
        let mut last: Option<M> = None;
        loop {
            let rows: Vec<M> = self.read(|| page(self.db, last.as_ref(), PAGE)).await?;
            last = rows.last().cloned();
            let full = rows.len() as u64 == PAGE;
            self.put(rows.into_iter().map(convert)).await?;
            if !full {
                return Ok(());
            }
        }
    }

    /// Reads until it succeeds: a replica may end any query to keep up with its primary.
    pub async fn read<T, R: Future<Output = Result<T, DbErr>>>(&self, read: impl FnMut() -> R) -> Result<T, Stopped> {
        retry::until_done("dump", self.stop, read).await
    }

    /// Appends rows, a page at a time, and waits for each page: that bounds what is in flight.
    pub async fn put(&self, rows: impl Iterator<Item = Result<Vec<Warmed>, Unfit>>) -> Result<(), Stopped> {
        let mut events = Vec::new();
        for row in rows {
            match row {
                Ok(row) => events.extend(row),
                Err(error) => {
                    tracing::error!(error = %telemetry::chain(&error), "dump.unfit");
                    metrics::counter!("velvet_writer_unfit_rows_total").increment(1);
                }
            }
        }
        let at_once = usize::try_from(PAGE).unwrap_or(usize::MAX);
        for chunk in events.chunks(at_once) {
            retry::until_done("dump", self.stop, || append(self.log, chunk)).await?;
            self.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            metrics::counter!("velvet_writer_warm_rows_total").increment(chunk.len() as u64);
        }
        Ok(())
    }
}

/// Answers requests until the process is to end.
pub async fn run(parts: Arc<Parts>) {
    let reads = Reads { shards: Arc::clone(&parts.shards), partitions: parts.config.kafka.partitions };
    let rebuilds = Rebuilds::start(&parts);
    while !parts.stop.is_cancelled() {
        if let Err(error) = session(&parts, &reads, &rebuilds).await {
            tracing::warn!(%error, "warm.session_failed");
            parts.stop.run_until_cancelled(tokio::time::sleep(READ_WAIT)).await;
        }
    }
}

async fn session(parts: &Parts, reads: &Reads, rebuilds: &Rebuilds) -> anyhow::Result<()> {
    let consumer = Consumer::join(&parts.config.kafka, GROUP, &[Topic::warmup_requests()], Pace::AtOnce)?;
    // While a rebuild runs, nothing is committed: if this process dies, the next one finds the request again.
    let mut held = Batch::default();
    while !parts.stop.is_cancelled() {
        let mut batch = consumer.read(BATCH_MAX, READ_WAIT).await?;
        let events = std::mem::take(&mut batch.events);
        held.absorb(batch);
        let requests: Vec<WarmRequest> = events.iter().filter_map(request_of).collect();
        if let Some(WarmRequest::Rebuild { id }) =
            requests.iter().rev().find(|request| matches!(request, WarmRequest::Rebuild { .. }))
        {
            rebuilds.ask(*id);
        }
        stream::iter(requests).for_each_concurrent(REQUESTS_AT_ONCE, |request| answer(parts, reads, request)).await;
        if !held.is_empty() && !rebuilds.running() {
            consumer.commit(&held)?;
            held = Batch::default();
        }
    }
    Ok(())
}

fn request_of(event: &Recorded) -> Option<WarmRequest> {
    match event.parse() {
        Ok(request) => Some(request),
        Err(error) => {
            tracing::error!(error = %telemetry::chain(&error), "warm.malformed");
            None
        }
    }
}

async fn answer(parts: &Parts, reads: &Reads, request: WarmRequest) {
    let WarmRequest::Entity { domain, entity, scope, token } = request else { return };
    let mut backoff = retry::Backoff::default();
    for _ in 0..ATTEMPTS_MAX {
        match warm(parts, reads, &domain, &entity, &scope, token).await {
            Ok(()) => return,
            Err(error) => retry::note("warm", &error),
        }
        if backoff.pause(&parts.stop).await.is_err() {
            return;
        }
    }
}

async fn warm(
    parts: &Parts,
    reads: &Reads,
    domain: &str,
    entity: &str,
    scope: &str,
    token: Uuid,
) -> Result<(), LoadError> {
    let Some(domain) = named(domain) else {
        tracing::error!(domain, "warm.unknown_domain");
        return Ok(());
    };
    let mut rows = domain.load(reads, entity, scope).await?;
    metrics::counter!("velvet_writer_warm_rows_total").increment(rows.len() as u64);
    let marker = Marker { id: token, of: 0 };
    let event = NewEvent::new(fresh_id(), MARKER_KIND, entity, SystemClock.now(), &marker);
    // Under the entity's key, so that it comes after the rows.
    rows.push(Warmed { domain: domain.name(), event: event.caused_by(Version::default()) });
    append(&parts.log, &rows).await?;
    metrics::counter!("velvet_writer_warmups_total", "domain" => domain.name()).increment(1);
    Ok(())
}
