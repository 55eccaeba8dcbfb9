//! Positions and marks.

use super::{Found, text};
use crate::evidence::Evidence;
use std::collections::BTreeMap;

/// Stored positions by conversation.
pub fn positions(evidence: &Evidence) -> BTreeMap<&str, Vec<i64>> {
    let mut positions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for row in evidence.rows.of("messages") {
        positions.entry(text(&row["conversation_id"])).or_default().push(row["position"].as_i64().unwrap_or(-1));
    }
    for positions in positions.values_mut() {
        positions.sort_unstable();
    }
    positions
}

/// Positions of each conversation are 1, 2, 3, …
pub fn dense(evidence: &Evidence) -> Vec<Found> {
    let gaps =
        positions(evidence).into_iter().filter(|(_, positions)| !(1..).zip(positions).all(|(want, is)| want == *is));
    gaps.map(|(id, positions)| (format!("{id} has the positions {positions:?}"), vec![id.to_owned()])).collect()
}

/// How far a user has read, by the rows: their mark, or the last message of their own.
pub fn mark_of(evidence: &Evidence, conversation: &str, user: &str) -> i64 {
    let of = |table: &str, column: &str| {
        let rows = evidence.rows.of(table).iter();
        let own = rows.filter(|row| row["conversation_id"] == conversation && row[column] == user);
        own.filter_map(|row| row["position"].as_i64()).max().unwrap_or_default()
    };
    of("read_marks", "user_id").max(of("messages", "sender_id"))
}

/// The counts that people see equal those that the rows give.
pub fn unread(evidence: &Evidence) -> Vec<Found> {
    let positions = positions(evidence);
    let mut found = Vec::new();
    for (user, view) in &evidence.views {
        for (id, conversation) in &view.conversations {
            let mark = mark_of(evidence, id, &user.to_string());
            let unread = positions.get(id.as_str()).into_iter().flatten().filter(|position| **position > mark).count();
            if conversation["unreadCount"] != unread {
                let claim =
                    format!("{user} is shown {} unread in {id} where {unread} are", conversation["unreadCount"]);
                found.push((claim, vec![id.clone()]));
            }
            let other = text(&conversation["with"]["id"]);
            let theirs = mark_of(evidence, id, other);
            if conversation["readByOther"] != theirs {
                let shown = &conversation["readByOther"];
                found.push((
                    format!("{user} is shown that {other} has read {id} up to {shown}, not {theirs}"),
                    vec![id.clone()],
                ));
            }
        }
    }
    found
}
