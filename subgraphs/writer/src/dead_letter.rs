//! Dead letters: records that cannot be applied, kept for ever with their causes. Each is an alert.

use crate::retry::{self, Stopped};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use velvet_kernel::{
    log::{Log, NewEvent, Recorded, Topic, Unreadable},
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
    /// Its id, if it was an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// When it happened, if it was an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<DateTime<Utc>>,
    /// Why.
    pub cause: String,
    /// Its data.
    #[serde(flatten)]
    pub data: Bytes,
}

/// A record's bytes as they were: as text if they are text, so that people can read them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bytes {
    /// UTF-8.
    #[serde(rename = "data")]
    Text(String),
    /// Anything else, in base64.
    #[serde(rename = "data_base64")]
    Base64(String),
}

impl Bytes {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }

    /// The bytes; none when they are not what [`Self::of`] made.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Base64(text) => STANDARD.decode(text).ok(),
        }
    }
}

/// The key of all that is said of one record, so that it stays in its order.
pub fn key(topic: &str, partition: i32, offset: i64) -> String {
    format!("{topic}/{partition}/{offset}")
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
            id: Some(event.id),
            time: Some(event.time),
            cause,
            data: Bytes::of(&event.data),
        };
        self.append(letter).await
    }

    /// Puts a record aside that is no event of ours.
    pub async fn put_unreadable(&self, unreadable: &Unreadable) -> Result<(), Stopped> {
        let letter = DeadLetter {
            topic: unreadable.topic.0.clone(),
            partition: unreadable.partition,
            offset: unreadable.offset,
            kind: unreadable.kind.clone().unwrap_or_default(),
            key: String::from_utf8_lossy(&unreadable.key).into_owned(),
            version: 0,
            id: None,
            time: None,
            cause: telemetry::chain(&unreadable.cause),
            data: Bytes::of(&unreadable.data),
        };
        self.append(letter).await
    }

    async fn append(&self, letter: DeadLetter) -> Result<(), Stopped> {
        let place = [letter.topic.as_str(), &letter.partition.to_string(), &letter.offset.to_string()];
        let id = derived_id(&["dead-letter", place[0], place[1], place[2]]);
        let event = NewEvent::new(id, KIND, key(place[0], letter.partition, letter.offset), SystemClock.now(), &letter);
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn letter(data: &[u8]) -> serde_json::Value {
        let (topic, kind, key) = ("t".to_owned(), "k".to_owned(), "e".to_owned());
        let cause = "c".to_owned();
        let data = Bytes::of(data);
        let (id, time) = (Some(Uuid::nil()), None);
        let letter = DeadLetter { topic, partition: 1, offset: 2, kind, key, version: 3, id, time, cause, data };
        serde_json::to_value(letter).unwrap()
    }

    #[test]
    fn a_dead_letter_has_every_byte_of_its_record() {
        assert_eq!(
            letter(b"{\"a\""),
            json!({ "topic": "t", "partition": 1, "offset": 2, "kind": "k", "key": "e", "version": 3, "id": Uuid::nil(), "cause": "c", "data": "{\"a\"" })
        );
        assert_eq!(letter(&[0xff, 0])["data_base64"], "/wA=");
        let read: DeadLetter = serde_json::from_value(letter(&[0xff, 0])).unwrap();
        assert_eq!(read.data, Bytes::Base64("/wA=".to_owned()));
        assert_eq!(read.data.bytes(), Some(vec![0xff, 0]));
    }
}
