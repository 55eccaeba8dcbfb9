//! Appending: idempotent, to all in-sync replicas, within a bound.

use super::{NewEvent, Topic, client_config, partition_of};
use crate::config::KafkaConfig;
use futures::future::try_join_all;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryFuture, FutureProducer, FutureRecord},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// An append that takes longer failed: the caller may not assume either way. Clients are promised
/// an answer within two seconds.
const APPEND_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Records that wait in memory for the brokers, at most.
const QUEUE_MAX: &str = "100000";

/// Where an event was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Why an event may not be in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The brokers refused it or were not there in time.
    #[error("appending to {topic}")]
    Kafka {
        /// The topic.
        topic: String,
        /// What the client said.
        source: KafkaError,
    },
    /// Too many records wait already.
    #[error("appending to {topic}: the queue is full")]
    Full {
        /// The topic.
        topic: String,
    },
    /// No acknowledgement came in time.
    #[error("appending to {topic}: no acknowledgement in time")]
    Timeout {
        /// The topic.
        topic: String,
    },
}

/// The log's writing end; clones share the producer.
#[derive(Clone)]
pub struct Log {
    producer: FutureProducer,
    config: Arc<KafkaConfig>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// A producer for the brokers; it connects when first used.
    pub fn connect(config: &KafkaConfig) -> Result<Self, KafkaError> {
        let producer = client_config(config)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // A request waits for its append, so only for as long as a busy process needs to share a produce request.
            .set("linger.ms", "1")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", QUEUE_MAX)
            .set("message.timeout.ms", APPEND_TIMEOUT.as_millis().to_string())
            .set("request.timeout.ms", "1000")
            .create()?;
        Ok(Self { producer, config: Arc::new(config.clone()) })
    }

    /// Appends one event and waits until all in-sync replicas have it.
    pub async fn append(&self, topic: &Topic, event: &NewEvent) -> Result<Receipt, AppendError> {
        self.enqueue(topic, partition_of(&event.key, self.config.partitions), event)?.acknowledged().await
    }

    /// Appends an event to a given partition, as markers need it.
    pub async fn append_to(&self, topic: &Topic, partition: i32, event: &NewEvent) -> Result<Receipt, AppendError> {
        self.enqueue(topic, partition, event)?.acknowledged().await
    }

    /// Appends many events, in order per key, and waits for all of them.
    pub async fn append_all<'a>(
        &self,
        events: impl IntoIterator<Item = (&'a Topic, &'a NewEvent)>,
    ) -> Result<Vec<Receipt>, AppendError> {
        let queued = events
            .into_iter()
            .map(|(topic, event)| self.enqueue(topic, partition_of(&event.key, self.config.partitions), event))
            .collect::<Result<Vec<_>, _>>()?;
        try_join_all(queued.into_iter().map(Queued::acknowledged)).await
    }

    fn enqueue(&self, topic: &Topic, partition: i32, event: &NewEvent) -> Result<Queued, AppendError> {
        let topic = format!("{}{}", self.config.topic_prefix, topic.0);
        let record =
            FutureRecord::to(&topic).key(&event.key).partition(partition).payload(&event.data).headers(event.headers());
        match self.producer.send_result(record) {
            Ok(delivery) => Ok(Queued { topic, delivery, since: Instant::now() }),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(AppendError::Full { topic }),
            Err((source, _)) => Err(AppendError::Kafka { topic, source }),
        }
    }

    /// How many partitions each topic has.
    pub fn partitions(&self) -> i32 {
        self.config.partitions
    }
}

/// A record on its way to the brokers.
struct Queued {
    topic: String,
    delivery: DeliveryFuture,
    since: Instant,
}

impl Queued {
    async fn acknowledged(self) -> Result<Receipt, AppendError> {
        match tokio::time::timeout(APPEND_TIMEOUT, self.delivery).await {
            Ok(Ok(Ok(delivery))) => {
                metrics::histogram!("velvet_log_append_seconds").record(self.since.elapsed().as_secs_f64());
                Ok(Receipt { partition: delivery.partition, offset: delivery.offset })
            }
            Ok(Ok(Err((source, _)))) => Err(AppendError::Kafka { topic: self.topic, source }),
            Ok(Err(_)) | Err(_) => Err(AppendError::Timeout { topic: self.topic }),
        }
    }
}
