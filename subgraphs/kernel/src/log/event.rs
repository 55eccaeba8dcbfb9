//! The envelope: `CloudEvents` 1.0 in Kafka's binary content mode.

use super::Topic;
use crate::fold::Version;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use rdkafka::{
    Message,
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// An event to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Its id; the same for a repeat.
    pub id: Uuid,
    /// Its type, such as `matching.swipe`.
    pub kind: String,
    /// What order is kept for.
    pub key: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The version of what it changes: the position of what caused it. Facts have none; they are the cause.
    pub version: Option<Version>,
    /// Its data, JSON.
    pub data: Vec<u8>,
}

impl NewEvent {
    /// An event whose data serialises; plain data always does.
    pub fn new(
        id: Uuid,
        kind: impl Into<String>,
        key: impl Into<String>,
        time: DateTime<Utc>,
        data: &impl Serialize,
    ) -> Self {
        let data = serde_json::to_vec(data).unwrap_or_default();
        Self { id, kind: kind.into(), key: key.into(), time, version: None, data }
    }

    /// Says what caused the event.
    #[must_use]
    pub fn caused_by(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    pub(super) fn headers(&self) -> OwnedHeaders {
        let id = self.id.to_string();
        let time = self.time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut headers = OwnedHeaders::new_with_capacity(8)
            .insert(header("ce_specversion", "1.0"))
            .insert(header("ce_id", &id))
            .insert(header("ce_source", "velvet"))
            .insert(header("ce_type", &self.kind))
            .insert(header("ce_time", &time))
            .insert(header("content-type", "application/json"));
        if let Some(version) = self.version {
            headers = headers.insert(header("ce_velvetversion", &version.0.to_string()));
        }
        if let Some(parent) = crate::telemetry::traceparent() {
            headers = headers.insert(header("ce_traceparent", &parent));
        }
        headers
    }
}

fn header<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header { key, value: Some(value) }
}

/// An event that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its topic.
    pub topic: Topic,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub kind: String,
    /// What order is kept for.
    pub key: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The version of what it changes; of a fact, its own position.
    pub version: Version,
    /// The trace that it belongs to, in W3C's form.
    pub traceparent: Option<String>,
    /// Its data, JSON.
    pub data: Bytes,
}

/// A record that is no event of ours.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// An attribute is missing or does not parse.
    #[error("record {topic}/{partition}@{offset}: the attribute {attribute} is missing or malformed")]
    Attribute {
        /// The record's topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: i64,
        /// The attribute.
        attribute: &'static str,
    },
    /// The data is not what the type promises.
    #[error("event {kind} {id}: its data does not parse")]
    Data {
        /// The event's type.
        kind: String,
        /// The event's id.
        id: Uuid,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// A record that is no event of ours, as it came.
#[derive(Debug)]
pub struct Unreadable {
    /// Its topic.
    pub topic: Topic,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its type, if it says one.
    pub kind: Option<String>,
    /// Its key.
    pub key: Bytes,
    /// Its data.
    pub data: Bytes,
    /// What is wrong with it.
    pub cause: Malformed,
}

impl Unreadable {
    pub(super) fn of(message: &BorrowedMessage<'_>, prefix: &str, cause: Malformed) -> Self {
        Self {
            topic: Topic(message.topic().strip_prefix(prefix).unwrap_or(message.topic()).to_owned()),
            partition: message.partition(),
            offset: message.offset(),
            kind: attribute(message, "ce_type").map(str::to_owned),
            key: Bytes::copy_from_slice(message.key().unwrap_or_default()),
            data: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
            cause,
        }
    }
}

impl Recorded {
    pub(super) fn read(message: &BorrowedMessage<'_>, prefix: &str) -> Result<Self, Malformed> {
        let missing = |attribute| Malformed::Attribute {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            attribute,
        };
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).ok_or_else(|| missing("key"))?;
        let text = Attributes::of(message);
        let version = text.version.and_then(|version| version.parse().ok()).map(Version);
        Ok(Self {
            topic: Topic(message.topic().strip_prefix(prefix).unwrap_or(message.topic()).to_owned()),
            partition: message.partition(),
            offset: message.offset(),
            id: text.id.and_then(|id| Uuid::try_parse(id).ok()).ok_or_else(|| missing("ce_id"))?,
            kind: text.kind.ok_or_else(|| missing("ce_type"))?.to_owned(),
            key: key.to_owned(),
            time: text
                .time
                .and_then(|time| DateTime::parse_from_rfc3339(time).ok())
                .ok_or_else(|| missing("ce_time"))?
                .with_timezone(&Utc),
            version: version.unwrap_or_else(|| Version::of_offset(message.offset())),
            traceparent: text.traceparent.map(str::to_owned),
            data: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        })
    }

    /// The type of a record, if it says one.
    pub(super) fn kind<'a>(message: &'a BorrowedMessage<'_>) -> Option<&'a str> {
        attribute(message, "ce_type")
    }

    /// Reads the data.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Malformed> {
        serde_json::from_slice(&self.data).map_err(|source| Malformed::Data {
            kind: self.kind.clone(),
            id: self.id,
            source,
        })
    }
}

fn attribute<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    message
        .headers()?
        .iter()
        .find(|header| header.key == name)
        .and_then(|header| std::str::from_utf8(header.value?).ok())
}

/// The attributes of a record as they stand in its headers, the first of each name.
#[derive(Default)]
struct Attributes<'a> {
    id: Option<&'a str>,
    kind: Option<&'a str>,
    time: Option<&'a str>,
    version: Option<&'a str>,
    traceparent: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let mut read = Self::default();
        for header in message.headers().into_iter().flat_map(Headers::iter) {
            let place = match header.key {
                "ce_id" => &mut read.id,
                "ce_type" => &mut read.kind,
                "ce_time" => &mut read.time,
                "ce_velvetversion" => &mut read.version,
                "ce_traceparent" => &mut read.traceparent,
                _ => continue,
            };
            if place.is_none() {
                *place = header.value.and_then(|value| std::str::from_utf8(value).ok());
            }
        }
        read
    }
}
