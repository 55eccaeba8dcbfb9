//! The log from the inside: what the API and the projector append, by the thousand, and what never
//! should be there.

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;
use velvet_kernel::{
    config::KafkaConfig,
    log::{Consumer, Log, NewEvent, Start, Topic, end_offsets, partition_of},
};
use velvet_kit::{Handle, until};

/// As the kit's configuration has it.
const PARTITIONS: i32 = 16;
/// Records that are on their way together; an append must be through within two seconds.
const AT_ONCE: usize = 500;
const APPENDED_WITHIN: Duration = Duration::from_secs(10);
const READ_WITHIN: Duration = Duration::from_secs(30);
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

    /// The data of the first `count` events of a topic that `wanted` picks.
    pub async fn find(&self, topic: &Topic, count: usize, wanted: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        let group = format!("tap.{}", Uuid::new_v4());
        let consumer = Consumer::join(&self.config, &group, std::slice::from_ref(topic), Start::Earliest)
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
