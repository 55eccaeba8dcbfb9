//! The targets, and the words that their inputs are made of.

use std::sync::LazyLock;

use apollo_compiler::Schema;
use apollo_compiler::response::JsonMap;
use serde_json_bytes::Value;
use uuid::Uuid;
use velvet_edge::cost::{self, Weights};
use velvet_edge::key::ApiKey;
use velvet_edge::limits::{Body, Bounds, Document};
use velvet_edge::manifest::{self, Manifest};
use velvet_edge::protocol::ClientMessage;
use velvet_edge::signature::{Signature, Signed};
use velvet_kernel::graph::Cursor;
use velvet_kernel::id::UserId;
use velvet_kernel::live::CursorKey;

pub(crate) const GRAPHQL: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "...",
    ":",
    "$",
    "@",
    "!",
    "\"",
    "\"\"\"",
    "#",
    "query ",
    "mutation ",
    "subscription ",
    "fragment ",
    " on ",
    "Query",
    "User",
    "MatchConnection",
    "me",
    "matches",
    "conversations",
    "messages",
    "edges",
    "node",
    "nodes",
    "first: ",
    "last: ",
    "100",
    "-1",
    "99999999999999999999",
    "$n",
    "($n: Int = 3)",
    "@skip(if: true)",
    "@include(if: $n)",
    "__typename",
    "__schema",
    "...F",
    "fragment F on User { id }",
    "\0",
    "{\"n\":7}",
    "null",
];

pub(crate) const JSON: &[&str] = &["{", "}", "[", "]", ",", ":", "null"];

pub(crate) const BODIES: &[&str] = &[
    "\"query\"",
    "\"operationName\"",
    "\"variables\"",
    "\"extensions\"",
    "\"\\u0061\"",
    "\"{ me }\"",
    "true",
    "1e400",
    "-0.0",
    "184467440737095516160",
    "\\ud800",
    "\u{feff}",
];

pub(crate) const MESSAGES: &[&str] = &[
    "\"type\"",
    "\"id\"",
    "\"payload\"",
    "\"connection_init\"",
    "\"subscribe\"",
    "\"complete\"",
    "\"ping\"",
    "\"pong\"",
    "\"authorization\"",
    "\"Bearer a\"",
    "\"query\"",
    "\"variables\"",
    "7",
    "\\u0000",
    "\"1\"",
];

pub(crate) const CURSORS: &[&str] =
    &["-", "_", "=", "A", "0", "18446744073709551615", "18446744073709551616", "AAAAAAAA"];

pub(crate) const MANIFESTS: &[&str] = &[
    "\"format\"",
    "\"apollo-persisted-query-manifest\"",
    "\"version\"",
    "1",
    "1.0",
    "\"operations\"",
    "\"id\"",
    "\"body\"",
    "\"name\"",
    "\"type\"",
    "\"a/b\"",
    "\"{ a }\"",
    "\\u0000",
];

pub(crate) const KEYS: &[&str] =
    &["vk_test_", "vk_live_", "_", "-", "abcdef012345", "A", "\n", "\0", "é", "1790000000", "0123456789abcdef"];

const SUPERGRAPH: &str = include_str!("../../../schema/supergraph.graphql");

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| {
    let schema = Schema::parse(SUPERGRAPH, "supergraph.graphql").expect("the composed schema parses");
    Weights::of(&schema).expect("its weights are numbers")
});

const BOUNDS: Bounds = Bounds {
    body_bytes: 256 * 1024,
    tokens: 8_000,
    depth: 15,
    root_fields: 20,
    fields: 2_000,
    aliases: 30,
    directives: 50,
    page: 100,
    cost: 10_000,
};

/// A text, and after a zero byte its variables, and after another the data of a response.
pub(crate) fn operation(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let Some(text) = parts.next().and_then(|text| std::str::from_utf8(text).ok()) else { return };
    let mut json = || parts.next().and_then(|part| serde_json::from_slice::<Value>(part).ok());
    let variables = match json() {
        Some(Value::Object(variables)) => variables,
        _ => JsonMap::new(),
    };
    let data = json().unwrap_or_default();
    let Ok(document) = Document::parse(text, BOUNDS.tokens) else { return };
    let admitted = BOUNDS.admit(&document, &variables).is_ok();
    let known = cost::estimate(&WEIGHTS, &document, None, Some(&variables));
    let _ = cost::estimate(&WEIGHTS, &document, None, None);
    if admitted {
        let cost = cost::actual(&WEIGHTS, &document, None, &data);
        if let Ok(known) = known {
            assert_eq!(cost.is_some(), known.is_some(), "weighed before or after it ran, not both");
        }
        assert_eq!(known, cost::estimate(&WEIGHTS, &document, None, Some(&variables)), "weighed twice, told two costs");
    }
}

/// What is a body is one to any other reader too, and says the same.
pub(crate) fn body(input: &[u8]) {
    let Ok(body) = Body::parse(input) else { return };
    let value: Value = serde_json::from_slice(input).expect("a body is JSON");
    assert_eq!(value.get("query").and_then(Value::as_str), body.query.as_deref());
    assert_eq!(value.get("variables").and_then(Value::as_object), body.variables.as_ref());
}

/// What is a message is an object of a known type.
pub(crate) fn socket(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some(message) = ClientMessage::parse(text) else { return };
    let value: Value = serde_json::from_str(text).expect("a message is JSON");
    assert!(value.is_object());
    if let ClientMessage::Subscribe(id, _) | ClientMessage::Complete(id) = message {
        assert!(!id.is_empty());
        assert_eq!(value.get("id").and_then(Value::as_str), Some(id.as_str()));
    }
}

/// Nothing that we did not sign opens.
pub(crate) fn cursor(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let key = CursorKey::new("a secret of the fuzzer's, 32 characters long").expect("it is long enough");
    assert!(key.open("matching", UserId(Uuid::nil()), &Cursor(text.to_owned())).is_err(), "a forged cursor opens");
}

/// What is a manifest is within its bounds, and so is each operation that nothing is wrong with.
pub(crate) fn manifest(input: &[u8]) {
    let Ok(manifest) = Manifest::parse(input) else { return };
    assert!((1..=manifest::OPERATIONS_MAX).contains(&manifest.operations.len()));
    let problems = manifest.problems();
    assert_eq!(problems.len(), manifest.operations.len());
    for (operation, problems) in manifest.operations.iter().zip(problems) {
        let is_good = manifest::is_id(&operation.id) && operation.body.len() <= manifest::BODY_BYTES_MAX;
        assert!(is_good || !problems.is_empty());
    }
}

/// A key, and after line ends a timestamp, a nonce and a signature: a key is all of its text, and no signature is good that
/// was not made with it.
pub(crate) fn key(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut parts = text.split('\n');
    let Some(key) = parts.next().and_then(ApiKey::parse) else { return };
    assert!(text.starts_with(key.text()) && key.text().contains(key.prefix));
    let Some(signature) = Signature::from_parts(parts.next(), parts.next(), parts.next()) else { return };
    let request = Signed { method: "GET", path_and_query: "/ws", body: b"" };
    assert!(!signature.is_good(&key.hash(), signature.timestamp, request), "a forged signature is good");
}
