//! The log: Kafka. What was appended is never lost, whatever dies next.
//!
//! Each domain has an intake (facts, by entity), decided events (by the owner of the row), commands
//! (by what must be unique) and warm rows (by entity). An event is a `CloudEvent` in Kafka's binary
//! mode: attributes in headers, data in JSON.

mod admin;
mod consumer;
mod event;
mod producer;
mod topic;

pub use admin::{end_offsets, ensure_topics, ranges};
pub use consumer::{Batch, Consumer, Pace, Partition};
pub use event::{Malformed, NewEvent, Recorded, Unreadable};
pub use producer::{AppendError, Log, Receipt};
pub use topic::{SHARDS, Stage, Topic, partition_of, shard_of_partition};

use crate::config::KafkaConfig;
use rdkafka::ClientConfig;

/// Brokers that do not answer within this are down.
const SOCKET_TIMEOUT_MS: &str = "10000";

fn client_config(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &config.brokers)
        .set("socket.timeout.ms", SOCKET_TIMEOUT_MS)
        .set("socket.keepalive.enable", "true")
        // After an outage, be back within a second rather than ten.
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000")
        .set("broker.address.family", "v4");
    client
}
