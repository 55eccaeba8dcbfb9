//! Dead letters: records that cannot be applied, kept for ever with their causes. Each is an alert.

use crate::retry::{self, Stopped};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use velvet_kernel::{
    log::{Log, Malformed, NewEvent, Recorded, Topic},
    telemetry,
    time::{Clock as _, SystemClock, derived_id},
};

/// The type of a dead letter.
const KIND: &str = "dead.letter";

/// A record that could not be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its type.
    pub kind: String,
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// Why.
    pub cause: String,
    /// Its data, as text.
    pub data: String,
}

/// Puts records aside.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    log: Log,
    stop: CancellationToken,
}

impl DeadLetters {
    /// To the log's topic of dead letters.
    pub fn new(log: Log, stop: CancellationToken) -> Self {
        Self { log, stop }
    }

    /// Puts an event aside; returns when the log has it.
    pub async fn put(&self, event: &Recorded, cause: String) -> Result<(), Stopped> {
        let letter = DeadLetter {
            topic: event.topic.0.clone(),
            partition: event.partition,
            offset: event.offset,
            kind: event.kind.clone(),
            key: event.key.clone(),
            version: event.version.0,
            cause,
            data: String::from_utf8_lossy(&event.data).into_owned(),
        };
        self.append(letter).await
    }

    /// Notes a record that is no event of ours; its bytes stay where they are.
    pub async fn put_malformed(&self, malformed: &Malformed) -> Result<(), Stopped> {
        let (topic, partition, offset, kind) = match malformed {
            Malformed::Attribute { topic, partition, offset, .. } => {
                (topic.clone(), *partition, *offset, String::new())
            }
            Malformed::Data { kind, id, .. } => (id.to_string(), -1, -1, kind.clone()),
        };
        let cause = telemetry::chain(malformed);
        let (key, data) = (String::new(), String::new());
        self.append(DeadLetter { topic, partition, offset, kind, key, version: 0, cause, data }).await
    }

    async fn append(&self, letter: DeadLetter) -> Result<(), Stopped> {
        let place = [letter.topic.as_str(), &letter.partition.to_string(), &letter.offset.to_string()];
        let id = derived_id(&["dead-letter", place[0], place[1], place[2]]);
        let event = NewEvent::new(id, KIND, place.join("/"), SystemClock.now(), &letter);
        let topic = Topic::dead_letters();
        retry::until_done("dead_letter", &self.stop, || self.log.append(&topic, &event)).await?;
        tracing::error!(
            record.topic = letter.topic,
            record.partition = letter.partition,
            record.offset = letter.offset,
            event.kind = letter.kind,
            cause = letter.cause,
            "writer.dead_letter"
        );
        metrics::counter!("velvet_writer_dead_letters_total", "topic" => letter.topic).increment(1);
        Ok(())
    }
}
