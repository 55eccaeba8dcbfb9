//! PostgreSQL against the log: each row is what the newest decided event about it says, and there is no other.

use super::{Found, text};
use crate::evidence::{Event, Evidence};
use chrono::DateTime;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Tables: the types of events that make their rows, and what tells rows apart.
const TABLES: &[(&str, &[&str], &[&str])] = &[
    ("users", &["user.created", "user.updated", "user.located", "user.active", "user.verified"], &["user_id"]),
    ("sessions", &["session.started", "session.rotated", "session.ended"], &["user_id", "family_id"]),
    ("swipes", &["matching.swipe"], &["swiper_id", "swiped_id"]),
    ("matches", &["matching.matched", "matching.unmatched"], &["owner_id", "match_id"]),
    ("blocks", &["matching.blocked"], &["blocker_id", "blocked_id"]),
    ("conversations", &["conversation.opened", "conversation.closed"], &["conversation_id"]),
    ("conversation_members", &["conversation.joined"], &["user_id", "conversation_id"]),
    ("messages", &["message.sent", "message.edited", "message.deleted"], &["conversation_id", "position"]),
    ("reactions", &["message.reacted"], &["conversation_id", "position", "user_id", "emoji"]),
    ("read_marks", &["message.read"], &["conversation_id", "user_id"]),
];

/// Each table holds the newest row that was decided under each key, and nothing else.
pub fn database_equals_replay(evidence: &Evidence) -> Vec<Found> {
    let mut found = Vec::new();
    for (table, kinds, keys) in TABLES {
        let decided = evidence.decided(kinds);
        let mut newest: BTreeMap<String, &Event> = BTreeMap::new();
        for event in decided.iter().copied().filter(|event| evidence.is_settled(event)) {
            let before = newest.entry(key_of(&event.data, keys)).or_insert(event);
            if event.version > before.version {
                *before = event;
            }
        }
        let mut stored: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        for row in evidence.rows.of(table) {
            stored.entry(key_of(row, keys)).or_default().push(row);
        }
        let all: BTreeSet<&String> = newest.keys().chain(stored.keys()).collect();
        for key in all {
            let rows = stored.get(key).map_or(&[][..], Vec::as_slice);
            let since = decided.iter().copied().find(|event| {
                !evidence.is_settled(event)
                    && rows.iter().any(|row| row["version"] == event.version)
                    && key_of(&event.data, keys) == *key
            });
            if let Some(claim) = differs(since.or_else(|| newest.get(key).copied()), rows) {
                let about = key.split(' ').map(str::to_owned).filter(|part| part.len() > 8).collect();
                found.push((format!("{table} {key}: {claim}"), about));
            }
        }
    }
    found
}

fn key_of(row: &Value, keys: &[&str]) -> String {
    let part = |key: &&str| row[*key].as_str().map_or_else(|| row[*key].to_string(), str::to_owned);
    keys.iter().map(part).collect::<Vec<_>>().join(" ")
}

fn differs(event: Option<&Event>, rows: &[&Value]) -> Option<String> {
    match (event, rows) {
        (None, rows) => Some(format!("there are {} rows, and nothing was decided", rows.len())),
        (Some(event), []) => Some(format!("{} {} has no row", event.kind, event.id)),
        (Some(event), [row]) => differing_column(event, row),
        (Some(_), rows) => Some(format!("there are {} rows", rows.len())),
    }
}

fn differing_column(event: &Event, row: &Value) -> Option<String> {
    let empty = Map::new();
    let data = event.data.as_object().unwrap_or(&empty);
    if row["version"].as_u64() != Some(event.version) {
        return Some(format!("the row has the version {} and the log {}", row["version"], event.version));
    }
    let shared = data.iter().filter_map(|(name, value)| Some((name, value, row.get(name)?)));
    let mut differing = shared.filter(|(_, decided, stored)| !same(decided, stored));
    differing.next().map(|(name, decided, stored)| format!("{name} is {stored} and was decided as {decided}"))
}

/// Scalars alone: how a document is spread over columns is the table's own affair. Times may be written differently.
fn same(decided: &Value, stored: &Value) -> bool {
    if decided.is_object() || decided.is_array() || decided == stored {
        return true;
    }
    let time = |value: &Value| DateTime::parse_from_rfc3339(text(value)).ok();
    matches!((time(decided), time(stored)), (Some(one), Some(other)) if one == other)
}
