//! Manifests of persisted operations, as Apollo's and Relay's build tools write them.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::map::Map;

use crate::sha256_hex;

/// Operations in one manifest.
pub const OPERATIONS_MAX: usize = 500;
/// Bytes of one operation's text.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a whole manifest.
pub const MANIFEST_BYTES_MAX: usize = 1_000_000;

const ID_CHARS_MAX: usize = 128;
const APOLLO_FORMAT: &str = "apollo-persisted-query-manifest";
const APOLLO_VERSION: u64 = 1;

/// Why a text is not a manifest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Larger than [`MANIFEST_BYTES_MAX`].
    #[error("the manifest is larger than {MANIFEST_BYTES_MAX} bytes")]
    TooLarge,
    /// Not JSON, or JSON of another form.
    #[error("the manifest is neither Apollo's (version {APOLLO_VERSION}) nor Relay's map of ids to texts")]
    Form,
    /// Nothing in it.
    #[error("the manifest names no operation")]
    Empty,
    /// More than [`OPERATIONS_MAX`].
    #[error("the manifest names more than {OPERATIONS_MAX} operations")]
    TooMany,
}

/// One operation of a manifest, not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// What clients call it by.
    pub id: String,
    /// Its text.
    pub body: String,
    /// Its name, as the manifest says.
    #[serde(default)]
    pub name: Option<String>,
    /// `query`, `mutation` or `subscription`, as the manifest says.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// A manifest in one of the known forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The operations, in the manifest's order.
    pub operations: Vec<Listed>,
    /// Whether each id must be the SHA-256 of its text: Apollo's are, Relay's are whatever was configured.
    pub ids_are_hashes: bool,
}

impl Manifest {
    /// Reads either form.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let object: Map<String, Value> = serde_json::from_slice(text).map_err(|_| Error::Form)?;
        let manifest = if object.contains_key("format") { apollo(object)? } else { relay(object)? };
        match manifest.operations.len() {
            0 => Err(Error::Empty),
            1..=OPERATIONS_MAX => Ok(manifest),
            _ => Err(Error::TooMany),
        }
    }

    /// What is wrong with each operation's place in the manifest, in its order: its id, its size.
    pub fn problems(&self) -> Vec<Vec<&'static str>> {
        let mut seen = HashSet::new();
        self.operations
            .iter()
            .map(|operation| {
                let mut problems = Vec::new();
                if !is_id(&operation.id) {
                    problems.push("the id is not 1 to 128 letters, digits, '-', '_' and '.'");
                }
                if !seen.insert(operation.id.as_str()) {
                    problems.push("the id stands in the manifest twice");
                }
                if operation.body.len() > BODY_BYTES_MAX {
                    problems.push("the operation is larger than 64 KiB");
                }
                if self.ids_are_hashes && operation.id != sha256_hex(operation.body.as_bytes()) {
                    problems.push("the id is not the SHA-256 of the operation");
                }
                problems
            })
            .collect()
    }
}

/// Whether an operation may have that id: it stands in addresses.
pub fn is_id(id: &str) -> bool {
    let of_id = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(of_id)
}

fn apollo(mut object: Map<String, Value>) -> Result<Manifest, Error> {
    if object.get("format").and_then(Value::as_str) != Some(APOLLO_FORMAT)
        || object.get("version").and_then(Value::as_u64) != Some(APOLLO_VERSION)
    {
        return Err(Error::Form);
    }
    let operations = object.remove("operations").ok_or(Error::Form)?;
    let operations = serde_json::from_value(operations).map_err(|_| Error::Form)?;
    Ok(Manifest { operations, ids_are_hashes: true })
}

fn relay(object: Map<String, Value>) -> Result<Manifest, Error> {
    let operations = object
        .into_iter()
        .map(|(id, body)| match body {
            Value::String(body) => Ok(Listed { id, body, name: None, kind: None }),
            _ => Err(Error::Form),
        })
        .collect::<Result<_, _>>()?;
    Ok(Manifest { operations, ids_are_hashes: false })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(manifest: &Value) -> Result<Manifest, Error> {
        Manifest::parse(manifest.to_string().as_bytes())
    }

    fn apollo_of(id: &str, body: &str) -> Value {
        let operation = json!({ "id": id, "body": body, "name": "A", "type": "query" });
        json!({ "format": APOLLO_FORMAT, "version": 1, "operations": [operation] })
    }

    #[test]
    fn both_forms_are_read() {
        let body = "query A { a }";
        let hash = sha256_hex(body.as_bytes());
        let manifest = parse(&apollo_of(&hash, body)).unwrap();
        assert_eq!(manifest.operations[0].name.as_deref(), Some("A"));
        assert_eq!(manifest.problems(), [Vec::<&str>::new()]);
        let manifest = parse(&json!({ "0123": body, "4567": "{ b }" })).unwrap();
        assert_eq!(manifest.operations.len(), 2);
        assert_eq!(manifest.problems(), [Vec::<&str>::new(), Vec::new()]);
    }

    #[test]
    fn other_forms_are_not() {
        for other in [
            json!([]),
            json!({ "a": 1 }),
            json!({ "format": APOLLO_FORMAT, "version": 2, "operations": [] }),
            json!({ "format": "other", "version": 1, "operations": [] }),
            json!({ "format": APOLLO_FORMAT, "version": 1 }),
            json!({ "format": APOLLO_FORMAT, "version": 1, "operations": [{ "id": "a" }] }),
        ] {
            assert_eq!(parse(&other), Err(Error::Form), "{other}");
        }
        assert_eq!(Manifest::parse(b"{"), Err(Error::Form));
        assert_eq!(parse(&json!({})), Err(Error::Empty));
        let many: Map<String, Value> = (0..=OPERATIONS_MAX).map(|id| (id.to_string(), json!("{ a }"))).collect();
        assert_eq!(parse(&Value::Object(many)), Err(Error::TooMany));
        assert_eq!(Manifest::parse(&vec![b' '; MANIFEST_BYTES_MAX + 1]), Err(Error::TooLarge));
    }

    #[test]
    fn what_is_wrong_is_said_per_operation() {
        let problems = |manifest: &Value| parse(manifest).unwrap().problems();
        assert_eq!(problems(&apollo_of("0123", "{ a }")), [["the id is not the SHA-256 of the operation"]]);
        assert_eq!(problems(&json!({ "a/b": "{ a }" })).concat().len(), 1);
        assert_eq!(problems(&json!({ "a": "a".repeat(BODY_BYTES_MAX + 1) })).concat().len(), 1);
        let body = "query A { a }";
        let operation = json!({ "id": sha256_hex(body.as_bytes()), "body": body });
        let twice = json!({ "format": APOLLO_FORMAT, "version": 1, "operations": [operation, operation] });
        assert_eq!(problems(&twice), [vec![], vec!["the id stands in the manifest twice"]]);
    }
}
