//! What messaging reads of matching: a match opens a conversation, its end or a block closes it.

use crate::{
    event::Fact,
    model::{ConversationId, MatchId, ordered},
    row::BlockRow,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;
use velvet_kernel::{
    id::UserId,
    log::{Malformed, NewEvent, Pace, Recorded},
    planted::{Bug, planted},
    project::Inbound,
    time::{derived_id, fresh_id},
};

/// All that messaging reads.
pub fn all() -> Vec<Inbound> {
    vec![Inbound { from: "matching", reads, pace: Pace::AtOnce, translate }]
}

/// Of a match's row, what messaging needs. Each match has a row per partner; that of the one with
/// the smaller id makes the fact.
#[derive(Debug, Deserialize)]
struct MatchRow {
    match_id: MatchId,
    owner_id: UserId,
    other_id: UserId,
    matched_at: DateTime<Utc>,
    status: String,
}

/// Of a block, what names the request that waits for it.
#[derive(Debug, Deserialize)]
struct BlockRequest {
    #[serde(default)]
    event_id: Option<Uuid>,
}

fn reads(kind: &str) -> bool {
    matches!(kind, "matching.matched" | "matching.unmatched" | "matching.blocked")
}

fn translate(event: &Recorded) -> Result<Vec<NewEvent>, Malformed> {
    let fact = match event.kind.as_str() {
        "matching.matched" | "matching.unmatched" => of_match(event.parse()?, event.kind == "matching.matched"),
        "matching.blocked" => {
            Some(of_block(&event.parse()?, event.parse::<BlockRequest>()?.event_id.unwrap_or(event.id)))
        }
        _ => None,
    };
    Ok(fact.into_iter().map(|(conversation, fact)| relayed(event, conversation, &fact)).collect())
}

fn of_match(row: MatchRow, opens: bool) -> Option<(ConversationId, Fact)> {
    let (a, b) = ordered(row.owner_id, row.other_id);
    let fact = if opens {
        Fact::Opened { match_id: row.match_id, a, b, at: row.matched_at }
    } else {
        Fact::Closed { reason: row.status }
    };
    (row.owner_id == a).then(|| (ConversationId::of_match(row.match_id), fact))
}

fn of_block(row: &BlockRow, request: Uuid) -> (ConversationId, Fact) {
    let ack = derived_id(&["block-ack", &request.to_string(), crate::NAME]);
    (row.conversation(), Fact::Blocked { blocker: row.blocker_id, blocked: row.blocked_id, ack })
}

fn relayed(event: &Recorded, conversation: ConversationId, fact: &Fact) -> NewEvent {
    let mut id = derived_id(&["relay", crate::NAME, &event.id.to_string()]);
    if planted(Bug::RandomReactionId) {
        id = fresh_id();
    }
    NewEvent::new(id, fact.kind(), conversation.to_string(), event.time, fact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use velvet_kernel::{
        fold::Version,
        log::{Stage, Topic},
    };

    const ALICE: &str = "00000000-0000-0000-0000-00000000000a";
    const BOB: &str = "00000000-0000-0000-0000-00000000000b";

    fn decided(kind: &str, data: &Value) -> Recorded {
        Recorded {
            topic: Topic::of("matching", Stage::Decided),
            partition: 3,
            offset: 9,
            id: Uuid::from_u128(77),
            kind: kind.to_owned(),
            key: ALICE.to_owned(),
            time: DateTime::UNIX_EPOCH,
            version: Version(5),
            traceparent: None,
            data: data.to_string().into_bytes().into(),
        }
    }

    fn match_row(owner: &str, other: &str, status: &str) -> Value {
        let pair = MatchId::of_pair(UserId::parse(ALICE).unwrap(), UserId::parse(BOB).unwrap());
        json!({
            "match_id": pair, "owner_id": owner, "other_id": other, "matched_at": "1970-01-01T00:00:00Z",
            "status": status, "ended_at": null, "ended_by": null, "conversation_id": ConversationId::of_match(pair),
        })
    }

    #[test]
    fn one_row_of_a_match_opens_its_conversation() {
        let facts = translate(&decided("matching.matched", &match_row(ALICE, BOB, "active"))).unwrap();
        let row = match_row(ALICE, BOB, "active");
        assert_eq!(facts.len(), 1);
        assert_eq!(facts[0].kind, "messaging.fact.opened");
        assert_eq!(facts[0].key, row["conversation_id"].as_str().unwrap());
        assert_eq!(facts, translate(&decided("matching.matched", &row)).unwrap(), "a repeat is the same fact");
        assert!(translate(&decided("matching.matched", &match_row(BOB, ALICE, "active"))).unwrap().is_empty());
    }

    #[test]
    fn an_unmatch_closes_the_same_conversation() {
        let row = match_row(ALICE, BOB, "unmatched");
        let facts = translate(&decided("matching.unmatched", &row)).unwrap();
        assert_eq!(facts[0].kind, "messaging.fact.closed");
        assert_eq!(facts[0].key, row["conversation_id"].as_str().unwrap());
    }

    #[test]
    fn a_block_goes_to_the_conversation_of_the_pair_and_names_who_waits() {
        let request = Uuid::from_u128(5);
        let data = json!({
            "blocker_id": BOB, "blocked_id": ALICE, "blocked_at": "1970-01-01T00:00:00Z", "event_id": request,
        });
        let facts = translate(&decided("matching.blocked", &data)).unwrap();
        assert_eq!(facts[0].key, match_row(ALICE, BOB, "active")["conversation_id"].as_str().unwrap());
        let Fact::Blocked { ack, .. } = serde_json::from_slice(&facts[0].data).unwrap() else { panic!("a block") };
        assert_eq!(ack, derived_id(&["block-ack", &request.to_string(), "messaging"]));
    }

    #[test]
    fn other_events_make_nothing() {
        assert!(translate(&decided("matching.swipe", &json!({}))).unwrap().is_empty());
    }

    #[test]
    fn the_golden_events_are_understood() {
        let golden = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (kind, text) in [
            ("matching.matched", include_str!("../../../schema/events/matching.matched.v1.json")),
            ("matching.unmatched", include_str!("../../../schema/events/matching.unmatched.v1.json")),
            ("matching.blocked", include_str!("../../../schema/events/matching.blocked.v1.json")),
        ] {
            assert!(reads(kind));
            assert_eq!(translate(&decided(kind, &golden(text))).unwrap().len(), 1, "{kind}");
        }
    }
}
