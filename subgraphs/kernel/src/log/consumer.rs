//! Reading: a member of a consumer group, in batches, with offsets committed when the work is done.

use super::{Recorded, Topic, Unreadable, client_config};
use crate::config::KafkaConfig;
use futures::FutureExt;
use parking_lot::Mutex;
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Events of types that nobody reads, which one read passes over at most.
const PASSED_OVER_MAX: usize = 10_000;
/// At most so often does a member commit.
const COMMIT_PAUSE: Duration = Duration::from_millis(250);

/// A broker that has nothing to say answers this often.
const FETCH_WAIT: Duration = Duration::from_millis(200);
/// What is gathered goes out early when it is this much.
const GATHERED_SIZE: usize = 256 * 1024;

/// How soon a member wants what is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Each record at once: somebody waits for it.
    AtOnce,
    /// The brokers gather records for up to this long before they answer, so that a trickle costs both sides a few
    /// answers a second and not one for each record.
    Gathered(Duration),
}

impl Pace {
    /// What a broker gathers before it answers, in bytes, and for how long.
    fn fetch(self) -> (usize, Duration) {
        match self {
            Self::AtOnce => (1, FETCH_WAIT),
            Self::Gathered(wait) => (GATHERED_SIZE, wait),
        }
    }
}

/// A partition that has been given to this member: topic (without prefix) and number.
pub type Partition = (Topic, i32);

/// One read of the log.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, in log order per partition.
    pub events: Vec<Recorded>,
    /// Records that are no events of ours; they are to be counted and passed over, never folded.
    pub malformed: Vec<Unreadable>,
    /// Where to go on after the batch.
    next: HashMap<Partition, i64>,
}

impl Batch {
    /// Where to go on after the batch, per partition that it has records of.
    pub fn ends(&self) -> impl Iterator<Item = (&Partition, i64)> {
        self.next.iter().map(|(partition, next)| (partition, *next))
    }

    /// Puts a later batch of the same consumer behind this one.
    pub fn absorb(&mut self, later: Self) {
        self.events.extend(later.events);
        self.malformed.extend(later.malformed);
        self.next.extend(later.next);
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.next.is_empty()
    }
}

struct Assignments(mpsc::UnboundedSender<Vec<(String, i32)>>);

impl rdkafka::ClientContext for Assignments {}

impl ConsumerContext for Assignments {
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(_) | Rebalance::Revoke(_) = rebalance {
            let assigned = consumer.assignment().map(|list| {
                list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
            });
            drop(self.0.send(assigned.unwrap_or_default()));
        }
    }
}

/// A member of a consumer group.
pub struct Consumer {
    stream: StreamConsumer<Assignments>,
    assignments: mpsc::UnboundedReceiver<Vec<(String, i32)>>,
    config: Arc<KafkaConfig>,
    reads: fn(&str) -> bool,
    done: Mutex<Done>,
}

/// What has been done and not yet been committed.
#[derive(Default)]
struct Done {
    next: HashMap<Partition, i64>,
    committed_at: Option<Instant>,
}

impl Consumer {
    /// Joins a group that reads these topics, from their beginning where it has committed nothing. All members must name the same topics: the range
    /// assignment then gives equal partition numbers of all topics to one member.
    pub fn join(config: &KafkaConfig, group: &str, topics: &[Topic], pace: Pace) -> Result<Self, KafkaError> {
        let (fetch_bytes, fetch_wait) = pace.fetch();
        let (sender, assignments) = mpsc::unbounded_channel();
        let consumer: StreamConsumer<Assignments> = client_config(config)
            .set("group.id", format!("{}{group}", config.topic_prefix))
            // The client's own commits in the background would make its end wait for brokers that are gone.
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1000")
            .set("fetch.min.bytes", fetch_bytes.to_string())
            .set("fetch.wait.max.ms", fetch_wait.as_millis().to_string())
            .set("fetch.error.backoff.ms", "50")
            .set("queued.min.messages", "2000")
            .set("queued.max.messages.kbytes", "16384")
            .create_with_context(Assignments(sender))?;
        let names: Vec<String> = topics.iter().map(|topic| format!("{}{}", config.topic_prefix, topic.0)).collect();
        consumer.subscribe(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let config = Arc::new(config.clone());
        Ok(Self { stream: consumer, assignments, config, reads: |_| true, done: Mutex::default() })
    }

    /// Passes over events of other types than these: they are not even read.
    #[must_use]
    pub fn reading(mut self, reads: fn(&str) -> bool) -> Self {
        self.reads = reads;
        self
    }

    /// The partitions of this member, if they have changed since this was last asked.
    pub fn new_assignment(&mut self) -> Option<Vec<Partition>> {
        let mut newest = None;
        while let Ok(assigned) = self.assignments.try_recv() {
            newest = Some(assigned);
        }
        newest.map(|assigned| assigned.into_iter().map(|(topic, number)| (self.bare(&topic), number)).collect())
    }

    fn bare(&self, topic: &str) -> Topic {
        Topic(topic.strip_prefix(&self.config.topic_prefix).unwrap_or(topic).to_owned())
    }

    /// Waits up to `wait` for a first event, then takes what is there already, up to `max`.
    pub async fn read(&self, max: usize, wait: Duration) -> Result<Batch, KafkaError> {
        let mut batch = Batch::default();
        let Ok(first) = tokio::time::timeout(wait, self.received()).await else {
            if let Err(error) = self.commit_all(&mut self.done.lock()) {
                tracing::debug!(%error, "log.commit_failed");
            }
            return Ok(batch);
        };
        let mut message = first?;
        let mut ends = Ends::default();
        let mut passed_over = 0;
        loop {
            let prefix = &self.config.topic_prefix;
            let topic = message.topic();
            ends.note(topic.strip_prefix(prefix).unwrap_or(topic), message.partition(), message.offset() + 1);
            if Recorded::kind(&message).is_some_and(|kind| !(self.reads)(kind)) {
                passed_over += 1;
            } else {
                match Recorded::read(&message, prefix) {
                    Ok(event) => batch.events.push(event),
                    Err(cause) => batch.malformed.push(Unreadable::of(&message, prefix, cause)),
                }
            }
            let full = batch.events.len() >= max || passed_over >= PASSED_OVER_MAX;
            match if full { None } else { self.stream.recv().now_or_never() } {
                Some(Ok(next)) => message = next,
                Some(Err(error)) if !passes(&error) => return Err(error),
                Some(Err(_)) | None => break,
            }
        }
        batch.next = ends.0.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect();
        Ok(batch)
    }

    /// The next message; brokers that are away are waited for.
    async fn received(&self) -> Result<BorrowedMessage<'_>, KafkaError> {
        loop {
            match self.stream.recv().await {
                Err(error) if passes(&error) => tracing::debug!(%error, "log.away"),
                received => return received,
            }
        }
    }

    /// Notes that the batch's work is done. The group hears of it within a moment: a commit for each small batch would
    /// cost the brokers as much as the batch did, and a crash before it only repeats.
    pub fn commit(&self, batch: &Batch) -> Result<(), KafkaError> {
        let mut done = self.done.lock();
        done.next.extend(batch.next.iter().map(|(partition, next)| (partition.clone(), *next)));
        match done.committed_at {
            Some(at) if at.elapsed() < COMMIT_PAUSE => Ok(()),
            _ => self.commit_all(&mut done),
        }
    }

    fn commit_all(&self, done: &mut Done) -> Result<(), KafkaError> {
        done.committed_at = Some(Instant::now());
        if done.next.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(done.next.len());
        for ((topic, partition), offset) in done.next.drain() {
            let name = format!("{}{}", self.config.topic_prefix, topic.0);
            list.add_partition_offset(&name, partition, Offset::Offset(offset))?;
        }
        self.stream.commit(&list, CommitMode::Async)
    }

    /// Reads a partition on from a stored position, whatever the group has committed.
    pub fn seek(&self, topic: &Topic, partition: i32, offset: i64) -> Result<(), KafkaError> {
        let name = format!("{}{}", self.config.topic_prefix, topic.0);
        self.stream.seek(&name, partition, Offset::Offset(offset), SEEK_TIMEOUT)
    }

    /// Stops fetching these partitions until [`Self::resume`].
    pub fn pause(&self, topic: &Topic, partitions: &[i32]) -> Result<(), KafkaError> {
        self.stream.pause(&self.list(topic, partitions))
    }

    /// Goes on fetching these partitions.
    pub fn resume(&self, topic: &Topic, partitions: &[i32]) -> Result<(), KafkaError> {
        self.stream.resume(&self.list(topic, partitions))
    }

    fn list(&self, topic: &Topic, partitions: &[i32]) -> TopicPartitionList {
        let name = format!("{}{}", self.config.topic_prefix, topic.0);
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&name, *partition);
        }
        list
    }
}

/// Whether the client is only telling that it looks for brokers: it goes on by itself. A member that left at each of
/// these would have its group put in order again and again once they are back.
fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    let KafkaError::MessageConsumption(code) = error else {
        return false;
    };
    matches!(code, AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve)
}

/// A seek that takes longer will be tried again with the next assignment.
const SEEK_TIMEOUT: Duration = Duration::from_secs(5);

/// Where each partition that a read has touched goes on. They are few, and one after the other is mostly the same.
#[derive(Default)]
struct Ends(Vec<(Topic, i32, i64)>);

impl Ends {
    fn note(&mut self, topic: &str, partition: i32, next: i64) {
        match self.0.iter_mut().rev().find(|(known, number, _)| *number == partition && known.0 == topic) {
            Some((.., end)) => *end = next,
            None => self.0.push((Topic(topic.to_owned()), partition, next)),
        }
    }
}
