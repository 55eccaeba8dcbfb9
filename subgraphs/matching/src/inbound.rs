//! What matching reads of other domains: accounts' users, for the deck, and messaging's
//! conversations, so that a match is announced when it can be talked in.

use crate::{
    event::{Fact, UserRow},
    model::{ConversationId, Pair},
};
use serde::Deserialize;
use std::time::Duration;
use velvet_kernel::{
    id::UserId,
    log::{Malformed, NewEvent, Pace, Recorded},
    project::Inbound,
    time::derived_id,
};

/// Each event of a user carries the whole of them.
const USER_EVENTS: &str = "user.";
/// A match's conversation is open.
const CONVERSATION_OPENED: &str = "conversation.opened";

/// What matching reads of accounts.
pub const ACCOUNTS: Inbound = Inbound {
    from: "accounts",
    reads: |kind| kind.starts_with(USER_EVENTS),
    pace: Pace::AtOnce,
    translate: of_accounts,
};
/// What matching reads of messaging: little of much, as each message is there too.
pub const MESSAGING: Inbound = Inbound {
    from: "messaging",
    reads: |kind| kind == CONVERSATION_OPENED,
    pace: Pace::Gathered(OPENED_WAIT),
    translate: of_messaging,
};

/// A match is announced later by this much at most.
const OPENED_WAIT: Duration = Duration::from_millis(50);

/// Messaging's conversation, as far as matching reads it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are messaging's")]
struct Opened {
    conversation_id: ConversationId,
    user_a_id: UserId,
    user_b_id: UserId,
}

fn of_accounts(event: &Recorded) -> Result<Vec<NewEvent>, Malformed> {
    if !event.kind.starts_with(USER_EVENTS) {
        return Ok(Vec::new());
    }
    let row: UserRow = event.parse()?;
    let user_id = row.user_id;
    let fact = Fact::Profile { user_id, profile: row.into(), source_version: event.version.0 };
    Ok(vec![relayed(event, user_id.to_string(), &fact)])
}

fn of_messaging(event: &Recorded) -> Result<Vec<NewEvent>, Malformed> {
    if event.kind != CONVERSATION_OPENED {
        return Ok(Vec::new());
    }
    let opened: Opened = event.parse()?;
    let fact = Fact::ConversationOpened { conversation_id: opened.conversation_id };
    let pair = Pair::of(opened.user_a_id, opened.user_b_id);
    Ok(pair.map(|pair| relayed(event, pair.to_string(), &fact)).into_iter().collect())
}

fn relayed(event: &Recorded, key: String, fact: &Fact) -> NewEvent {
    let id = derived_id(&["relay", crate::DOMAIN_NAME, &event.id.to_string()]);
    NewEvent::new(id, fact.kind(), key, event.time, fact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::{Value, json};
    use uuid::Uuid;
    use velvet_kernel::{
        fold::Version,
        log::{Stage, Topic},
    };

    const ALICE: &str = "00000000-0000-0000-0000-00000000000a";
    const BOB: &str = "00000000-0000-0000-0000-00000000000b";

    fn decided(from: &str, kind: &str, data: &Value) -> Recorded {
        Recorded {
            topic: Topic::of(from, Stage::Decided),
            partition: 0,
            offset: 1,
            id: Uuid::from_u128(9),
            kind: kind.to_owned(),
            key: ALICE.to_owned(),
            time: DateTime::UNIX_EPOCH,
            version: Version(512),
            traceparent: None,
            data: data.to_string().into_bytes().into(),
        }
    }

    fn user() -> Value {
        json!({
            "user_id": ALICE, "email": "alice@example.com", "password_hash": "secret", "display_name": "Alice",
            "bio": "", "avatar_url": null, "birth_date": "1990-05-06", "gender": "FEMALE", "side": "CREATOR",
            "preferences": {
                "age_min": 18, "age_max": 99, "distance_km_max": 50, "genders": ["MALE"], "verified_only": false,
            },
            "verification_status": "verified", "cell": { "latitude": 52.525, "longitude": 13.375 },
            "last_active_at": "2026-01-02T03:04:05Z", "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z", "registration_id": ALICE,
        })
    }

    #[test]
    fn a_user_becomes_a_profile_without_what_others_must_not_know() {
        let facts = of_accounts(&decided("accounts", "user.updated", &user())).unwrap();
        assert_eq!(facts.len(), 1);
        assert_eq!(facts[0].key, ALICE);
        let text = String::from_utf8(facts[0].data.clone()).unwrap();
        assert!(!text.contains("secret") && !text.contains("example.com"));
        let Fact::Profile { profile, source_version, .. } = serde_json::from_str(&text).unwrap() else {
            panic!("a profile")
        };
        assert!(profile.verified);
        assert_eq!(source_version, 512);
    }

    #[test]
    fn an_open_conversation_goes_to_its_pair() {
        let row = json!({
            "conversation_id": Uuid::from_u128(5), "match_id": Uuid::from_u128(4), "user_a_id": ALICE,
            "user_b_id": BOB, "status": "open", "opened_at": "2026-01-01T00:00:00Z", "closed_at": null,
        });
        let facts = of_messaging(&decided("messaging", CONVERSATION_OPENED, &row)).unwrap();
        assert_eq!(facts[0].key, format!("{ALICE}:{BOB}"));
        assert_eq!(facts, of_messaging(&decided("messaging", CONVERSATION_OPENED, &row)).unwrap());
    }

    #[test]
    fn other_events_make_nothing() {
        assert!(of_accounts(&decided("accounts", "session.started", &json!({}))).unwrap().is_empty());
        assert!(of_messaging(&decided("messaging", "conversation.closed", &json!({}))).unwrap().is_empty());
    }

    #[test]
    fn the_golden_events_are_understood() {
        let golden = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let user = golden(include_str!("../../../schema/events/user.updated.v1.json"));
        assert_eq!(of_accounts(&decided("accounts", "user.updated", &user)).unwrap().len(), 1);
        let opened = golden(include_str!("../../../schema/events/conversation.opened.v1.json"));
        assert_eq!(of_messaging(&decided("messaging", "conversation.opened", &opened)).unwrap().len(), 1);
    }
}
