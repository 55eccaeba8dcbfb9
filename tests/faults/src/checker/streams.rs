//! What subscribers heard, against what was decided.
//!
//! Everybody follows both streams before anything can come on them, so all that was decided is expected. Between two
//! conversations there is no order; within one, each event comes once, right after the one before it. After a
//! reset the stream goes on anywhere, and from there without a gap.

use super::{Found, text};
use crate::{
    evidence::{Event, Evidence},
    history::What,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;
use velvet_kernel::fold::Version;

/// What tells one event of a conversation from another.
type Mark = String;

/// One step of what a person heard on a stream.
enum Step {
    Event {
        conversation: String,
        mark: Mark,
    },
    /// An event that could not be shown whole: of whichever conversation.
    Unknown,
    Reset,
}

/// The events that each conversation's members must hear, in order.
fn expected(evidence: &Evidence) -> BTreeMap<String, Vec<Mark>> {
    let kinds = ["message.sent", "message.edited", "message.deleted", "message.reacted", "message.read"];
    let mut expected: BTreeMap<String, Vec<Mark>> = BTreeMap::new();
    // Marks that are stored along with a message are nobody's reading.
    let first_of_fact = |event: &&Event| event.version == Version::of_offset(Version(event.version).offset()).0;
    for event in evidence.decided(&kinds).into_iter().filter(first_of_fact) {
        expected.entry(event.key.clone()).or_default().push(mark_of(event));
    }
    expected
}

fn mark_of(event: &Event) -> Mark {
    let (data, position) = (&event.data, &event.data["position"]);
    match event.kind.as_str() {
        "message.sent" => format!("MessageSent {position} {}", text(&data["body"])),
        "message.edited" => format!("MessageEdited {position} {}", text(&data["body"])),
        "message.deleted" => format!("MessageDeleted {position}"),
        "message.reacted" => format!("MessageReacted {position}"),
        _ => format!("ReadMarked {position} {}", text(&data["user_id"])),
    }
}

/// What a person heard; positions of deleted messages are found by their ids.
fn steps(evidence: &Evidence, who: &str, positions: &HashMap<&str, i64>) -> Vec<Step> {
    let of_person = evidence.history.iter().filter(|entry| entry.who == who);
    let heard = of_person.filter_map(|entry| match &entry.what {
        What::Heard { field: "messageEvents", event, errors, .. } => Some((event, *errors)),
        _ => None,
    });
    heard.map(|(event, errors)| if errors { Step::Unknown } else { step(event, positions) }).collect()
}

fn step(event: &Value, positions: &HashMap<&str, i64>) -> Step {
    let message = &event["message"];
    let (kind, position) = (text(&event["__typename"]), &message["position"]);
    let (conversation, mark) = match kind {
        "StreamReset" => return Step::Reset,
        "MessageSent" | "MessageEdited" => (message, format!("{kind} {position} {}", text(&message["body"]))),
        "MessageReacted" => (message, format!("{kind} {position}")),
        "MessageDeleted" => {
            let position = positions.get(text(&event["messageId"])).copied().unwrap_or(-1);
            (event, format!("{kind} {position}"))
        }
        _ => (event, format!("{kind} {} {}", event["position"], text(&event["userId"]))),
    };
    Step::Event { conversation: text(&conversation["conversationId"]).to_owned(), mark }
}

/// Where a listener is within one conversation.
#[derive(Default)]
struct Place {
    next: usize,
    /// After a reset, until the next event says where the stream goes on.
    anywhere: bool,
}

/// Every subscriber hears every event of their conversations once and in order, or a reset.
pub fn messages(evidence: &Evidence) -> Vec<Found> {
    let expected = expected(evidence);
    let blocked = evidence.blocked_pairs();
    let conversations = evidence.conversations();
    let rows = evidence.rows.of("messages").iter();
    let positions: HashMap<&str, i64> =
        rows.map(|row| (text(&row["message_id"]), row["position"].as_i64().unwrap_or(-1))).collect();
    let mut found = Vec::new();
    for (who, user) in &evidence.people {
        let own = |members: &(Uuid, Uuid)| members.0 == *user || members.1 == *user;
        let followed: BTreeSet<&str> = conversations
            .iter()
            // Of two who block each other, some is rightly hidden.
            .filter(|(_, members)| own(members) && !blocked.contains(&ordered(**members)))
            .map(|(id, _)| id.as_str())
            .collect();
        found.extend(listened(who, &steps(evidence, who, &positions), &expected, &followed));
    }
    found
}

fn ordered((one, other): (Uuid, Uuid)) -> (Uuid, Uuid) {
    (one.min(other), one.max(other))
}

fn listened(
    who: &str,
    steps: &[Step],
    expected: &BTreeMap<String, Vec<Mark>>,
    followed: &BTreeSet<&str>,
) -> Vec<Found> {
    let mut found = Vec::new();
    let mut places: BTreeMap<&str, Place> = followed.iter().map(|id| (*id, Place::default())).collect();
    let mut unknown = 0;
    for step in steps {
        match step {
            Step::Reset => places.values_mut().for_each(|place| place.anywhere = true),
            Step::Unknown => unknown += 1,
            Step::Event { conversation, mark } => {
                let Some(place) = places.get_mut(conversation.as_str()) else { continue };
                let sequence = expected.get(conversation).map_or(&[][..], Vec::as_slice);
                if let Err(claim) = place.hear(sequence, mark, &mut unknown) {
                    found.push((
                        format!("{who} hears {mark:?} of {conversation}, {claim}"),
                        about(conversation, mark, who),
                    ));
                    place.anywhere = true;
                }
            }
        }
    }
    for (id, place) in places {
        let sequence = expected.get(id).map_or(&[][..], Vec::as_slice);
        let missing = sequence.len().saturating_sub(place.next);
        if !place.anywhere && missing > unknown {
            let first = &sequence[place.next];
            found.push((
                format!("{who} never hears {missing} events of {id}, the first being {first:?}"),
                about(id, first, who),
            ));
        } else if !place.anywhere {
            unknown -= missing;
        }
    }
    found
}

impl Place {
    fn hear(&mut self, sequence: &[Mark], mark: &Mark, unknown: &mut usize) -> Result<(), String> {
        let later =
            sequence.iter().skip(self.next).position(|expected| expected == mark).map(|index| self.next + index);
        if self.anywhere {
            let at = later.or_else(|| sequence.iter().position(|expected| expected == mark));
            self.next = at.ok_or("which was never decided")? + 1;
            self.anywhere = false;
            return Ok(());
        }
        match later {
            Some(at) if at - self.next <= *unknown => {
                *unknown -= at - self.next;
                self.next = at + 1;
                Ok(())
            }
            Some(at) => Err(format!("without {:?} before it", sequence.get(self.next..at).unwrap_or_default())),
            None if sequence[..self.next].contains(mark) => Err("which had come before".to_owned()),
            None => Err("which was never decided".to_owned()),
        }
    }
}

/// The event by its text where it has one, otherwise its conversation; and the person's comings and goings.
fn about(conversation: &str, mark: &Mark, who: &str) -> Vec<String> {
    let body = mark.splitn(3, ' ').nth(2).filter(|body| !body.is_empty());
    let event = body.map_or_else(|| conversation.to_owned(), |body| format!("\"{body}\""));
    vec![event, format!("@{who}")]
}

/// Who has a match hears once that it was made and, if it has ended, once that it has.
pub fn matches(evidence: &Evidence) -> Vec<Found> {
    let blocked = evidence.blocked_pairs();
    let mut found = Vec::new();
    for (who, user) in &evidence.people {
        let mut heard: HashMap<(String, String), usize> = HashMap::new();
        let mut excused = false;
        for entry in evidence.history.iter().filter(|entry| entry.who == *who) {
            let What::Heard { field: "matchEvents", event, errors, .. } = &entry.what else { continue };
            let id = match text(&event["__typename"]) {
                "MatchCreated" => text(&event["match"]["id"]),
                "MatchEnded" => text(&event["matchId"]),
                _ => "",
            };
            excused |= *errors || event["__typename"] == "StreamReset";
            *heard.entry((text(&event["__typename"]).to_owned(), id.to_owned())).or_default() += 1;
        }
        if excused {
            continue;
        }
        for row in evidence.rows.of("matches").iter().filter(|row| row["owner_id"] == user.to_string().as_str()) {
            let id = text(&row["match_id"]).to_owned();
            let other: Uuid = text(&row["other_id"]).parse().unwrap_or_default();
            let count = |kind: &str| heard.get(&(kind.to_owned(), id.clone())).copied().unwrap_or_default();
            let (made, ended) = (count("MatchCreated"), count("MatchEnded"));
            let active = row["status"] == "active";
            let hidden = blocked.contains(&ordered((*user, other)));
            // One that has ended soon may have ended before it was told of.
            let made_right = made == 1 || (made == 0 && (!active || hidden));
            let ended_right = ended == usize::from(!active);
            if !made_right || !ended_right {
                let claim = format!(
                    "{who} hears {made} times that {id} was made and {ended} times that it ended, being {}",
                    row["status"]
                );
                found.push((claim, vec![id]));
            }
        }
    }
    found
}
