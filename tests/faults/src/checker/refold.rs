//! The facts of the log, folded once more: what was decided is what they give, and nothing else is.

use super::Found;
use crate::{
    evidence::{Event, Evidence},
    quiet::DOMAINS,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;
use velvet_accounts::Accounts;
use velvet_kernel::{
    fold::{Fold, Moment, Version},
    time::derived_id,
};
use velvet_matching::fold::Matching;
use velvet_messaging::Messaging;

/// Whether a change of a message is taken for up to date depends on what is remembered of changes, and a rebuild
/// forgets some of that: one that was refused for it was asked for again.
const EXCUSED: [&str; 3] = ["message.edited", "message.deleted", "message.reacted"];

/// A decision: its type, its key, its version, its data.
pub type Decision = (String, String, u64, Value);

/// Each decision follows from the facts in log order, and each that follows was made.
pub fn decided_again(evidence: &Evidence) -> Vec<Found> {
    let mut follows = decisions(evidence);
    let mut found = Vec::new();
    let decided = evidence.log.iter().filter(|event| event.topic.ends_with(".decided") && evidence.is_settled(event));
    let mut seen = HashSet::new();
    for event in decided.filter(|event| seen.insert(event.id)) {
        let made = (event.kind.clone(), event.key.clone(), event.version, event.data.clone());
        let follows = follows.remove(&event.id);
        if follows.as_ref() != Some(&made) && !EXCUSED.contains(&event.kind.as_str()) {
            let claim = format!("{} {} was decided as {made:?}, and {follows:?} follows", event.kind, event.id);
            found.push((claim, vec![event.id.to_string()]));
        }
    }
    let missing = follows.into_iter().filter(|(_, (kind, ..))| !EXCUSED.contains(&kind.as_str()));
    found.extend(
        missing.map(|(id, (kind, key, ..))| (format!("{kind} {id} of {key} follows and was not decided"), vec![key])),
    );
    found
}

/// What follows from the facts, by the ids that it must have.
pub fn decisions(evidence: &Evidence) -> HashMap<Uuid, Decision> {
    let mut follows = HashMap::new();
    fold(evidence, DOMAINS[0], &Accounts, &mut follows);
    fold(evidence, DOMAINS[1], &Matching, &mut follows);
    fold(evidence, DOMAINS[2], &Messaging, &mut follows);
    follows
}

fn fold<F: Fold>(evidence: &Evidence, domain: &str, rule: &F, follows: &mut HashMap<Uuid, Decision>) {
    let intake = format!("{domain}.intake");
    let mut entities: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in evidence.log.iter().filter(|event| event.topic == intake && evidence.is_settled(event)) {
        entities.entry(event.key.as_str()).or_default().push(event);
    }
    for (entity, mut events) in entities {
        events.sort_by_key(|event| event.offset);
        let mut state = F::State::default();
        let mut known = HashSet::new();
        for event in events.into_iter().filter(|event| known.insert(event.id)) {
            let Ok(fact) = serde_json::from_value::<F::Fact>(event.data.clone()) else { continue };
            let version = Version::of_offset(event.offset);
            let effects =
                rule.fold(&mut state, fact, &Moment { time: event.time, version, event_id: event.id, entity });
            for (index, decided) in (0_u64..).zip(effects.decided) {
                let place = [event.partition.to_string(), event.offset.to_string(), index.to_string()];
                let id = derived_id(&["decided", domain, &place[0], &place[1], &place[2]]);
                follows.insert(id, (decided.kind.to_owned(), decided.key, version.0 + index, decided.data));
            }
        }
    }
}
