//! What is shown after a block.

use super::{Found, text};
use crate::{
    evidence::{Evidence, Fate},
    history::What,
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A stream that was opened this long after the acknowledgement asked for it after the acknowledgement too.
const OPENED_AFTER_MS: u64 = 12_000;

/// Once a block is acknowledged, no answer to a request that is sent later shows either to the other, and nothing
/// that a stream is opened for later is the other's.
pub fn nothing_shown_after(evidence: &Evidence) -> Vec<Found> {
    let fates = evidence.fates();
    let names: BTreeMap<Uuid, &String> = evidence.people.iter().map(|(name, user)| (*user, name)).collect();
    let mut found = Vec::new();
    for block in fates.iter().filter(|fate| fate.told("UserBlocked").is_some()) {
        let (Some(one), Ok(two)) = (evidence.user(&block.who), block.input("userId").parse::<Uuid>()) else {
            continue;
        };
        for (viewer, other) in [(one, two), (two, one)] {
            let Some(who) = names.get(&viewer) else { continue };
            found.extend(answers(&fates, block, who, &other.to_string()));
            found.extend(events(evidence, block, who, &other.to_string()));
        }
    }
    found
}

fn answers(fates: &[Fate], block: &Fate, who: &str, other: &str) -> Vec<Found> {
    let later = fates.iter().filter(|fate| fate.who == who && fate.request.operation != "blockUser");
    let showing = later.filter(|fate| {
        fate.last_asked() > block.answered_at()
            && fate.answer.as_ref().is_some_and(|(_, payload)| payload.to_string().contains(other))
    });
    let claim = |fate: &Fate| {
        let (asked, blocked) = (&fate.request, &block.request);
        let claim = format!(
            "{who}'s {} #{} shows {other} after the block #{} was acknowledged",
            asked.operation, asked.id, blocked.id
        );
        (claim, vec![format!("#{} ", asked.id), format!("#{} ", blocked.id)])
    };
    showing.map(claim).collect()
}

fn events(evidence: &Evidence, block: &Fate, who: &str, other: &str) -> Vec<Found> {
    let acknowledged_ms = evidence.history[block.answered_at()].at_ms;
    let mut found = Vec::new();
    let mut late: Vec<u64> = Vec::new();
    for entry in evidence.history.iter().filter(|entry| entry.who == who) {
        match &entry.what {
            What::Opened { stream, .. } if entry.at_ms > acknowledged_ms + OPENED_AFTER_MS => late.push(*stream),
            What::Heard { stream, event, .. } if late.contains(stream) => {
                let sender = sender_of(evidence, text(&event["message"]["id"]));
                let sent = ["MessageSent", "MessageEdited"].contains(&text(&event["__typename"]));
                if event.to_string().contains(other) || (sent && sender == Some(other)) {
                    let claim = format!(
                        "{who} hears {event} on a stream that was opened after the block #{}",
                        block.request.id
                    );
                    found.push((claim, vec![format!("#{} ", block.request.id), format!("~{stream}")]));
                }
            }
            _ => {}
        }
    }
    found
}

fn sender_of<'a>(evidence: &'a Evidence, message_id: &str) -> Option<&'a str> {
    let row = evidence.rows.of("messages").iter().find(|row| row["message_id"] == message_id)?;
    row["sender_id"].as_str()
}
