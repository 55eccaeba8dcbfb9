//! The three shapes of a view: a document, a hash of documents, an ordered list of entries.
//!
//! Writers are effects of folds; readers are resolvers. A key's text is `<domain>:<what>:{<tag>}`
//! and is made by the domain's `view.rs` alone.

use super::{Call, Error, Reply, Store, scripts};
use crate::fold::Version;
use serde::{Serialize, de::DeserializeOwned};

/// What stands under a key or a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot<T> {
    /// Nothing was ever there, or it has not been warmed.
    Missing,
    /// It was removed; that is final.
    Removed,
    /// It is there.
    Present(T),
}

impl<T> Slot<T> {
    /// The value, if it is there.
    pub fn present(self) -> Option<T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Missing | Self::Removed => None,
        }
    }
}

/// One entry of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<T> {
    /// Its id in the list.
    pub id: String,
    /// What the list is ordered by, highest first.
    pub score: i64,
    /// What it holds.
    pub value: T,
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Sets a document; `lifetime_s` 0 keeps it for ever.
pub fn put(key: impl Into<String>, version: Version, value: &impl Serialize, lifetime_s: u64) -> Call {
    Call::script(&scripts::PUT_DOCUMENT, [key]).arg(version.0).arg(json(value)).arg(lifetime_s)
}

/// Removes a document for good.
pub fn remove(key: impl Into<String>, version: Version, lifetime_s: u64) -> Call {
    Call::script(&scripts::PUT_DOCUMENT, [key]).arg(version.0).arg("").arg(lifetime_s)
}

/// Sets one document of a hash; `lifetime_s` 0 leaves the hash's lifetime as it is.
pub fn put_field(
    key: impl Into<String>,
    field: &str,
    version: Version,
    value: &impl Serialize,
    lifetime_s: u64,
) -> Call {
    Call::script(&scripts::PUT_FIELD, [key]).arg(field).arg(version.0).arg(json(value)).arg(lifetime_s)
}

/// Sets one entry of the ordered list under `key` (its entries stand beside it, under `key` + `:e`).
pub fn put_entry(key: &str, id: &str, version: Version, score: i64, value: &impl Serialize) -> Call {
    entry(key, id, version, score, &json(value))
}

/// Removes one entry of an ordered list for good.
pub fn remove_entry(key: &str, id: &str, version: Version) -> Call {
    entry(key, id, version, 0, "")
}

fn entry(key: &str, id: &str, version: Version, score: i64, json: &str) -> Call {
    Call::script(&scripts::PUT_ENTRY, [key.to_owned(), entries_key(key)]).arg(id).arg(version.0).arg(score).arg(json)
}

fn entries_key(key: &str) -> String {
    format!("{key}:e")
}

/// The call that reads a document; [`parse`] reads its reply.
pub fn get(key: impl Into<String>) -> Call {
    Call::command_on("GET", key)
}

/// The call that reads one document of a hash.
pub fn get_field(key: impl Into<String>, field: &str) -> Call {
    Call::command_on("HGET", key).arg(field)
}

/// The call that reads one entry of an ordered list.
pub fn get_entry(key: &str, id: &str) -> Call {
    Call::command_on("HGET", entries_key(key)).arg(id)
}

/// Reads a stored value: version, colon, JSON.
pub fn parse<T: DeserializeOwned>(key: &str, reply: &Reply) -> Result<Slot<T>, Error> {
    let bytes = match reply {
        Reply::BulkString(bytes) => bytes.as_slice(),
        Reply::SimpleString(text) => text.as_bytes(),
        _ => return Ok(Slot::Missing),
    };
    let json = bytes.iter().position(|byte| *byte == b':').map_or(&[][..], |colon| &bytes[colon + 1..]);
    if json.is_empty() {
        return Ok(if bytes.is_empty() { Slot::Missing } else { Slot::Removed });
    }
    serde_json::from_slice(json).map(Slot::Present).map_err(|source| Error::Malformed { key: key.to_owned(), source })
}

impl Store {
    /// Reads one document.
    pub async fn document<T: DeserializeOwned>(&self, key: String) -> Result<Slot<T>, Error> {
        let reply: Reply = self.ask(get(key.as_str())).await?;
        parse(&key, &reply)
    }

    /// Reads many documents in one round trip, in the order of their keys.
    pub async fn documents<T: DeserializeOwned>(&self, keys: &[String]) -> Result<Vec<Slot<T>>, Error> {
        let calls: Vec<Call> = keys.iter().map(|key| get(key.as_str())).collect();
        let replies = self.run(&calls).await?;
        keys.iter().zip(&replies).map(|(key, reply)| parse(key, reply)).collect()
    }

    /// Reads some documents of one hash in one round trip.
    pub async fn fields<T: DeserializeOwned>(&self, key: &str, fields: &[String]) -> Result<Vec<Slot<T>>, Error> {
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        let reply: Vec<Reply> = self.ask(Call::command_on("HMGET", key).arg(fields)).await?;
        reply.iter().map(|reply| parse(key, reply)).collect()
    }

    /// Reads one entry of an ordered list.
    pub async fn entry<T: DeserializeOwned>(&self, key: &str, id: &str) -> Result<Slot<T>, Error> {
        let reply: Reply = self.ask(get_entry(key, id)).await?;
        parse(key, &reply)
    }

    /// Reads up to `count` entries after a place in an ordered list, highest score first.
    pub async fn page<T: DeserializeOwned>(
        &self,
        key: &str,
        after: Option<(i64, &str)>,
        count: usize,
    ) -> Result<Vec<Entry<T>>, Error> {
        let (score, id) = after.map_or((String::new(), ""), |(score, id)| (score.to_string(), id));
        let call =
            Call::script(&scripts::PAGE_ENTRIES, [key.to_owned(), entries_key(key)]).arg(score).arg(id).arg(count);
        let flat: Vec<Reply> = self.ask(call).await?;
        let mut entries = Vec::with_capacity(flat.len() / 3);
        for triple in flat.as_chunks::<3>().0 {
            let id: String = redis::FromRedisValue::from_redis_value_ref(&triple[0])?;
            let score: f64 = redis::FromRedisValue::from_redis_value_ref(&triple[1])?;
            if let Slot::Present(value) = parse(key, &triple[2])? {
                #[expect(clippy::cast_possible_truncation, reason = "scores are written as whole numbers")]
                entries.push(Entry { id, score: score as i64, value });
            }
        }
        Ok(entries)
    }
}
