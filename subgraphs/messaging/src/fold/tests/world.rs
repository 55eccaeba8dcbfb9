//! A conversation of alice and bob in memory: its log, Redis as far as views need it, and the rows
//! that the writer would have.

use crate::{
    event::{Claim, Fact},
    fold::{Messaging, state::State},
    model::{ConversationId, MatchId, Message, MessageId},
    row::{BlockRow, ConversationRow, MessageRow, ReactionRow, ReadRow, Row},
    view::{self, Conversation},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use velvet_kernel::{
    fold::{Effects, Fold as _, Moment, Version},
    id::UserId,
    store::{Call, Reply},
};

pub fn alice() -> UserId {
    UserId(Uuid::from_u128(0xa))
}

pub fn bob() -> UserId {
    UserId(Uuid::from_u128(0xb))
}

pub fn carol() -> UserId {
    UserId(Uuid::from_u128(0xc))
}

pub fn conversation() -> ConversationId {
    ConversationId::of_match(MatchId::of_pair(alice(), bob()))
}

/// Redis, as far as views need it.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Redis {
    pub hashes: BTreeMap<String, BTreeMap<String, String>>,
    pub expiring: BTreeSet<String>,
    pub inboxes: Vec<(String, Value)>,
    pub told: Vec<String>,
}

impl Redis {
    pub fn run(&mut self, calls: &[Call]) {
        for call in calls {
            self.run_one(call);
        }
    }

    fn run_one(&mut self, call: &Call) {
        let (name, keys, args) = call.parts();
        let arg = |index: usize| String::from_utf8(args[index].clone()).unwrap();
        let kind = keys[0].split(':').nth(1).unwrap();
        match (name, kind) {
            ("EXPIRE", _) => drop(self.hashes.contains_key(&keys[0]) && self.expiring.insert(keys[0].clone())),
            ("SPUBLISH", _) | (_, "blocks") => {}
            (_, "inbox") => self.inboxes.push((keys[0].clone(), serde_json::from_str(&arg(4)).unwrap())),
            (_, "told") => self.told.push(keys[0].clone()),
            (_, "list") => self.put(&keys[0], &arg(0), &arg(1), &format!("{}:{}", arg(2), arg(3))),
            _ => {
                self.put(&keys[0], &arg(0), &arg(1), &arg(2));
                if arg(3) != "0" {
                    self.expiring.insert(keys[0].clone());
                }
            }
        }
    }

    fn put(&mut self, key: &str, field: &str, version: &str, value: &str) {
        let version: u64 = version.parse().unwrap();
        let hash = self.hashes.entry(key.to_owned()).or_default();
        let old = hash.get(field).map(|old| old.split(':').next().unwrap().parse::<u64>().unwrap());
        if old.is_none_or(|old| version > old) {
            hash.insert(field.to_owned(), format!("{version}:{value}"));
        }
    }

    fn answer(&self, call: &Call) -> Reply {
        let (name, keys, args) = call.parts();
        let bulk = |text: &String| Reply::BulkString(text.clone().into_bytes());
        let hash = self.hashes.get(&keys[0]).cloned().unwrap_or_default();
        if name == "HGETALL" {
            return Reply::Map(hash.iter().map(|(field, value)| (bulk(field), bulk(value))).collect());
        }
        let value = |field: &Vec<u8>| hash.get(std::str::from_utf8(field).unwrap()).map_or(Reply::Nil, bulk);
        Reply::Array(args.iter().map(value).collect())
    }

    pub fn conversation(&self) -> Option<Conversation> {
        let reply = self.answer(&view::get_conversation(conversation()));
        view::parse_conversation(conversation(), &reply).unwrap()
    }

    pub fn message(&self, position: i64) -> Option<Message> {
        let block = view::block_of(position);
        let replies = view::get_messages(conversation(), block, &[position]).map(|call| self.answer(&call));
        view::parse_messages(conversation(), block, &[position], &replies).unwrap().pop()
    }

    /// Whether the conversation stands in a member's list, and by what it is ordered there.
    pub fn listed(&self, user: UserId) -> Option<i64> {
        let entry = self.hashes.get(&view::list_key(user))?.get(&conversation().to_string())?;
        let (score, value) = entry.split_once(':')?.1.split_once(':')?;
        (!value.is_empty()).then(|| score.parse().unwrap())
    }
}

/// The writer's tables: a row changes only by a newer version.
#[derive(Debug, Default, Clone)]
pub struct Tables {
    rows: BTreeMap<String, (Version, Row)>,
}

impl Tables {
    fn apply(&mut self, kind: &str, data: &Value, version: Version) {
        let row = match kind {
            "conversation.opened" | "conversation.closed" => Row::Conversation(parse::<ConversationRow>(data)),
            "message.sent" | "message.edited" | "message.deleted" => Row::Message(parse::<MessageRow>(data)),
            "message.reacted" => Row::Reaction(parse::<ReactionRow>(data)),
            "message.read" => Row::Read(parse::<ReadRow>(data)),
            _ => return,
        };
        self.put(row, version);
    }

    pub fn put(&mut self, row: Row, version: Version) {
        let key = match &row {
            Row::Conversation(_) => "c".to_owned(),
            Row::Message(row) => format!("m{}", row.position),
            Row::Reaction(row) => format!("r{}:{}:{}", row.position, row.user_id, row.emoji),
            Row::Read(row) => format!("k{}", row.user_id),
            Row::Block(row) => format!("b{}", row.blocker_id),
        };
        let newer = self.rows.get(&key).is_none_or(|(old, _)| version > *old);
        if newer {
            self.rows.insert(key, (version, row));
        }
    }

    /// All rows.
    pub fn all(&self) -> Vec<(Version, Row)> {
        self.rows.values().cloned().collect()
    }

    /// What a rebuild reads: everything but messages that are not among the newest 300.
    pub fn dump(&self) -> Vec<(Version, Row)> {
        let position = |row: &Row| match row {
            Row::Message(row) => Some(row.position),
            Row::Reaction(row) => Some(row.position),
            _ => None,
        };
        let last = self.rows.values().filter_map(|(_, row)| position(row)).max().unwrap_or(0);
        self.rows.values().filter(|(_, row)| position(row).is_none_or(|at| at > last - 300)).cloned().collect()
    }
}

fn parse<T: serde::de::DeserializeOwned>(data: &Value) -> T {
    serde_json::from_value(data.clone()).unwrap()
}

/// Everything together.
#[derive(Debug, Default, Clone)]
pub struct World {
    pub state: State,
    pub redis: Redis,
    pub tables: Tables,
    pub offset: i64,
}

impl World {
    /// Alice and bob have matched.
    pub fn opened() -> Self {
        let mut world = Self::default();
        world.add(opened());
        world
    }

    pub fn now(&self) -> DateTime<Utc> {
        time(self.offset)
    }

    /// Folds a fact under an id of its own.
    pub fn add(&mut self, fact: Fact) -> Effects {
        self.add_as(Uuid::from_u128(0xffff_0000 + u128::try_from(self.offset).unwrap()), fact)
    }

    /// Folds a fact under a given id, without the kernel's memory of ids.
    pub fn add_as(&mut self, event_id: Uuid, fact: Fact) -> Effects {
        self.offset += 1;
        let (entity, version) = (conversation().to_string(), Version::of_offset(self.offset));
        let at = Moment { time: self.now(), version, event_id, entity: &entity };
        let fact = serde_json::from_value(serde_json::to_value(fact).unwrap()).unwrap();
        let effects = Messaging.fold(&mut self.state, fact, &at);
        self.state = serde_json::from_value(serde_json::to_value(&self.state).unwrap()).unwrap();
        self.redis.run(&effects.views);
        self.redis.run(&effects.told);
        for (index, decided) in effects.decided.iter().enumerate() {
            self.tables.apply(decided.kind, &decided.data, Version(version.0 + index as u64));
        }
        effects
    }

    /// Sends under a client's id; the same id is the same fact.
    pub fn send(&mut self, sender: UserId, client_id: &str) -> Value {
        let event_id = velvet_kernel::time::derived_id(&[&sender.to_string(), client_id]);
        let body = format!("{client_id} at {}", self.offset);
        self.add_as(event_id, Fact::Sent { sender, client_id: client_id.to_owned(), body }).outcome.unwrap()
    }

    /// What the API reads of a message now.
    pub fn claim(&self, position: i64) -> Claim {
        let seen = Version(Version::of_offset(self.offset).0 | 0xff);
        let message = self.redis.message(position).unwrap_or_else(|| {
            let event_id = Uuid::from_u128(0);
            Message::new(position, event_id, String::new(), alice(), String::new(), time(0))
        });
        Claim { seen, message }
    }

    pub fn edit(&mut self, by: UserId, position: i64, body: &str) -> Value {
        let claim = self.claim(position);
        self.add(Fact::Edited { by, body: body.to_owned(), claim }).outcome.unwrap()
    }

    pub fn delete(&mut self, by: UserId, position: i64) -> Value {
        let claim = self.claim(position);
        self.add(Fact::Deleted { by, claim }).outcome.unwrap()
    }

    pub fn react(&mut self, by: UserId, position: i64, emoji: &str, remove: bool) -> Value {
        let claim = self.claim(position);
        self.add(Fact::Reacted { by, emoji: emoji.to_owned(), remove, claim }).outcome.unwrap()
    }

    pub fn read(&mut self, by: UserId, position: i64) -> Value {
        self.add(Fact::Read { by, position }).outcome.unwrap()
    }

    pub fn block(&mut self, by: UserId, whom: UserId) -> Effects {
        let effects = self.add(Fact::Blocked { blocker: by, blocked: whom, ack: Uuid::from_u128(1) });
        let row = BlockRow { blocker_id: by, blocked_id: whom, blocked_at: self.now() };
        self.tables.put(Row::Block(row), Version(7));
        effects
    }

    /// What is there after Redis was lost and these rows were read back.
    pub fn rebuilt(rows: impl IntoIterator<Item = (Version, Row)>) -> Self {
        let mut world = Self::default();
        for (version, row) in rows {
            world.restore(version, row);
        }
        assert!(world.redis.inboxes.is_empty() && world.redis.told.is_empty());
        world
    }

    /// Merges a row that was read back.
    pub fn restore(&mut self, version: Version, row: Row) {
        let entity = row.entity();
        assert_eq!(entity, conversation().to_string());
        let at = Moment { time: time(0), version, event_id: Uuid::from_u128(0), entity: &entity };
        let row = serde_json::from_value(serde_json::to_value(row).unwrap()).unwrap();
        let effects = Messaging.restore(&mut self.state, row, &at);
        assert!(effects.decided.is_empty() && effects.told.is_empty() && effects.outcome.is_none());
        self.redis.run(&effects.views);
    }

    /// The id that clients see of a position.
    pub fn id_of(position: i64) -> String {
        MessageId { conversation: conversation(), position }.to_string()
    }
}

pub fn time(offset: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(offset)
}

pub fn opened() -> Fact {
    Fact::Opened { match_id: MatchId::of_pair(alice(), bob()), a: alice(), b: bob(), at: time(0) }
}

pub fn closed() -> Fact {
    Fact::Closed { reason: "unmatched".to_owned() }
}
