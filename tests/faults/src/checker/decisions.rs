//! What stands in the log more than once is the same each time; what follows has an id that its cause gives; and
//! times are the facts' own.

use super::{Found, text};
use crate::evidence::Evidence;
use chrono::DateTime;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use velvet_kernel::time::derived_id;

/// Facts that relays make, and who makes them.
const RELAYED: [(&str, &str); 6] = [
    ("messaging.fact.opened", "messaging"),
    ("messaging.fact.closed", "messaging"),
    ("messaging.fact.blocked", "messaging"),
    ("matching.fact.conversation_opened", "matching"),
    ("matching.fact.profile", "matching"),
    ("accounts.fact.hidden", "accounts"),
];
/// Decided events that carry the time of their fact.
const TIMED: [(&str, &str); 4] = [
    ("message.sent", "sent_at"),
    ("matching.swipe", "swiped_at"),
    ("message.reacted", "reacted_at"),
    ("matching.blocked", "blocked_at"),
];

pub fn follow_from_the_log(evidence: &Evidence) -> Vec<Found> {
    [repeats(evidence), reactions(evidence), times(evidence)].concat()
}

/// A decision that was made again is the same decision.
fn repeats(evidence: &Evidence) -> Vec<Found> {
    let mut first = BTreeMap::new();
    let mut found = Vec::new();
    for event in evidence.log.iter().filter(|event| event.topic.ends_with(".decided")) {
        let this = (&event.kind, &event.key, event.version, &event.data);
        let before = first.entry(event.id).or_insert(this);
        if *before != this {
            found.push((
                format!("{} {} was decided as {before:?} and as {this:?}", event.kind, event.id),
                vec![event.id.to_string()],
            ));
        }
    }
    found
}

/// A fact that a relay has made is named by what it follows from, and each of those has been made.
fn reactions(evidence: &Evidence) -> Vec<Found> {
    let mut right: BTreeSet<Uuid> = BTreeSet::new();
    for cause in evidence.log.iter().filter(|event| event.topic.ends_with(".decided")) {
        let id = cause.id.to_string();
        right.extend(["matching", "messaging"].map(|domain| derived_id(&["relay", domain, &id])));
        for column in ["blocker_id", "blocked_id"] {
            right.insert(derived_id(&["accounts", "hidden", &id, text(&cause.data[column])]));
        }
    }
    let relayed = |kind: &str| RELAYED.iter().any(|(relayed, _)| *relayed == kind);
    let wrong = evidence.log.iter().filter(|event| relayed(&event.kind) && !right.contains(&event.id));
    wrong
        .map(|event| {
            let claim = format!("{} of {} has the id {}, which nothing gives", event.kind, event.key, event.id);
            (claim, vec![event.id.to_string()])
        })
        .collect()
}

fn times(evidence: &Evidence) -> Vec<Found> {
    let mut found = Vec::new();
    for event in &evidence.log {
        let Some((_, column)) = TIMED.iter().find(|(kind, _)| *kind == event.kind) else { continue };
        let at = DateTime::parse_from_rfc3339(text(&event.data[*column])).ok();
        if at.is_none_or(|at| at.timestamp_micros() != event.time.timestamp_micros()) {
            let claim = format!(
                "{} of {} says {} where its fact was of {}",
                event.kind, event.key, event.data[*column], event.time
            );
            found.push((claim, vec![event.id.to_string()]));
        }
    }
    found
}
