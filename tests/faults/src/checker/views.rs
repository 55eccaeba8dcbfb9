//! Redis, as the graph shows it, against PostgreSQL.

use super::{Found, text};
use crate::evidence::Evidence;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What people see of their profile, their matches and their messages is what is stored.
pub fn equal_rows(evidence: &Evidence) -> Vec<Found> {
    let blocked = evidence.blocked_pairs();
    let mut found = Vec::new();
    for (user, view) in &evidence.views {
        let id = user.to_string();
        if let Some(row) = evidence.rows.of("users").iter().find(|row| row["user_id"] == id.as_str())
            && view.me["user"]["bio"] != row["bio"]
        {
            found
                .push((format!("{user} is shown {} and has {}", view.me["user"]["bio"], row["bio"]), vec![id.clone()]));
        }
        let hidden = |other: &str| {
            other.parse::<Uuid>().is_ok_and(|other| blocked.contains(&(*user.min(&other), *user.max(&other))))
        };
        let active = evidence
            .rows
            .of("matches")
            .iter()
            .filter(|row| row["owner_id"] == id.as_str() && row["status"] == "active");
        let stored: BTreeSet<&str> = active.map(|row| text(&row["other_id"])).filter(|other| !hidden(other)).collect();
        let shown: BTreeSet<&str> = view.matches.keys().map(String::as_str).filter(|other| !hidden(other)).collect();
        for other in stored.symmetric_difference(&shown) {
            let what = if shown.contains(other) {
                "is shown a match that is not stored, with"
            } else {
                "is not shown the match with"
            };
            found.push((format!("{user} {what} {other}"), vec![id.clone(), (*other).to_owned()]));
        }
        for (conversation, shown) in &view.conversations {
            found.extend(messages(evidence, user, conversation, shown));
        }
    }
    found
}

/// A message: its text, whether it was deleted, and who put which emoji on it.
type Seen<'a> = (&'a str, bool, BTreeSet<(String, String)>);

fn messages(evidence: &Evidence, user: &Uuid, conversation: &str, shown: &Value) -> Vec<Found> {
    let rows = evidence.rows.of("messages").iter().filter(|row| row["conversation_id"] == conversation);
    let mut stored: BTreeMap<i64, Seen<'_>> = rows
        .map(|row| {
            let position = row["position"].as_i64().unwrap_or(-1);
            (position, (text(&row["body"]), row["deleted"] == true, BTreeSet::new()))
        })
        .collect();
    let standing = |row: &&Value| row["conversation_id"] == conversation && row["removed"] == false;
    for row in evidence.rows.of("reactions").iter().filter(standing) {
        if let Some((_, false, reactions)) = row["position"].as_i64().and_then(|position| stored.get_mut(&position)) {
            reactions.insert((text(&row["emoji"]).to_owned(), text(&row["user_id"]).to_owned()));
        }
    }
    let mut found = Vec::new();
    for node in shown["messages"].as_array().into_iter().flatten() {
        let position = node["position"].as_i64().unwrap_or(-1);
        let mut reactions = BTreeSet::new();
        for reaction in node["reactions"].as_array().into_iter().flatten() {
            for who in reaction["userIds"].as_array().into_iter().flatten() {
                reactions.insert((text(&reaction["emoji"]).to_owned(), text(who).to_owned()));
            }
        }
        let seen = (text(&node["body"]), node["deleted"] == true, reactions);
        let held = stored.remove(&position);
        if held.as_ref() != Some(&seen) {
            let claim = format!("{user} is shown {seen:?} at {position} of {conversation}, where {held:?} is stored");
            found.push((claim, vec![conversation.to_owned()]));
        }
    }
    if !stored.is_empty() {
        let positions: Vec<&i64> = stored.keys().collect();
        found.push((
            format!("{user} is not shown the messages {positions:?} of {conversation}"),
            vec![conversation.to_owned()],
        ));
    }
    found
}

/// Redis, wiped and rebuilt from PostgreSQL, shows everybody what it had shown them.
pub fn equal_rebuild(evidence: &Evidence) -> Vec<Found> {
    let Some(rebuilt) = &evidence.rebuilt else { return Vec::new() };
    let mut found = Vec::new();
    for (user, before) in &evidence.views {
        let after = rebuilt.get(user).cloned().unwrap_or_default();
        if before.me != after.me {
            found.push((format!("{user} was {} and is {}", before.me, after.me), vec![user.to_string()]));
        }
        for (before, after) in [(&before.matches, &after.matches), (&before.conversations, &after.conversations)] {
            for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
                if before.get(key) != after.get(key) {
                    let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
                    let claim = format!(
                        "{user} was shown {} and after a rebuild {}",
                        show(before.get(key)),
                        show(after.get(key))
                    );
                    found.push((claim, vec![key.clone()]));
                }
            }
        }
    }
    found
}
