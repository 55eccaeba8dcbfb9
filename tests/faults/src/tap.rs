//! The log from the inside: what the API and the projector append, by the thousand, and what never
//! should be there.

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{FutureProducer, FutureRecord},
};
use serde_json::Value;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use uuid::Uuid;
use velvet_kernel::{
    config::KafkaConfig,
    log::{Consumer, Log, NewEvent, Pace, Recorded, Topic, end_offsets, partition_of},
};
use velvet_kit::{Handle, until};

/// As the kit's configuration has it.
const PARTITIONS: i32 = 16;
/// Records that are on their way together; an append must be through within two seconds.
const AT_ONCE: usize = 500;
const APPENDED_WITHIN: Duration = Duration::from_secs(10);
const READ_WITHIN: Duration = Duration::from_secs(30);
/// A whole log, on a busy machine.
const READ_ALL_WITHIN: Duration = Duration::from_mins(2);
const READ_WAIT: Duration = Duration::from_millis(500);

/// A hand in the log of a running stack.
pub struct Tap {
    config: KafkaConfig,
    log: Log,
}

impl Tap {
    pub fn open(stack: &Handle) -> Result<Self> {
        let config = KafkaConfig {
            brokers: stack.info.kafka_brokers.clone(),
            partitions: PARTITIONS,
            replication: 1,
            topic_prefix: String::new(),
        };
        let log = Log::connect(&config).context("making a Kafka producer")?;
        Ok(Self { config, log })
    }

    /// Appends events, in order per key, and waits until the log has them.
    pub async fn append(&self, topic: &Topic, events: &[NewEvent]) -> Result<()> {
        for chunk in events.chunks(AT_ONCE) {
            self.log.append_all(chunk.iter().map(|event| (topic, event))).await.context("appending")?;
        }
        Ok(())
    }

    /// Appends a record without any attribute.
    pub async fn append_bytes(&self, topic: &Topic, key: &str, bytes: &[u8]) -> Result<()> {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.config.brokers)
            .set("broker.address.family", "v4")
            .create()
            .context("making a Kafka producer")?;
        let record = FutureRecord::to(&topic.0).key(key).partition(partition_of(key, PARTITIONS)).payload(bytes);
        let sent = producer.send(record, APPENDED_WITHIN).await;
        sent.map(drop).map_err(|(cause, _)| cause).context("appending bytes")
    }

    /// Where each partition of a topic ends.
    pub async fn ends(&self, topic: &Topic) -> Result<Vec<i64>> {
        end_offsets(&self.config, topic).await.with_context(|| format!("asking where {} ends", topic.0))
    }

    /// Everything in these topics, from the beginning to where they end now.
    pub async fn read_all(&self, topics: &[Topic]) -> Result<Vec<Recorded>> {
        let mut left: HashMap<(String, i32), i64> = HashMap::new();
        for topic in topics {
            let ends = (0..).zip(self.ends(topic).await?).filter(|(_, end)| *end > 0);
            left.extend(ends.map(|(partition, end)| ((topic.0.clone(), partition), end)));
        }
        let group = format!("tap.{}", Uuid::new_v4());
        let consumer = Consumer::join(&self.config, &group, topics, Pace::AtOnce).context("making a consumer")?;
        let mut events = Vec::new();
        let started = Instant::now();
        while !left.is_empty() {
            ensure!(started.elapsed() < READ_ALL_WITHIN, "the log was not read in time; left: {left:?}");
            let batch = consumer.read(AT_ONCE, READ_WAIT).await.context("reading the log")?;
            for ((topic, partition), next) in batch.ends() {
                let place = (topic.0.clone(), *partition);
                if left.get(&place).is_some_and(|end| next >= *end) {
                    left.remove(&place);
                }
            }
            events.extend(batch.events);
        }
        Ok(events)
    }

    /// How far a group has committed each partition of a topic.
    pub async fn committed(&self, group: &str, topic: &Topic) -> Result<Vec<i64>> {
        let (brokers, group, topic) = (self.config.brokers.clone(), group.to_owned(), topic.0.clone());
        let ask = move || {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &brokers)
                .set("broker.address.family", "v4")
                .set("group.id", &group)
                .create()?;
            let mut wanted = TopicPartitionList::new();
            for partition in 0..PARTITIONS {
                wanted.add_partition(&topic, partition);
            }
            consumer.committed_offsets(wanted, READ_WITHIN)
        };
        let committed = tokio::task::spawn_blocking(ask).await?.context("asking what a group has committed")?;
        let offset = |offset: Offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
        Ok(committed.elements().iter().map(|element| offset(element.offset())).collect())
    }

    /// The data of the first `count` events of a topic that `wanted` picks.
    pub async fn find(&self, topic: &Topic, count: usize, wanted: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        let group = format!("tap.{}", Uuid::new_v4());
        let consumer = Consumer::join(&self.config, &group, std::slice::from_ref(topic), Pace::AtOnce)
            .context("making a Kafka consumer")?;
        let found = std::cell::RefCell::new(Vec::new());
        until("events in the log", READ_WITHIN, || async {
            let batch = consumer.read(AT_ONCE, READ_WAIT).await.context("reading the log")?;
            let data = batch.events.iter().filter_map(|event| event.parse::<Value>().ok());
            found.borrow_mut().extend(data.filter(|data| wanted(data)));
            ensure!(found.borrow().len() >= count, "{} of {count} so far", found.borrow().len());
            Ok(())
        })
        .await?;
        Ok(found.into_inner())
    }
}

/// An event of now.
pub fn event(id: Uuid, kind: &str, key: &str, data: &Value) -> NewEvent {
    NewEvent::new(id, kind, key, Utc::now(), data)
}
