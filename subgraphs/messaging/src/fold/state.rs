//! What is remembered of one conversation. It is read and written with every fact, so it is small:
//! no texts, and bounded memories of the last messages and changes.

use crate::{
    model::{ConversationId, MatchId},
    row::{ConversationRow, READ_KEPT_WITHIN, ReadRow, Status},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;
use velvet_kernel::{fold::Version, id::UserId};

/// Messages whose client ids are remembered beyond what the kernel remembers, which a loss of Redis takes.
const SENDS_MAX: usize = 64;
/// Changed messages that are remembered; an edit that was prepared before more changes than this is prepared again.
const CHANGES_MAX: usize = 32;

/// One conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Whose it is; nothing before it was opened.
    pub about: Option<About>,
    /// When it was closed; that is final.
    pub closed_at: Option<DateTime<Utc>>,
    /// Whether one of the two blocks the other; that is final.
    pub blocked: bool,
    /// The position of the last message.
    pub last_position: i64,
    /// When it was sent.
    pub last_at: Option<DateTime<Utc>>,
    /// How far each member has read.
    pub reads: BTreeMap<UserId, Mark>,
    /// The last messages' facts.
    pub sends: Sends,
    /// The last changes of messages.
    pub changes: Changes,
}

/// What stays the same in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The match that opened it.
    pub match_id: MatchId,
    /// The member with the smaller id.
    pub a: UserId,
    /// The other member.
    pub b: UserId,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
}

impl About {
    /// Both members.
    pub fn members(&self) -> [UserId; 2] {
        [self.a, self.b]
    }
}

/// How far a member has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Everything up to here is read.
    pub position: i64,
    /// The last mark that has a row.
    pub stored: i64,
}

impl State {
    /// Whether a user sees the conversation.
    pub fn shows(&self, user: UserId) -> bool {
        !self.blocked && self.about.as_ref().is_some_and(|about| about.members().contains(&user))
    }

    /// Whether a user may change it.
    pub fn takes_from(&self, user: UserId) -> bool {
        self.shows(user) && self.closed_at.is_none()
    }

    /// Both members; none before it was opened.
    pub fn members(&self) -> impl Iterator<Item = UserId> + use<> {
        self.about.as_ref().map(About::members).into_iter().flatten()
    }

    /// How far a member has read.
    pub fn read_by(&self, user: UserId) -> i64 {
        self.reads.get(&user).map_or(0, |mark| mark.position)
    }

    /// Notes a message at its position.
    pub fn note_message(&mut self, position: i64, sender: UserId, event_id: Uuid, at: DateTime<Utc>) {
        if position > self.last_position {
            self.last_position = position;
            self.last_at = Some(at);
        }
        self.sends.note(position, event_id);
        self.note_read(sender, position);
    }

    /// Moves a mark on, never back. Whether it moved.
    pub fn note_read(&mut self, user: UserId, position: i64) -> bool {
        let moves = position > self.read_by(user);
        if moves {
            self.reads.entry(user).or_default().position = position;
        }
        moves
    }

    /// Notes that a mark has a row.
    pub fn note_stored(&mut self, user: UserId, position: i64) {
        let mark = self.reads.entry(user).or_default();
        mark.stored = mark.stored.max(position);
    }

    /// Marks that fall out of the messages which a rebuild reads, and have no row yet.
    pub fn take_unstored(&mut self, id: ConversationId, at: DateTime<Utc>) -> Vec<ReadRow> {
        let oldest_kept = self.last_position - READ_KEPT_WITHIN;
        let mut rows = Vec::new();
        for (user, mark) in &mut self.reads {
            if mark.position > mark.stored && mark.position <= oldest_kept {
                mark.stored = mark.position;
                rows.push(ReadRow { conversation_id: id, user_id: *user, position: mark.position, read_at: at });
            }
        }
        rows
    }

    /// The conversation's row, once it was opened.
    pub fn row(&self, id: ConversationId) -> Option<ConversationRow> {
        self.about.as_ref().map(|about| ConversationRow {
            conversation_id: id,
            match_id: about.match_id,
            user_a_id: about.a,
            user_b_id: about.b,
            status: if self.closed_at.is_some() { Status::Closed } else { Status::Open },
            opened_at: about.opened_at,
            closed_at: self.closed_at,
        })
    }
}

/// Which facts sent the last messages, by their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sends {
    /// The position of the last one.
    last: i64,
    /// Half of each fact's id, the last one first; 0 where it is not known. Half a derived id has
    /// 62 random bits, so two of these few meet by chance once in 10^17 messages.
    ids: VecDeque<u64>,
}

impl Sends {
    /// Notes which fact sent a message.
    pub fn note(&mut self, position: i64, event_id: Uuid) {
        while self.last < position {
            self.last += 1;
            // Positions that leave at once need not enter.
            self.last = self.last.max(position - i64::try_from(SENDS_MAX).unwrap_or(i64::MAX));
            self.ids.push_front(0);
            self.ids.truncate(SENDS_MAX);
        }
        // Rows of a rebuild come in any order, so an older one may come later.
        if let Some(slot) = usize::try_from(self.last - position).ok().and_then(|index| self.ids.get_mut(index)) {
            *slot = half(event_id);
        }
    }

    /// The position of the message that a fact sent.
    pub fn position_of(&self, event_id: Uuid) -> Option<i64> {
        let index = self.ids.iter().position(|id| *id == half(event_id))?;
        Some(self.last - i64::try_from(index).ok()?)
    }
}

fn half(id: Uuid) -> u64 {
    id.as_u64_pair().1
}

impl Serialize for Sends {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.ids.iter().flat_map(|id| id.to_be_bytes()).collect();
        (self.last, STANDARD_NO_PAD.encode(bytes)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sends {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (last, text) = <(i64, String)>::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(serde::de::Error::custom)?;
        let ids = bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_be_bytes(*chunk)).collect();
        Ok(Self { last, ids })
    }
}

/// Which messages were changed last: edited, deleted or reacted to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The last change of each of these messages, by position.
    last: BTreeMap<i64, Version>,
    /// No message that is not among them was changed after this.
    floor: Version,
}

impl Changes {
    /// Notes a change.
    pub fn note(&mut self, position: i64, version: Version) {
        self.last.insert(position, version);
        if self.last.len() > CHANGES_MAX
            && let Some((oldest, version)) =
                self.last.iter().min_by_key(|(_, version)| **version).map(|(p, v)| (*p, *v))
        {
            self.last.remove(&oldest);
            self.forget_until(version);
        }
    }

    /// Says that changes up to `version` may not be among those that are remembered.
    pub fn forget_until(&mut self, version: Version) {
        self.floor = self.floor.max(version);
    }

    /// Whether a message has surely not changed after `seen`.
    pub fn none_after(&self, position: i64, seen: Version) -> bool {
        self.last.get(&position).copied().unwrap_or(self.floor) <= seen
    }
}
