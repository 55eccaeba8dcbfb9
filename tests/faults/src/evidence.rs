//! Three accounts of one run: what clients were told, what the log holds, what PostgreSQL and Redis hold.

use crate::{
    history::{Entry, Request, What},
    quiet::Ends,
    stored::Stored,
    views::View,
};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use uuid::Uuid;
use velvet_kernel::log::Recorded;

/// All that the checker looks at.
#[derive(Debug, Default)]
pub struct Evidence {
    pub history: Vec<Entry>,
    /// When the history begins.
    pub began: DateTime<Utc>,
    /// Names and ids of those who joined.
    pub people: BTreeMap<String, Uuid>,
    pub log: Vec<Event>,
    /// Where the topics ended once it was quiet; what was active after that may or may not be stored yet.
    pub settled: Ends,
    pub rows: Stored,
    /// What each person sees once it is quiet, by id.
    pub views: BTreeMap<Uuid, View>,
    /// The same after Redis was wiped and rebuilt, when that was asked for.
    pub rebuilt: Option<BTreeMap<Uuid, View>>,
}

/// An event of the log, with its data read.
#[derive(Debug, Clone)]
pub struct Event {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub id: Uuid,
    pub kind: String,
    pub key: String,
    pub time: DateTime<Utc>,
    pub version: u64,
    pub data: Value,
}

impl From<&Recorded> for Event {
    fn from(event: &Recorded) -> Self {
        Self {
            topic: event.topic.0.clone(),
            partition: event.partition,
            offset: event.offset,
            id: event.id,
            kind: event.kind.clone(),
            key: event.key.clone(),
            time: event.time,
            version: event.version.0,
            data: event.parse().unwrap_or(Value::Null),
        }
    }
}

/// What became of one request.
#[derive(Debug, Clone)]
pub struct Fate {
    pub who: String,
    pub request: Arc<Request>,
    /// Places in the history at which it was sent.
    pub asked: Vec<usize>,
    /// Attempts that got no answer.
    pub failed: usize,
    /// The last answer that was final, and its place in the history.
    pub answer: Option<(usize, Value)>,
}

impl Fate {
    /// The answer, when it is of this type.
    pub fn told(&self, typename: &str) -> Option<&Value> {
        self.answer.as_ref().map(|(_, payload)| payload).filter(|payload| payload["__typename"] == typename)
    }

    /// Where in the history the answer is.
    pub fn answered_at(&self) -> usize {
        self.answer.as_ref().map_or(usize::MAX, |(place, _)| *place)
    }

    /// Where in the history the attempt began that was answered.
    pub fn last_asked(&self) -> usize {
        self.asked.last().copied().unwrap_or_default()
    }

    pub fn input(&self, name: &str) -> &str {
        self.request.input[name].as_str().unwrap_or_default()
    }
}

impl Evidence {
    /// The fate of each request, in the order in which they were first sent.
    pub fn fates(&self) -> Vec<Fate> {
        let mut fates: Vec<Fate> = Vec::new();
        let mut places: HashMap<u64, usize> = HashMap::new();
        for (place, entry) in self.history.iter().enumerate() {
            match &entry.what {
                What::Asked { request, .. } => {
                    let index = *places.entry(request.id).or_insert_with(|| {
                        let (who, request) = (entry.who.clone(), Arc::clone(request));
                        fates.push(Fate { who, request, asked: Vec::new(), failed: 0, answer: None });
                        fates.len() - 1
                    });
                    fates[index].asked.push(place);
                }
                What::Answered { request, payload } if payload["__typename"] != "Pending" => {
                    if let Some(index) = places.get(request) {
                        fates[*index].answer = Some((place, payload.clone()));
                    }
                }
                What::Answered { request, .. } | What::Failed { request, .. } => {
                    if let Some(index) = places.get(request) {
                        fates[*index].failed += 1;
                    }
                }
                _ => {}
            }
        }
        fates
    }

    /// Whether an event was there when it was quiet, so that everybody has taken it in.
    pub fn is_settled(&self, event: &Event) -> bool {
        let ends = self.settled.get(&event.topic);
        let end = ends.and_then(|ends| ends.get(usize::try_from(event.partition).unwrap_or(usize::MAX)));
        end.is_none_or(|end| event.offset < *end)
    }

    pub fn user(&self, who: &str) -> Option<Uuid> {
        self.people.get(who).copied()
    }

    /// The decided events of a type, each once, in log order.
    pub fn decided(&self, kinds: &[&str]) -> Vec<&Event> {
        let mut seen = BTreeSet::new();
        let of_kind = self.log.iter().filter(|event| event.topic.ends_with(".decided"));
        of_kind.filter(|event| kinds.contains(&event.kind.as_str()) && seen.insert(event.id)).collect()
    }

    /// Pairs of which one has asked to block the other, told or not.
    pub fn blocked_pairs(&self) -> BTreeSet<(Uuid, Uuid)> {
        let blocks = self.fates().into_iter().filter(|fate| fate.request.operation == "blockUser");
        let pairs = blocks.filter_map(|fate| {
            let (one, other) = (self.user(&fate.who)?, fate.input("userId").parse().ok()?);
            Some((Ord::min(one, other), Ord::max(one, other)))
        });
        pairs.collect()
    }

    /// The conversations of this run: their two members, by id.
    pub fn conversations(&self) -> BTreeMap<String, (Uuid, Uuid)> {
        let opened = self.decided(&["conversation.opened", "conversation.closed"]);
        let conversations = opened.into_iter().filter_map(|event| {
            let id = |name: &str| event.data[name].as_str()?.parse::<Uuid>().ok();
            Some((event.key.clone(), (id("user_a_id")?, id("user_b_id")?)))
        });
        conversations.collect()
    }
}
