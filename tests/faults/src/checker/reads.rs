//! What people read, against what they had been told of their own writes.

use super::{Found, text};
use crate::evidence::{Evidence, Fate};

/// The messages that a page shows.
const PAGE: usize = 50;

/// Whoever asks after a write of their own was acknowledged sees it.
pub fn own_writes_are_seen(evidence: &Evidence) -> Vec<Found> {
    let fates = evidence.fates();
    let mut found = Vec::new();
    for read in fates.iter().filter(|fate| fate.answer.is_some()) {
        let before = |write: &&Fate| write.who == read.who && write.answered_at() < read.last_asked();
        let own: Vec<&Fate> = fates.iter().filter(before).collect();
        let claims = match read.request.operation {
            "conversation" => conversation(evidence, read, &own),
            "me" => me(&fates, read, &own),
            "matches" => matches(&fates, read, &own),
            _ => Vec::new(),
        };
        for (claim, write) in claims {
            let claim = format!("{}'s {} #{} does not show {claim}", read.who, read.request.operation, read.request.id);
            found.push((claim, vec![format!("#{} ", read.request.id), format!("#{} ", write.request.id)]));
        }
    }
    found
}

type Claims<'a> = Vec<(String, &'a Fate)>;

fn conversation<'a>(evidence: &Evidence, read: &Fate, own: &[&'a Fate]) -> Claims<'a> {
    let id = read.request.input.as_str().unwrap_or_default();
    let payload = read.answer.as_ref().map(|(_, payload)| payload).cloned().unwrap_or_default();
    let hidden = evidence
        .conversations()
        .get(id)
        .is_some_and(|(one, other)| evidence.blocked_pairs().contains(&(*one.min(other), *one.max(other))));
    if payload.is_null() && hidden {
        return Vec::new();
    }
    let nodes = payload["messages"]["nodes"].as_array().cloned().unwrap_or_default();
    let shown: Vec<i64> = nodes.iter().filter_map(|node| node["position"].as_i64()).collect();
    let first = if shown.len() < PAGE { 0 } else { shown.first().copied().unwrap_or_default() };
    let mut claims = Vec::new();
    for write in own.iter().filter(|write| write.input("conversationId") == id) {
        let position = write.told("MessageSent").and_then(|told| told["message"]["position"].as_i64());
        if let Some(position) = position.filter(|position| *position >= first && !shown.contains(position)) {
            claims.push((format!("the message at {position} of #{}", write.request.id), *write));
        }
    }
    for write in own.iter().filter(|write| write.told("MessageEdited").is_some()) {
        let node = nodes.iter().find(|node| node["id"] == write.input("messageId"));
        if let Some(node) = node.filter(|node| node["deleted"] == false && node["body"] != write.input("body")) {
            claims.push((format!("the edit #{} but {}", write.request.id, node["body"]), *write));
        }
    }
    for write in own.iter().filter(|write| write.told("MessageDeleted").is_some()) {
        let node = nodes.iter().find(|node| node["id"] == write.input("messageId"));
        if node.is_some_and(|node| node["deleted"] == false) {
            claims.push((format!("the deletion #{}", write.request.id), *write));
        }
    }
    claims
}

fn me<'a>(fates: &[Fate], read: &Fate, own: &[&'a Fate]) -> Claims<'a> {
    let updates = own.iter().filter(|write| write.told("ProfileUpdated").is_some());
    let Some(last) = updates.max_by_key(|write| write.answered_at()) else { return Vec::new() };
    // One that was sent but not answered may have come to count at any time since.
    let open = fates.iter().any(|fate| {
        let update = fate.who == read.who && fate.request.operation == "updateProfile";
        update && fate.request.id != last.request.id && (fate.failed > 0 || fate.answered_at() > read.last_asked())
    });
    let shown = read.answer.as_ref().map(|(_, me)| text(&me["user"]["bio"]).to_owned()).unwrap_or_default();
    if open || shown == last.input("bio") {
        Vec::new()
    } else {
        vec![(format!("the profile of #{} but {shown:?}", last.request.id), last)]
    }
}

fn matches<'a>(fates: &[Fate], read: &Fate, own: &[&'a Fate]) -> Claims<'a> {
    let shown = read.answer.as_ref().map(|(_, page)| page.to_string()).unwrap_or_default();
    let mut claims = Vec::new();
    for write in own {
        let Some(id) = write.told("Swiped").and_then(|told| told["match"]["id"].as_str()) else { continue };
        let ended = fates.iter().any(|fate| match fate.request.operation {
            "unmatch" => fate.input("matchId") == id,
            "blockUser" => true,
            _ => false,
        });
        if !ended && !shown.contains(id) {
            claims.push((format!("the match {id} of #{}", write.request.id), *write));
        }
    }
    claims
}
