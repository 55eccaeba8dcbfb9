//! A request's body: one operation, no key twice.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use apollo_compiler::response::JsonMap;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::document::Unread;
use super::refusal::{Code, Refusal};

/// What a client sends over HTTP (GraphQL over HTTP, the request's parameters).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    /// The text; absent when it is named by its hash.
    #[serde(default)]
    pub query: Option<String>,
    /// Which operation of the text is meant.
    #[serde(default)]
    pub operation_name: Option<String>,
    /// The variables, by name.
    #[serde(default)]
    pub variables: Option<JsonMap>,
    /// Whatever else client and router have agreed on.
    #[serde(default)]
    pub extensions: Option<JsonMap>,
}

impl Body {
    /// Reads a body. Two readers of a key that stands twice would see two operations.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unread> {
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            return Err(Refusal::new(Code::BatchRefused).into());
        }
        let twice = Cell::new(false);
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        if Unique(&twice).deserialize(&mut deserializer).is_err() {
            return Err(if twice.get() { Refusal::new(Code::DuplicateKey).into() } else { Unread::Malformed });
        }
        serde_json::from_slice(bytes).map_err(|_| Unread::Malformed)
    }
}

/// Reads any JSON, keeps nothing, and notes a key that stands twice in one object.
#[derive(Clone, Copy)]
struct Unique<'f>(&'f Cell<bool>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            if !seen.insert(key) {
                self.0.set(true);
                return Err(A::Error::custom("a key stands twice"));
            }
            members.next_value_seed(self)?;
        }
        Ok(())
    }
}
