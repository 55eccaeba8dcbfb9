//! Kafka by itself, with records like ours: how fast they go in and come out.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use md5::{Digest, Md5};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use tokio::process::Command;
use velvet_kit::progress::Progress;
use velvet_kit::servers::{find_program, run};

use crate::schedule::exact;

const METADATA_WITHIN: Duration = Duration::from_secs(10);
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);
const TEST_WITHIN: Duration = Duration::from_mins(1);
/// Records that go to the client library before it is asked whether they arrived.
const BATCH: usize = 2_000;

/// A `CloudEvent` in Kafka's binary mode, as the kernel appends it.
#[derive(Debug, Clone)]
pub struct Record {
    pub id: String,
    pub kind: &'static str,
    pub key: String,
    pub time: String,
    pub data: String,
}

impl Record {
    fn headers(&self) -> OwnedHeaders {
        let header = |key, value| Header { key, value: Some(value) };
        OwnedHeaders::new_with_capacity(6)
            .insert(header("ce_specversion", "1.0"))
            .insert(header("ce_id", &self.id))
            .insert(header("ce_source", "velvet-load"))
            .insert(header("ce_type", self.kind))
            .insert(header("ce_time", &self.time))
            .insert(header("content-type", "application/json"))
    }
}

#[derive(Clone)]
pub struct Kafka {
    brokers: String,
    producer: FutureProducer,
}

impl Kafka {
    /// With the settings of the kernel's own producer.
    pub fn connect(brokers: &str) -> Result<Self> {
        let producer = client(brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", DELIVERED_WITHIN.as_millis().to_string())
            .create()
            .context("making a Kafka producer")?;
        Ok(Self { brokers: brokers.to_owned(), producer })
    }

    /// How many partitions a topic has.
    pub fn partitions(&self, topic: &str) -> Result<i32> {
        let metadata = self.producer.client().fetch_metadata(Some(topic), METADATA_WITHIN).context("asking Kafka")?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        match i32::try_from(partitions) {
            Ok(partitions) if partitions > 0 => Ok(partitions),
            _ => bail!("Kafka has no topic {topic}"),
        }
    }

    /// Appends all and waits until all in-sync replicas have them; how long that took.
    pub async fn append(&self, topic: &str, partitions: i32, records: &[Record]) -> Result<Duration> {
        let started = Instant::now();
        let mut open = Vec::with_capacity(records.len());
        for batch in records.chunks(BATCH) {
            for record in batch {
                open.push(self.enqueue(topic, partitions, record)?);
            }
            // Lets the runtime's other work go on; the library sends from a thread of its own.
            tokio::task::yield_now().await;
        }
        let delivered = try_join_all(open).await.context("appending to Kafka")?;
        for outcome in delivered {
            outcome.map_err(|(cause, _)| cause).context("appending to Kafka")?;
        }
        Ok(started.elapsed())
    }

    /// Appends one and waits until all in-sync replicas have it.
    pub async fn send(&self, topic: &str, partitions: i32, record: &Record) -> Result<()> {
        let delivered = self.enqueue(topic, partitions, record)?.await.context("appending to Kafka")?;
        delivered.map(drop).map_err(|(cause, _)| cause).context("appending to Kafka")
    }

    fn enqueue(&self, topic: &str, partitions: i32, record: &Record) -> Result<rdkafka::producer::DeliveryFuture> {
        let message = FutureRecord::to(topic)
            .key(&record.key)
            .partition(partition_of(&record.key, partitions))
            .payload(&record.data)
            .headers(record.headers());
        match self.producer.send_result(message) {
            Ok(delivery) => Ok(delivery),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                bail!("the burst does not fit the client's queue")
            }
            Err((cause, _)) => Err(cause).context("appending to Kafka"),
        }
    }

    /// Appends the records to a topic of their own and reads them back; then has Kafka's own test append as many.
    pub async fn raw(&self, topic: &str, partitions: i32, records: &[Record]) -> Result<Raw> {
        let admin: AdminClient<DefaultClientContext> =
            client(&self.brokers).create().context("making a Kafka client")?;
        let options = AdminOptions::new().operation_timeout(Some(METADATA_WITHIN));
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for outcome in admin.create_topics([&new], &options).await.context("making a topic")? {
            outcome.map_err(|(topic, code)| anyhow::anyhow!("making {topic}: {code}"))?;
        }
        let measured = self.in_and_out(topic, partitions, records).await;
        // A topic that stays costs a little disk until the stack ends.
        let _ = admin.delete_topics(&[topic], &options).await;
        measured
    }

    async fn in_and_out(&self, topic: &str, partitions: i32, records: &[Record]) -> Result<Raw> {
        let appended = self.append(topic, partitions, records).await?;
        let (brokers, name, count) = (self.brokers.clone(), topic.to_owned(), records.len());
        let read = tokio::task::spawn_blocking(move || consume(&brokers, &name, partitions, count))
            .await
            .context("reading from Kafka")??;
        let tested = producer_test(&self.brokers, topic, records).await?;
        Ok(Raw {
            appended: per_second(count, appended.as_secs_f64()),
            read: per_second(count, read.as_secs_f64()),
            tested,
        })
    }
}

/// Records per second.
#[derive(Debug, Clone, Copy)]
pub struct Raw {
    pub appended: f64,
    pub read: f64,
    /// By Kafka's own producer test, with as many records as large.
    pub tested: f64,
}

/// Kafka's own producer, with the settings of ours; its records are random letters, which compress less.
async fn producer_test(brokers: &str, topic: &str, records: &[Record]) -> Result<f64> {
    let java = find_program("java", &[]).context("java is not installed")?;
    let home = velvet_kit::servers::kafka::install(Progress::new(true)).await?;
    let bytes: usize = records.iter().map(|record| record.data.len() + record.key.len() + record.id.len()).sum();
    let mut test = Command::new(java);
    test.args(["-cp", &format!("{}/*", home.display()), "org.apache.kafka.tools.ProducerPerformance"]);
    test.args(["--topic", topic, "--throughput", "-1", "--num-records", &records.len().to_string()]);
    test.args(["--record-size", &(bytes / records.len().max(1)).max(1).to_string(), "--producer-props"]);
    test.arg(format!("bootstrap.servers={brokers}"));
    test.args(["acks=all", "enable.idempotence=true", "linger.ms=0", "compression.type=lz4"]);
    let printed = run(&mut test, None, TEST_WITHIN).await?;
    rate_of(&printed).with_context(|| format!("Kafka's producer test said: {printed}"))
}

/// Of the last line: `20000 records sent, 51020.4 records/sec (12.1 MB/sec), …`.
fn rate_of(printed: &str) -> Option<f64> {
    let last = printed.lines().rfind(|line| line.contains(" records/sec"))?;
    last.split(" records/sec").next()?.rsplit(' ').next()?.replace(',', ".").parse().ok()
}

/// From the assignment of all partitions to the last record; the broker is known by then.
fn consume(brokers: &str, topic: &str, partitions: i32, count: usize) -> Result<Duration> {
    let consumer: BaseConsumer = client(brokers)
        .set("group.id", "velvet-load")
        .set("enable.auto.commit", "false")
        .create()
        .context("making a Kafka consumer")?;
    consumer.fetch_metadata(Some(topic), METADATA_WITHIN).context("asking Kafka")?;
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).context("naming a partition")?;
    }
    let called = Instant::now();
    consumer.assign(&all).context("assigning partitions")?;
    let mut read = 0;
    while read < count {
        if called.elapsed() > DELIVERED_WITHIN {
            bail!("only {read} of {count} records came back");
        }
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            message.context("reading from Kafka")?;
            read += 1;
        }
    }
    Ok(called.elapsed())
}

fn client(brokers: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers).set("broker.address.family", "v4");
    client
}

/// As the kernel does it: the first eight hex digits of the key's MD5, modulo the number of partitions.
/// Modulo 16 it is the key's shard.
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    let digest = Md5::digest(key.as_bytes());
    let head = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let partitions = u32::try_from(partitions).unwrap_or(1).max(1);
    i32::try_from(head % partitions).unwrap_or_default()
}

/// Records per second.
pub fn per_second(records: usize, seconds: f64) -> f64 {
    exact(records as u64) / seconds.max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_the_kernel_sends_them() {
        // md5("a") = 0cc175b9…
        assert_eq!(partition_of("a", 16), 0x9);
        assert_eq!(partition_of("a", 48) % 16, 0x9);
    }

    #[test]
    fn the_rate_of_kafkas_own_test_is_read_from_its_last_line() {
        let printed = "100 records sent, 20.0 records/sec (0.01 MB/sec), 1.0 ms avg latency.\n\
            500 records sent, 51020.408163 records/sec (12.16 MB/sec), 12.30 ms avg latency, 200.00 ms max latency\n";
        assert_eq!(rate_of(printed), Some(51_020.408_163));
        assert_eq!(rate_of("no such topic"), None);
    }
}
