//! The fold: an entity's pure rule. It alone says what a fact means.
//!
//! No clock, no randomness, no I/O: the same state and the same fact give the same state and the
//! same effects, today and when the log is folded again.

use crate::{
    id::UserId,
    planted::{Bug, planted},
    store::Call,
};
use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

/// What orders the changes of one view entry or row: the log position of the fact that caused
/// them, then an index among the changes of that fact.
///
/// It fits a double of Redis' scripts exactly: 45 bits of offset, 8 bits of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of the first change that the fact at `offset` causes.
    pub fn of_offset(offset: i64) -> Self {
        Self(offset.unsigned_abs() << 8)
    }

    /// The offset that caused this version.
    pub fn offset(self) -> i64 {
        i64::try_from(self.0 >> 8).unwrap_or(i64::MAX)
    }
}

/// The circumstances of a fact, as the log has them.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// When the API accepted the fact.
    pub time: DateTime<Utc>,
    /// The position of the fact, as a version for what it changes.
    pub version: Version,
    /// The id of the fact; the same for a repeat.
    pub event_id: Uuid,
    /// The entity that the fact is about.
    pub entity: &'a str,
}

/// A domain's rule for its entities.
pub trait Fold: Send + Sync + 'static {
    /// What is remembered of one entity. The default is an entity that nothing happened to yet.
    type State: Serialize + DeserializeOwned + Default + Clone + Send + Sync;
    /// What the API, the writer and the relays append to the intake.
    type Fact: DeserializeOwned + Send;
    /// What the writer reads back from PostgreSQL, to warm views and states.
    type Row: DeserializeOwned + Send;

    /// Judges one fact.
    fn fold(&self, state: &mut Self::State, fact: Self::Fact, at: &Moment<'_>) -> Effects;

    /// Merges one stored row into the state and the views. Rows come in any order and more than
    /// once, and never undo what a later fact has set.
    fn restore(&self, state: &mut Self::State, row: Self::Row, at: &Moment<'_>) -> Effects;
}

/// What a fold says must happen, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Changes of views, one script each, on keys of one hash tag.
    pub views: Vec<Call>,
    /// Decided events, for everyone to read.
    pub decided: Vec<Decided>,
    /// The answer to whoever appended the fact.
    pub outcome: Option<Value>,
    /// What whoever waits by a token is told, once the views and decided events of the batch stand.
    pub told: Vec<Call>,
}

/// An event that is now true.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// Its type, such as `matching.matched`.
    pub kind: &'static str,
    /// The owner of the row that it makes.
    pub key: String,
    /// What happened.
    pub data: Value,
}

impl Effects {
    /// Nothing happens.
    pub fn none() -> Self {
        Self::default()
    }

    /// Changes a view.
    pub fn view(&mut self, call: Call) -> &mut Self {
        self.views.push(call);
        self
    }

    /// States what is now true. `data` is serialised at once; a decided event is plain data, so
    /// failing to serialise it is a defect that shows in the first test.
    pub fn decide(&mut self, kind: &'static str, key: impl Into<String>, data: &impl Serialize) -> &mut Self {
        let data = serde_json::to_value(data).unwrap_or(Value::Null);
        self.decided.push(Decided { kind, key: key.into(), data });
        self
    }

    /// Answers the caller.
    pub fn answer(&mut self, outcome: &impl Serialize) -> &mut Self {
        self.outcome = serde_json::to_value(outcome).ok();
        self
    }

    /// Hands a live event to a receiver's inbox of `domain`. `from` is whose doing it is: nothing
    /// reaches a receiver who blocks, or is blocked by, that user.
    pub fn deliver(&mut self, domain: &str, to: UserId, from: Option<UserId>, event: &impl Serialize) -> &mut Self {
        let payload = serde_json::to_string(event).unwrap_or_default();
        // One in sixteen, and the same one each time it is folded.
        if planted(Bug::LostInboxEntry) && payload.bytes().map(u32::from).sum::<u32>() % 16 == 3 {
            return self;
        }
        self.views.push(crate::live::inbox::deliver(domain, to, from, payload));
        self
    }

    /// Hides two users' doings from each other in `domain`, in inboxes and open streams.
    pub fn block(&mut self, domain: &str, one: UserId, other: UserId) -> &mut Self {
        self.views.push(crate::live::inbox::block(domain, one, other));
        self.views.push(crate::live::inbox::block(domain, other, one));
        self
    }

    /// Tells the API that waits for a command or an acknowledgement by `token`.
    pub fn tell(&mut self, domain: &str, token: Uuid, outcome: &impl Serialize) -> &mut Self {
        let outcome = serde_json::to_string(outcome).unwrap_or_default();
        self.told.push(crate::command::tell(domain, token, outcome));
        self
    }
}
