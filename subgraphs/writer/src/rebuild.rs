//! Reading everything back: Redis has lost its content, and the projectors wait for all rows.

use crate::{
    decided,
    domain::DOMAINS,
    positions::{self, Place},
    retry::{self, Stopped},
    run::Parts,
    shards::COUNT,
    warm::Dump,
};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use velvet_kernel::{
    fold::Version,
    log::{NewEvent, Stage, Topic, end_offsets, shard_of_partition},
    project::{MARKER_KIND, Marker},
    time::{Clock as _, SystemClock, derived_id},
};

/// Shards that are read at the same time; two cores are busy with three.
const SHARDS_AT_ONCE: usize = 3;
/// How often the replica is asked how far it is.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);
/// How often progress is told.
const PROGRESS_PAUSE: Duration = Duration::from_secs(5);

/// Runs the newest rebuild that was asked for.
pub struct Rebuilds {
    asked: watch::Sender<Option<Uuid>>,
    running: Arc<AtomicBool>,
}

impl Rebuilds {
    /// Waits for requests beside the loop that reads them.
    pub fn start(parts: &Arc<Parts>) -> Self {
        let (asked, requests) = watch::channel(None);
        let running = Arc::new(AtomicBool::new(false));
        tokio::spawn(follow(Arc::clone(parts), requests, Arc::clone(&running)));
        Self { asked, running }
    }

    /// Asks for a rebuild; a newer one replaces an older, and one is done once.
    pub fn ask(&self, id: Uuid) {
        self.asked.send_if_modified(|newest| {
            let new = *newest != Some(id);
            if new {
                *newest = Some(id);
                self.running.store(true, Ordering::SeqCst);
            }
            new
        });
    }

    /// Whether a rebuild has been asked for and is not done.
    pub fn running(&self) -> bool {
        self.running.load(Ordering::SeqCst)
    }
}

async fn follow(parts: Arc<Parts>, mut requests: watch::Receiver<Option<Uuid>>, running: Arc<AtomicBool>) {
    loop {
        let Some(Ok(())) = parts.stop.run_until_cancelled(requests.changed()).await else { return };
        loop {
            let Some(id) = *requests.borrow_and_update() else { break };
            let replaced = parts.stop.child_token();
            let ended = tokio::select! {
                ended = rebuild(&parts, id, &replaced) => ended,
                changed = requests.changed() => {
                    replaced.cancel();
                    if changed.is_err() {
                        return;
                    }
                    tracing::warn!(rebuild.id = %id, "rebuild.replaced");
                    // The newer one is read at the top of the loop.
                    requests.mark_changed();
                    continue;
                }
            };
            if ended.is_err() {
                return;
            }
            if !requests.has_changed().unwrap_or(false) {
                break;
            }
        }
        if !requests.has_changed().unwrap_or(false) {
            running.store(false, Ordering::SeqCst);
        }
    }
}

async fn rebuild(parts: &Parts, id: Uuid, stop: &CancellationToken) -> Result<(), Stopped> {
    if matches!(parts.store.epoch().await, Ok(Some(_))) {
        // An old request, read again after a restart: what it asked for has been done.
        tracing::info!(rebuild.id = %id, "rebuild.not_needed");
        return Ok(());
    }
    let started = Instant::now();
    tracing::warn!(rebuild.id = %id, "rebuild.started");
    metrics::counter!("velvet_writer_rebuilds_total").increment(1);
    caught_up(parts, stop).await?;
    let caught_up_ms = millis(started);
    let sent = AtomicU64::new(0);
    let dump = stream::iter(0..COUNT)
        .map(|shard| dump_shard(parts, shard, &sent, stop))
        .buffer_unordered(SHARDS_AT_ONCE)
        .try_collect::<()>();
    tokio::select! {
        dumped = dump => dumped?,
        () = tell_progress(id, &sent) => {}
    }
    mark(parts, id, stop).await?;
    let rows = sent.load(Ordering::Relaxed);
    tracing::info!(rebuild.id = %id, rows, caught_up_ms, took_ms = millis(started), "rebuild.rows_sent");
    Ok(())
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Waits until the replicas have all that has been decided. Nothing is folded meanwhile, so nothing
/// more is decided.
async fn caught_up(parts: &Parts, stop: &CancellationToken) -> Result<(), Stopped> {
    let topics = decided::topics();
    let asked = topics
        .iter()
        .map(|topic| retry::until_done("end_offsets", stop, move || end_offsets(&parts.config.kafka, topic)));
    let mut ends: Vec<(Place, i64)> = Vec::new();
    for (topic, offsets) in topics.iter().zip(try_join_all(asked).await?) {
        for (partition, end) in (0..).zip(offsets) {
            ends.push((Place { topic: topic.0.clone(), partition }, end));
        }
    }
    try_join_all((0..COUNT).map(|shard| shard_caught_up(parts, shard, &ends, stop))).await?;
    Ok(())
}

async fn shard_caught_up(
    parts: &Parts,
    shard: u8,
    ends: &[(Place, i64)],
    stop: &CancellationToken,
) -> Result<(), Stopped> {
    let wanted: Vec<&(Place, i64)> =
        ends.iter().filter(|(place, end)| *end > 0 && shard_of_partition(place.partition) == shard).collect();
    loop {
        let stored = retry::until_done("rebuild", stop, || positions::read(parts.shards.replica(shard))).await?;
        if wanted.iter().all(|(place, end)| stored.get(place).is_some_and(|position| position >= end)) {
            return Ok(());
        }
        stop.run_until_cancelled(tokio::time::sleep(CATCH_UP_PAUSE)).await.ok_or(Stopped)?;
    }
}

async fn dump_shard(parts: &Parts, shard: u8, sent: &AtomicU64, stop: &CancellationToken) -> Result<(), Stopped> {
    let dump = Dump { db: parts.shards.replica(shard), log: &parts.log, sent, stop };
    for domain in DOMAINS {
        domain.dump(&dump).await?;
    }
    Ok(())
}

async fn tell_progress(id: Uuid, sent: &AtomicU64) {
    loop {
        tokio::time::sleep(PROGRESS_PAUSE).await;
        tracing::info!(rebuild.id = %id, rows = sent.load(Ordering::Relaxed), "rebuild.progress");
    }
}

/// Puts the end in each partition of each domain, after all its rows.
async fn mark(parts: &Parts, id: Uuid, stop: &CancellationToken) -> Result<(), Stopped> {
    let partitions = parts.log.partitions();
    let of = DOMAINS.len() * usize::try_from(partitions).unwrap_or_default();
    for domain in DOMAINS {
        let topic = Topic::of(domain.name(), Stage::Warm);
        for partition in 0..partitions {
            let key = partition.to_string();
            let marker = derived_id(&["rebuild", &id.to_string(), domain.name(), &key]);
            let event = NewEvent::new(marker, MARKER_KIND, key, SystemClock.now(), &Marker { id, of })
                .caused_by(Version::default());
            retry::until_done("mark", stop, || parts.log.append_to(&topic, partition, &event)).await?;
        }
    }
    Ok(())
}
