//! What accounts reads of other domains: matching's blocks, so that neither sees the other's profile.

use crate::{DOMAIN_NAME, event::Fact};
use serde::Deserialize;
use std::time::Duration;
use uuid::Uuid;
use velvet_kernel::{
    id::UserId,
    log::{Malformed, NewEvent, Pace, Recorded},
    project::Inbound,
    time::derived_id,
};

/// Somebody has blocked somebody.
const BLOCKED: &str = "matching.blocked";

/// Whoever blocks waits this much longer at most; all the swipes that are there too cost less for it.
const BLOCKED_WAIT: Duration = Duration::from_millis(50);

/// What accounts reads of matching.
pub(crate) const MATCHING: Inbound =
    Inbound { from: "matching", reads: |kind| kind == BLOCKED, pace: Pace::Gathered(BLOCKED_WAIT), translate };

/// Matching's block, as far as accounts reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[expect(clippy::struct_field_names, reason = "they are named as matching has them")]
struct Blocked {
    blocker_id: UserId,
    blocked_id: UserId,
    /// The fact that matching's API submitted: what it waits to have acknowledged.
    event_id: Option<Uuid>,
}

fn translate(event: &Recorded) -> Result<Vec<NewEvent>, Malformed> {
    if event.kind != BLOCKED {
        return Ok(Vec::new());
    }
    let blocked: Blocked = event.parse()?;
    let pair = [(blocked.blocker_id, blocked.blocked_id), (blocked.blocked_id, blocked.blocker_id)];
    Ok(pair.map(|(user, other)| hide(event, &blocked, user, other)).to_vec())
}

fn hide(event: &Recorded, blocked: &Blocked, user: UserId, other: UserId) -> NewEvent {
    let user = user.to_string();
    let cause = event.id.to_string();
    let id = derived_id(&[DOMAIN_NAME, "hidden", &cause, &user]);
    let acknowledge = acknowledgement(blocked.event_id.unwrap_or(event.id), &user);
    Fact::Hidden { other, acknowledge }.event(id, user, event.time)
}

/// What matching's API waits for before it answers a block.
fn acknowledgement(block: Uuid, user: &str) -> Uuid {
    derived_id(&["block-ack", &block.to_string(), &format!("{DOMAIN_NAME}:{user}")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};
    use velvet_kernel::{fold::Version, log::Topic};

    const ALICE: &str = "00000000-0000-0000-0000-00000000a11c";
    const BOB: &str = "00000000-0000-0000-0000-000000000b0b";

    fn event(kind: &str) -> Recorded {
        let data = serde_json::json!({
            "blocker_id": ALICE, "blocked_id": BOB, "blocked_at": "2026-07-27T12:00:00Z",
            "event_id": "00000000-0000-0000-0000-00000000000e",
        });
        Recorded {
            topic: Topic("matching.decided".to_owned()),
            partition: 3,
            offset: 7,
            id: Uuid::from_u128(1),
            kind: kind.to_owned(),
            key: ALICE.to_owned(),
            time: DateTime::<Utc>::UNIX_EPOCH,
            version: Version(9),
            traceparent: None,
            data: data.to_string().into(),
        }
    }

    #[test]
    fn a_block_is_a_fact_for_each_of_the_two() {
        let facts = translate(&event(BLOCKED)).unwrap();
        assert_eq!(facts.iter().map(|fact| fact.key.as_str()).collect::<Vec<_>>(), [ALICE, BOB]);
        let hidden: Vec<Fact> = facts.iter().map(|fact| serde_json::from_slice(&fact.data).unwrap()).collect();
        let expected = [(BOB, ALICE), (ALICE, BOB)].map(|(other, user)| Fact::Hidden {
            other: UserId::parse(other).unwrap(),
            acknowledge: derived_id(&[
                "block-ack",
                "00000000-0000-0000-0000-00000000000e",
                &format!("accounts:{user}"),
            ]),
        });
        assert_eq!(hidden, expected);
    }

    #[test]
    fn a_block_that_comes_twice_makes_the_same_facts() {
        assert_eq!(translate(&event(BLOCKED)).unwrap(), translate(&event(BLOCKED)).unwrap());
    }

    #[test]
    fn other_events_are_not_for_accounts() {
        assert_eq!(translate(&event("matching.swipe")).unwrap(), []);
    }

    #[test]
    fn the_golden_block_is_understood() {
        let golden = include_str!("../../../schema/events/matching.blocked.v1.json");
        assert_eq!(translate(&Recorded { data: golden.into(), ..event(BLOCKED) }).unwrap().len(), 2);
    }
}
