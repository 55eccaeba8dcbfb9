//! What clients were told of their writes, against what the log and PostgreSQL hold.

use super::{Found, text};
use crate::evidence::{Evidence, Fate};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;
use velvet_kernel::command::request_id;

/// What a request must have left behind.
struct Traces<'a> {
    evidence: &'a Evidence,
    fate: &'a Fate,
    about: Vec<String>,
    found: Vec<String>,
}

impl Traces<'_> {
    fn expect(&mut self, holds: bool, claim: impl FnOnce() -> String) {
        if !holds {
            self.found.push(claim());
        }
    }

    /// The fact or command is in its topic, and nothing else has its id.
    fn logged_under(&mut self, topic: &str, id: Uuid) {
        let events = self.evidence.log.iter().filter(|event| event.topic == topic && event.id == id);
        let keys = events.map(|event| event.key.as_str()).collect::<BTreeSet<_>>().len();
        self.expect(keys == 1, || format!("{keys} entities have an event {id} in {topic}"));
    }

    /// What was decided is one event, however often it stands in the log.
    fn decided_once(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) {
        let count = decided(self.evidence, kind, wanted);
        self.expect(count == 1, || format!("{count} different {kind} were decided"));
    }

    fn stored_once(&mut self, table: &str, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let rows: Vec<&Value> = self.evidence.rows.of(table).iter().filter(|row| wanted(row)).collect();
        self.expect(rows.len() == 1, || format!("{} rows in {table}", rows.len()));
        rows.first().map(|row| (*row).clone())
    }
}

fn decided(evidence: &Evidence, kind: &str, wanted: impl Fn(&Value) -> bool) -> usize {
    evidence.decided(&[kind]).into_iter().filter(|event| wanted(&event.data)).count()
}

/// The id that a write must have.
fn id_of(evidence: &Evidence, fate: &Fate) -> Option<Uuid> {
    let user = evidence.user(&fate.who).map(|user| user.to_string()).unwrap_or_default();
    let key = fate.request.key.as_deref();
    key?;
    let scope = match fate.request.operation {
        "sendMessage" => format!("{user}:{}", fate.input("conversationId")),
        "swipe" => format!("{user}:{}", fate.input("userId")),
        "register" => fate.input("email").to_lowercase(),
        _ => return None,
    };
    Some(request_id(&scope, fate.request.operation, key, Uuid::nil()))
}

/// An acknowledged write is in the log under one id, and in PostgreSQL exactly once.
pub fn acknowledged(evidence: &Evidence) -> Vec<Found> {
    let mut found = Vec::new();
    for fate in &evidence.fates() {
        let mut about = vec![format!("#{} ", fate.request.id)];
        about.extend(fate.request.key.clone());
        let mut traces = Traces { evidence, fate, about, found: Vec::new() };
        match fate.request.operation {
            "sendMessage" => sent(&mut traces),
            "swipe" => swiped(&mut traces),
            "register" => registered(&mut traces),
            "reactToMessage" => reacted(&mut traces),
            "editMessage" => edited(&mut traces),
            "deleteMessage" => deleted(&mut traces),
            "markRead" => marked(&mut traces),
            "updateProfile" => introduced(&mut traces),
            "blockUser" => blocked(&mut traces),
            "unmatch" => unmatched(&mut traces),
            _ => {}
        }
        let Traces { about, found: claims, .. } = traces;
        let name = |claim| {
            format!("{}'s {} #{} was acknowledged, but {claim}", fate.who, fate.request.operation, fate.request.id)
        };
        found.extend(claims.into_iter().map(|claim| (name(claim), about.clone())));
    }
    found
}

fn sent(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    let (Some(told), Some(id)) = (fate.told("MessageSent"), id_of(traces.evidence, fate)) else { return };
    let (position, key) = (told["message"]["position"].clone(), fate.request.key.as_deref().unwrap_or_default());
    let is = |row: &Value| text(&row["client_id"]) == key && row["event_id"] == id.to_string().as_str();
    traces.logged_under("messaging.intake", id);
    traces.decided_once("message.sent", is);
    if let Some(row) = traces.stored_once("messages", is) {
        traces.expect(row["position"] == position, || {
            format!("stored at {} and told to be at {position}", row["position"])
        });
        let (body, untouched) = (fate.input("body"), row["edited_at"].is_null() && row["deleted"] == false);
        traces.expect(!untouched || row["body"] == body, || format!("stored as {} and not as {body}", row["body"]));
    }
}

fn swiped(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    let (Some(_), Some(id), Some(user)) =
        (fate.told("Swiped"), id_of(traces.evidence, fate), traces.evidence.user(&fate.who))
    else {
        return;
    };
    traces.logged_under("matching.intake", id);
    traces.decided_once("matching.swipe", |row| row["event_id"] == id.to_string().as_str());
    let (user, other) = (user.to_string(), fate.input("userId"));
    traces.stored_once("swipes", |row| row["swiper_id"] == user.as_str() && row["swiped_id"] == other);
}

fn registered(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    let (Some(told), Some(id)) = (fate.told("Session"), id_of(traces.evidence, fate)) else { return };
    traces.logged_under("accounts.commands", id);
    let user = text(&told["account"]["user"]["id"]).to_owned();
    traces.stored_once("users", |row| row["user_id"] == user.as_str());
    traces.stored_once("account_emails", |row| {
        row["user_id"] == user.as_str() && row["command_id"] == id.to_string().as_str()
    });
}

/// What an answer about a message names: the row's columns say which message has that id.
fn position_of(evidence: &Evidence, message_id: &str) -> Option<(String, i64)> {
    let row = evidence.rows.of("messages").iter().find(|row| row["message_id"] == message_id)?;
    Some((text(&row["conversation_id"]).to_owned(), row["position"].as_i64()?))
}

fn reacted(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    let (Some(_), Some(user)) = (fate.told("MessageReacted"), traces.evidence.user(&fate.who)) else { return };
    let place = position_of(traces.evidence, fate.input("messageId"));
    traces.expect(place.is_some(), || "there is no such message".to_owned());
    let Some((conversation, position)) = place else { return };
    let (user, emoji) = (user.to_string(), fate.input("emoji"));
    let is = |row: &Value| {
        row["conversation_id"] == conversation.as_str()
            && row["position"] == position
            && row["user_id"] == user.as_str()
            && row["emoji"] == emoji
            && row["removed"] == false
    };
    traces.decided_once("message.reacted", is);
    traces.stored_once("reactions", is);
}

fn edited(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    if fate.told("MessageEdited").is_none() {
        return;
    }
    let (id, body) = (fate.input("messageId"), fate.input("body"));
    let count = decided(traces.evidence, "message.edited", |row| row["message_id"] == id && row["body"] == body);
    // An edit has no key, so one that was not answered and sent again is decided again.
    let most = 1 + fate.failed;
    traces.expect((1..=most).contains(&count), || format!("{count} edits were decided"));
    if let Some(row) = traces.stored_once("messages", |row| row["message_id"] == id) {
        let stands = row["body"] == body || row["deleted"] == true;
        traces.expect(stands, || format!("it is stored as {} and not as {body}", row["body"]));
    }
}

fn deleted(traces: &mut Traces<'_>) {
    let id = traces.fate.input("messageId");
    if traces.fate.told("MessageDeleted").is_some()
        && let Some(row) = traces.stored_once("messages", |row| row["message_id"] == id)
    {
        traces.expect(row["deleted"] == true, || format!("it is stored as {row}"));
    }
}

fn marked(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    let (Some(told), Some(user)) = (fate.told("ReadMarked"), traces.evidence.user(&fate.who)) else { return };
    let (conversation, user) = (fate.input("conversationId"), user.to_string());
    let mark = super::messages::mark_of(traces.evidence, conversation, &user);
    let position = told["position"].as_i64().unwrap_or_default();
    traces.expect(mark >= position, || format!("the mark is stored at {mark} and was told to be at {position}"));
}

fn introduced(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    if fate.told("ProfileUpdated").is_some() {
        let (user, bio) = (traces.evidence.user(&fate.who).unwrap_or_default().to_string(), fate.input("bio"));
        let count =
            decided(traces.evidence, "user.updated", |row| row["user_id"] == user.as_str() && row["bio"] == bio);
        traces.expect(count >= 1, || "no user.updated has it".to_owned());
    }
}

fn blocked(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    let (Some(_), Some(user)) = (fate.told("UserBlocked"), traces.evidence.user(&fate.who)) else { return };
    let (user, other) = (user.to_string(), fate.input("userId"));
    let is = |row: &Value| row["blocker_id"] == user.as_str() && row["blocked_id"] == other;
    traces.decided_once("matching.blocked", is);
    traces.stored_once("blocks", is);
}

fn unmatched(traces: &mut Traces<'_>) {
    let fate = traces.fate;
    let (Some(_), Some(user)) = (fate.told("Unmatched"), traces.evidence.user(&fate.who)) else { return };
    let (user, id) = (user.to_string(), fate.input("matchId"));
    if let Some(row) = traces.stored_once("matches", |row| row["match_id"] == id && row["owner_id"] == user.as_str()) {
        traces.expect(row["status"] != "active", || format!("the match is stored as {row}"));
    }
}

/// A typed refusal leaves nothing. One that came after attempts without an answer is left out: the first may count.
pub fn refused(evidence: &Evidence) -> Vec<Found> {
    let mut found = Vec::new();
    for fate in evidence.fates() {
        let Some((_, payload)) = fate.answer.as_ref().filter(|_| fate.failed == 0) else { continue };
        let (kind, table) = match (fate.request.operation, text(&payload["__typename"])) {
            ("sendMessage", "ConversationNotFound" | "ConversationClosed" | "InputInvalid") => {
                ("message.sent", "messages")
            }
            ("swipe", "UserNotFound" | "QuotaUsedUp") => ("matching.swipe", "swipes"),
            _ => continue,
        };
        let id = id_of(evidence, &fate).unwrap_or_default().to_string();
        let is = |row: &Value| row["event_id"] == id.as_str();
        let (decided, stored) =
            (decided(evidence, kind, is), evidence.rows.of(table).iter().filter(|row| is(row)).count());
        if decided + stored > 0 {
            let claim = format!(
                "{}'s #{} was refused, but {decided} {kind} and {stored} rows have it",
                fate.who, fate.request.id
            );
            found.push((claim, vec![id, format!("#{} ", fate.request.id)]));
        }
    }
    found
}

/// Whatever was told or not: no message, swipe or account is there twice.
pub fn unanswered(evidence: &Evidence) -> Vec<Found> {
    let mut found = Vec::new();
    for fate in evidence.fates() {
        let Some(id) = id_of(evidence, &fate).filter(|_| fate.answer.is_none()) else { continue };
        let (kind, table) = match fate.request.operation {
            "sendMessage" => ("message.sent", "messages"),
            "swipe" => ("matching.swipe", "swipes"),
            _ => continue,
        };
        let id = id.to_string();
        let is = |row: &Value| row["event_id"] == id.as_str();
        let (decided, stored) =
            (decided(evidence, kind, is), evidence.rows.of(table).iter().filter(|row| is(row)).count());
        if decided > 1 || stored > 1 {
            let claim = format!("{}'s #{} has {decided} {kind} and {stored} rows", fate.who, fate.request.id);
            found.push((claim, vec![id, format!("#{} ", fate.request.id)]));
        }
    }
    let messages = evidence.rows.of("messages").iter();
    let mut keys = BTreeSet::new();
    for row in messages {
        let key = format!("{} {} {}", row["conversation_id"], row["sender_id"], row["client_id"]);
        if !keys.insert(key.clone()) {
            found.push((format!("a message is stored twice: {key}"), vec![text(&row["client_id"]).to_owned()]));
        }
    }
    found
}
