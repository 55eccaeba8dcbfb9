//! Reading the log from the stored positions, whatever Kafka's own offsets say.

use crate::{
    positions::{self, Place, Positions, topic_of},
    retry::{self, Backoff, Stopped},
    shards::{Lane, Shards},
};
use futures::future::try_join_all;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use velvet_kernel::{
    config::KafkaConfig,
    log::{Batch, Consumer, Pace, Partition, Recorded, Topic, Unreadable, shard_of_partition},
};

/// How long a read waits for a first event before it looks whether the process is to end.
const READ_WAIT: Duration = Duration::from_millis(500);
/// A partition can be sought once the client has begun to fetch it; that takes a moment after the assignment.
const SEEK_ATTEMPTS_MAX: u32 = 100;
const SEEK_PAUSE: Duration = Duration::from_millis(50);
/// A session that lasted as long as this did its work; the next one begins at once.
const SESSION_LASTING: Duration = Duration::from_secs(5);

/// Why reading must begin anew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process is to end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Kafka's client has failed.
    #[error("reading the log")]
    Log(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log has forgotten records that have not been applied: it was kept for less than they waited, or than the age
    /// of a backup. They are lost to this shard, so nothing goes on until somebody has seen it.
    #[error(
        "{topic}/{partition} begins at {offset}, after the stored position {position}: see velvet-writer positions"
    )]
    Forgotten {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What came.
        offset: i64,
        /// What was asked for.
        position: i64,
    },
    /// The log gave something from before the stored position: it was sought in vain, or is not the
    /// log that the position was of.
    #[error("{topic}/{partition} gave {offset}, before the stored position {position}")]
    Before {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What came.
        offset: i64,
        /// What was asked for.
        position: i64,
    },
}

fn log_error(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Log(Box::new(error))
}

/// What one read holds for one shard.
#[derive(Debug)]
pub struct Portion {
    /// The shard.
    pub shard: u8,
    /// The events, in log order per partition.
    pub events: Vec<Recorded>,
    /// Records that are no events of ours.
    pub malformed: Vec<Unreadable>,
    /// The stored positions.
    pub since: Positions,
    /// The positions after this portion.
    pub upto: Positions,
}

/// A member of a group that reads a lane's partitions from stored positions.
pub struct Reader {
    consumer: Consumer,
    shards: Arc<Shards>,
    stop: CancellationToken,
    positions: Positions,
    lane: Lane,
    group: String,
    max: usize,
    changed: bool,
}

/// How much one read takes.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Events at most.
    pub max: usize,
    /// How long they may wait for more.
    pub pace: Pace,
}

impl Reader {
    /// Joins the group of a lane.
    pub fn join(
        config: &KafkaConfig,
        base: &str,
        lane: &Lane,
        topics: &[Topic],
        fill: Fill,
        shards: &Arc<Shards>,
        stop: &CancellationToken,
    ) -> Result<Self, Error> {
        let group = lane.group(base);
        let consumer = Consumer::join(config, &group, topics, fill.pace).map_err(log_error)?;
        Ok(Self {
            consumer,
            shards: Arc::clone(shards),
            stop: stop.clone(),
            positions: Positions::new(),
            lane: lane.clone(),
            group,
            max: fill.max,
            changed: false,
        })
    }

    /// What comes next, or nothing when there was nothing or the partitions have just changed.
    pub async fn next(&mut self) -> Result<Option<(Vec<Portion>, Batch)>, Error> {
        let mut batch = self.consumer.read(self.max, READ_WAIT).await.map_err(log_error)?;
        if let Some(assigned) = self.consumer.new_assignment() {
            // The batch may hold records of either side of the change; all are read again.
            self.begin(&assigned).await?;
            return Ok(None);
        }
        if self.stop.is_cancelled() {
            return Err(Stopped.into());
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let portions = self.split(&mut batch)?;
        Ok(Some((portions, batch)))
    }

    /// Reads the stored positions of the lane's partitions that this member has now, and goes there. The
    /// group covers the partitions of all lanes; the others' are not fetched here.
    async fn begin(&mut self, assigned: &[Partition]) -> Result<(), Error> {
        self.positions.clear();
        let mut by_shard: BTreeMap<u8, Vec<Place>> = BTreeMap::new();
        for partition in assigned {
            if !self.lane.has(partition.1) {
                self.consumer.pause(&partition.0, &[partition.1]).map_err(log_error)?;
                continue;
            }
            by_shard.entry(shard_of_partition(partition.1)).or_default().push(partition.into());
        }
        let claims = by_shard.iter().map(|(shard, places)| {
            retry::until_done("claim", &self.stop, || positions::claim(self.shards.primary(*shard), places))
        });
        for stored in try_join_all(claims).await? {
            self.positions.extend(stored);
        }
        for (place, position) in &self.positions {
            self.seek(place, *position).await?;
        }
        self.changed = true;
        tracing::info!(group = %self.group, partitions = self.positions.len(), "reader.assigned");
        Ok(())
    }

    async fn seek(&self, place: &Place, position: i64) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            let Err(error) = self.consumer.seek(&topic_of(place), place.partition, position) else {
                return Ok(());
            };
            attempts += 1;
            if attempts >= SEEK_ATTEMPTS_MAX {
                return Err(log_error(error));
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(SEEK_PAUSE)).await.is_none() {
                return Err(Stopped.into());
            }
        }
    }

    /// A partition's records have no gaps, so what comes first is what was asked for, unless that is gone.
    fn check_first(&self, batch: &Batch) -> Result<(), Error> {
        let events = batch.events.iter().map(|event| (&event.topic, event.partition, event.offset));
        let malformed = batch.malformed.iter().map(|record| (&record.topic, record.partition, record.offset));
        let mut first: BTreeMap<Place, i64> = BTreeMap::new();
        for (topic, partition, offset) in events.chain(malformed) {
            let place = Place { topic: topic.0.clone(), partition };
            first.entry(place).and_modify(|first| *first = offset.min(*first)).or_insert(offset);
        }
        for (place, offset) in first {
            if let Some(position) = self.positions.get(&place)
                && offset > *position
            {
                metrics::counter!("velvet_writer_forgotten_total").increment(1);
                let Place { topic, partition } = place;
                return Err(Error::Forgotten { topic, partition, offset, position: *position });
            }
        }
        Ok(())
    }

    fn split(&self, batch: &mut Batch) -> Result<Vec<Portion>, Error> {
        self.check_first(batch)?;
        let mut portions: BTreeMap<u8, Portion> = BTreeMap::new();
        for (partition, end) in batch.ends() {
            let place = Place::from(partition);
            let Some(position) = self.positions.get(&place) else { continue };
            let shard = shard_of_partition(place.partition);
            let portion = portions.entry(shard).or_insert_with(|| Portion {
                shard,
                events: Vec::new(),
                malformed: Vec::new(),
                since: Positions::new(),
                upto: Positions::new(),
            });
            portion.since.insert(place.clone(), *position);
            portion.upto.insert(place, end);
        }
        for event in std::mem::take(&mut batch.events) {
            let place = Place { topic: event.topic.0.clone(), partition: event.partition };
            let Some(position) = self.positions.get(&place) else { continue };
            if event.offset < *position {
                let (topic, partition, offset) = (place.topic, place.partition, event.offset);
                return Err(Error::Before { topic, partition, offset, position: *position });
            }
            if let Some(portion) = portions.get_mut(&shard_of_partition(event.partition)) {
                portion.events.push(event);
            }
        }
        for unreadable in std::mem::take(&mut batch.malformed) {
            let place = Place { topic: unreadable.topic.0.clone(), partition: unreadable.partition };
            if self.positions.contains_key(&place)
                && let Some(portion) = portions.get_mut(&shard_of_partition(place.partition))
            {
                portion.malformed.push(unreadable);
            }
        }
        Ok(portions.into_values().collect())
    }

    /// Notes that a batch is done: the stored positions stand after it.
    pub fn done(&mut self, batch: &Batch) {
        for (partition, end) in batch.ends() {
            if let Some(position) = self.positions.get_mut(&Place::from(partition)) {
                *position = end.max(*position);
            }
        }
        if let Err(error) = self.consumer.commit(batch) {
            // Kafka's offsets are for people who watch; the stored positions count.
            tracing::debug!(group = %self.group, %error, "reader.commit_failed");
        }
    }

    /// Whether the partitions have changed since this was last asked.
    pub fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The shards whose partitions this member has.
    pub fn shards(&self) -> Vec<u8> {
        let mut shards: Vec<u8> = self.positions.keys().map(|place| shard_of_partition(place.partition)).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }
}

/// Runs `session` with a fresh reader, again and again, until the process is to end.
pub async fn forever<F, R>(what: &'static str, stop: &CancellationToken, mut session: F)
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), Error>>,
{
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let started = Instant::now();
        let Err(error) = session().await else { continue };
        if matches!(error, Error::Stopped(_)) {
            return;
        }
        retry::note(what, &error);
        if started.elapsed() >= SESSION_LASTING {
            backoff = Backoff::default();
        }
        if backoff.pause(stop).await.is_err() {
            return;
        }
    }
}
