//! Each invariant is refuted by the smallest thing that breaks it, and an honest world by none.

use super::*;
use crate::{
    evidence::Event,
    history::{Entry, Request, What},
    stored::Stored,
    views::View,
};
use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;
use velvet_kernel::command::request_id;

const ALICE: Uuid = Uuid::from_u128(0xa11c_e000_0000_0000_0000_0000_0000_0001);
const BOB: Uuid = Uuid::from_u128(0xb0b0_0000_0000_0000_0000_0000_0000_0002);
const TALK: Uuid = Uuid::from_u128(0xc000_0000_0000_0000_0000_0000_0000_0003);
const SENT_AT: &str = "1970-01-01T00:00:01Z";

fn event(topic: &str, offset: i64, id: Uuid, kind: &str, data: Value) -> Event {
    let version = u64::try_from(offset).unwrap_or_default() << 8;
    let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(1);
    let key = TALK.to_string();
    Event { topic: topic.into(), partition: 0, offset, id, kind: kind.into(), key, time, version, data }
}

fn heard(who: &str, event: Value) -> (String, What) {
    (who.to_owned(), What::Heard { stream: 1, field: "messageEvents", event, errors: false })
}

fn sent_event(position: u64, body: &str) -> Value {
    json!({ "__typename": "MessageSent", "message": {
        "id": format!("m{position}"), "position": position, "body": body, "conversationId": TALK,
    } })
}

fn id_of(client_id: &str) -> Uuid {
    request_id(&format!("{ALICE}:{TALK}"), "sendMessage", Some(client_id), Uuid::nil())
}

/// Alice and Bob have a conversation, and Alice has said two things.
fn world() -> Evidence {
    let opened = json!({ "type": "opened", "match_id": Uuid::nil(), "a": ALICE, "b": BOB, "at": SENT_AT });
    let said = |client_id| json!({ "type": "sent", "sender": ALICE, "client_id": client_id, "body": client_id });
    let log = vec![
        event("messaging.intake", 0, Uuid::nil(), "opened", opened),
        event("messaging.intake", 1, id_of("one"), "messaging.fact.sent", said("one")),
        event("messaging.intake", 2, id_of("two"), "messaging.fact.sent", said("two")),
    ];
    let mut evidence = Evidence { log, ..Evidence::default() };
    decide(&mut evidence);
    let mut history = Vec::new();
    for (position, client_id) in [(1, "one"), (2, "two")] {
        let (operation, key, trace) = ("sendMessage", Some(client_id.to_owned()), format!("trace-{client_id}"));
        let input = json!({ "conversationId": TALK, "clientId": client_id, "body": client_id });
        let request = Arc::new(Request { id: position, operation, key, input, trace });
        let payload = json!({ "__typename": "MessageSent", "message": { "position": position } });
        history.push(("alice".to_owned(), What::Asked { request, router: 0 }));
        history.push(("alice".to_owned(), What::Answered { request: position, payload }));
        history.extend(["alice", "bob"].map(|who| heard(who, sent_event(position, client_id))));
    }
    let entry = |(at_ms, (who, what)): (u64, (String, What))| Entry { at_ms, who, what };
    evidence.history = (0..).zip(history).map(entry).collect();
    evidence.people = [("alice".to_owned(), ALICE), ("bob".to_owned(), BOB)].into();
    evidence.views = [view(ALICE, BOB, (0, 0)), view(BOB, ALICE, (2, 2))].into();
    evidence
}

/// Adds what the facts decide to the log and to the rows.
fn decide(evidence: &mut Evidence) {
    let mut decisions: Vec<_> = refold::decisions(evidence).into_iter().collect();
    decisions.sort_by_key(|(_, (_, _, version, _))| *version);
    for (offset, (id, (kind, key, version, data))) in (0..).zip(decisions) {
        let table = match kind.as_str() {
            "message.sent" => "messages",
            "conversation.opened" => "conversations",
            _ => "conversation_members",
        };
        let mut row = data.clone();
        row["version"] = json!(version);
        evidence.rows.0.entry(table.to_owned()).or_default().push(row);
        let decided = event("messaging.decided", offset, id, &kind, data);
        evidence.log.push(Event { key, version, ..decided });
    }
}

fn decided_of<'a>(evidence: &'a mut Evidence, kind: &str) -> &'a mut Event {
    evidence.log.iter_mut().find(|event| event.kind == kind).expect("such an event")
}

fn view(user: Uuid, other: Uuid, (unread, read_by_other): (i64, i64)) -> (Uuid, View) {
    let node =
        |position: i64, body: &str| json!({ "position": position, "body": body, "deleted": false, "reactions": [] });
    let conversation = json!({
        "id": TALK, "with": { "id": other }, "unreadCount": unread, "readByOther": read_by_other,
        "messages": [node(1, "one"), node(2, "two")],
    });
    (user, View { conversations: [(TALK.to_string(), conversation)].into(), ..View::default() })
}

/// Which invariants a world refutes.
fn refuted(change: impl FnOnce(&mut Evidence)) -> Vec<&'static str> {
    let mut evidence = world();
    change(&mut evidence);
    let mut refuted: Vec<&str> = check(&evidence).iter().map(|refutation| refutation.invariant).collect();
    refuted.dedup();
    refuted
}

fn messages_of(evidence: &mut Evidence) -> &mut Vec<Value> {
    evidence.rows.0.entry("messages".to_owned()).or_default()
}

fn drop_heard(evidence: &mut Evidence, who: &str, position: u64) {
    evidence.history.retain(|entry| {
        !(entry.who == who
            && matches!(&entry.what, What::Heard { event, .. } if event["message"]["position"] == position))
    });
}

#[test]
fn an_honest_world_is_not_refuted() {
    assert_eq!(check(&world()), []);
}

#[test]
fn an_acknowledged_message_that_is_not_stored_is_found() {
    let found = refuted(|evidence| drop(messages_of(evidence).pop()));
    assert!(found.contains(&INVARIANTS[0].0) && found.contains(&"PostgreSQL equals a replay of the log"), "{found:?}");
}

#[test]
fn an_acknowledged_message_that_is_not_in_the_log_is_found() {
    let found = refuted(|evidence| evidence.log.retain(|event| event.kind != "messaging.fact.sent"));
    assert_eq!(found, [INVARIANTS[0].0, "what is decided is what the facts give, folded again"]);
}

#[test]
fn a_message_that_is_stored_twice_is_found() {
    let found = refuted(|evidence| {
        let mut again = messages_of(evidence)[1].clone();
        again["position"] = json!(3);
        messages_of(evidence).push(again);
    });
    assert!(
        found.contains(&INVARIANTS[0].0) && found.contains(&"a write that was not answered is stored at most once")
    );
}

#[test]
fn a_refused_message_that_is_stored_is_found() {
    let found = refuted(|evidence| {
        for entry in &mut evidence.history {
            if let What::Answered { request: 2, payload } = &mut entry.what {
                *payload = json!({ "__typename": "ConversationClosed" });
            }
        }
    });
    assert_eq!(found, ["a refused write is neither decided nor stored"]);
}

#[test]
fn an_event_that_is_missed_is_found_wherever_it_stood() {
    for position in [1, 2] {
        let found = refuted(|evidence| drop_heard(evidence, "bob", position));
        assert_eq!(found, ["every subscriber hears every event once and in order, or a reset"], "{position}");
    }
}

#[test]
fn an_event_that_comes_twice_is_found_and_after_a_reset_it_may() {
    let again = |reset: bool| {
        refuted(move |evidence| {
            let reset = reset.then(|| heard("bob", json!({ "__typename": "StreamReset" })));
            for (who, what) in reset.into_iter().chain([heard("bob", sent_event(2, "two"))]) {
                evidence.history.push(Entry { at_ms: 99, who, what });
            }
        })
    };
    assert_eq!(again(false), ["every subscriber hears every event once and in order, or a reset"]);
    assert!(again(true).is_empty());
}

#[test]
fn an_event_that_came_with_errors_counts_for_one() {
    let unknown = What::Heard { stream: 1, field: "messageEvents", event: json!({}), errors: true };
    let found = refuted(|evidence| {
        drop_heard(evidence, "bob", 1);
        evidence.history.insert(0, Entry { at_ms: 0, who: "bob".to_owned(), what: unknown });
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_count_that_is_off_by_one_is_found() {
    let found = refuted(|evidence| {
        let view = evidence.views.get_mut(&BOB).expect("bob");
        view.conversations.get_mut(&TALK.to_string()).expect("the talk")["unreadCount"] = json!(1);
    });
    assert_eq!(found, ["unread counts equal recomputation"]);
}

#[test]
fn a_message_that_is_shown_otherwise_than_stored_is_found() {
    let found = refuted(|evidence| {
        let view = evidence.views.get_mut(&BOB).expect("bob");
        view.conversations.get_mut(&TALK.to_string()).expect("the talk")["messages"][0]["body"] = json!("eins");
    });
    assert_eq!(found, ["views equal the rows"]);
}

#[test]
fn a_rebuild_that_loses_something_is_found() {
    let found = refuted(|evidence| {
        let mut rebuilt = evidence.views.clone();
        rebuilt.remove(&BOB);
        evidence.rebuilt = Some(rebuilt);
    });
    assert_eq!(found, ["views equal a rebuild from PostgreSQL"]);
}

#[test]
fn a_decision_that_is_made_again_otherwise_is_found() {
    let found = refuted(|evidence| {
        let mut again = decided_of(evidence, "message.sent").clone();
        again.data["body"] = json!("another");
        evidence.log.push(again);
    });
    assert_eq!(found, ["what is decided follows from the log alone"]);
}

#[test]
fn a_fold_that_asks_the_clock_is_found() {
    let found = refuted(|evidence| {
        decided_of(evidence, "message.sent").data["sent_at"] = json!("1970-01-01T00:00:02Z");
        messages_of(evidence)[0]["sent_at"] = json!("1970-01-01T00:00:02Z");
    });
    assert_eq!(
        found,
        ["what is decided follows from the log alone", "what is decided is what the facts give, folded again"]
    );
}

#[test]
fn an_own_message_that_is_not_read_back_is_found() {
    let read = |shown: Value| {
        refuted(move |evidence| {
            let (operation, input) = ("conversation", json!(TALK));
            let request = Arc::new(Request { id: 9, operation, key: None, input, trace: String::new() });
            for what in [What::Asked { request, router: 0 }, What::Answered { request: 9, payload: shown }] {
                evidence.history.push(Entry { at_ms: 99, who: "alice".to_owned(), what });
            }
        })
    };
    let page = |positions: &[i64]| {
        let nodes: Vec<Value> = positions.iter().map(|position| json!({ "position": position })).collect();
        json!({ "messages": { "nodes": nodes } })
    };
    assert!(read(page(&[1, 2])).is_empty());
    assert_eq!(read(page(&[1])), ["a reader never misses an acknowledged write of their own"]);
}

#[test]
fn a_match_of_one_side_is_found() {
    let found = refuted(|evidence| {
        let row = json!({ "owner_id": ALICE, "other_id": BOB, "match_id": Uuid::nil(), "status": "active" });
        evidence.rows.0.insert("matches".to_owned(), vec![row]);
    });
    assert!(found.contains(&"one match for each pair that likes each other"), "{found:?}");
}

#[test]
fn two_accounts_of_one_address_are_found() {
    let found = refuted(|evidence| {
        let user = |id: Uuid| json!({ "user_id": id, "email": "a@example.test" });
        evidence.rows.0.insert("users".to_owned(), vec![user(ALICE), user(BOB)]);
    });
    assert!(found.contains(&"one account for each address"), "{found:?}");
}

#[test]
fn a_story_tells_what_was_asked_and_logged_and_stored_and_what_was_broken() {
    let mut evidence = world();
    messages_of(&mut evidence)[1]["position"] = json!(7);
    let refutations = check(&evidence);
    let deed = "Silence api>kafka* for 2.0 s".to_owned();
    evidence.history.insert(0, Entry { at_ms: 0, who: "nemesis".to_owned(), what: What::Done { deed } });
    let story = tell(&evidence, &refutations[0]);
    let parts = ["asks #2 sendMessage", "trace trace-two", "is answered #2", "Silence api>kafka*"];
    for part in parts.into_iter().chain(["messaging.intake/0@2", "stored in messages"]) {
        assert!(story.contains(part), "{part} is not in {story}");
    }
    assert_eq!(Stored::default().of("messages"), &[] as &[Value]);
}
