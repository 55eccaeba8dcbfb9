//! What is remembered of each entity: its state, the position it stands at, its last outcomes.

use super::Error;
use crate::{
    fold::{Effects, Version},
    store::{self, Call, Reply, Script, Store, epoch_of},
};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use uuid::Uuid;

/// Event ids that an entity remembers; a repeat within them gives the first outcome.
const OUTCOMES_MAX: usize = 1_024;
/// Nobody retries a request after a day.
const OUTCOMES_LIFETIME_S: usize = 24 * 3600;

/// KEYS: state, outcomes, their order. ARGV: position expected, position now, state, the state's lifetime
/// (0: for ever), outcomes kept, their lifetime, then id and outcome in turn.
static COMMIT: Script = Script::new(
    r"
local at = tonumber(redis.call('HGET', KEYS[1], 'p') or '-1')
if at ~= tonumber(ARGV[1]) and at ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'p', ARGV[2], 's', ARGV[3])
if tonumber(ARGV[4]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[4]) else redis.call('PERSIST', KEYS[1]) end
for i = 7, #ARGV, 2 do
  if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) == 1 then redis.call('RPUSH', KEYS[3], ARGV[i]) end
end
while redis.call('LLEN', KEYS[3]) > tonumber(ARGV[5]) do
  redis.call('HDEL', KEYS[2], redis.call('LPOP', KEYS[3]))
end
if #ARGV > 6 then
  redis.call('EXPIRE', KEYS[2], ARGV[6])
  redis.call('EXPIRE', KEYS[3], ARGV[6])
end
return 1
",
);

fn state_key(domain: &str, entity: &str) -> String {
    format!("{domain}:state:{{{entity}}}")
}

/// The call that reads how far an entity is folded; [`position`] reads its reply. Sent before calls
/// that read the entity's own views, in one batch, it says which facts those surely contain: the
/// position is written after the views are.
pub fn position_call(domain: &str, entity: &str) -> Call {
    Call::command_on("HGET", state_key(domain, entity)).arg("p")
}

/// The last version that the fact at an entity's position can have caused.
pub fn position(reply: &Reply) -> Result<Version, store::Error> {
    let at: Option<i64> = redis::FromRedisValue::from_redis_value_ref(reply)?;
    Ok(at.map_or_else(Version::default, |at| Version(Version::of_offset(at.max(0)).0 | 0xff)))
}

/// The outcomes of an entity's last facts, by event id.
pub fn outcomes_key(domain: &str, entity: &str) -> String {
    format!("{domain}:outcomes:{{{entity}}}")
}

/// One entity while a batch is worked on.
#[derive(Debug, Clone)]
pub struct Entity<S> {
    /// Its state.
    pub state: S,
    /// The offset that it stood at when it was read.
    pub read_at: i64,
    /// The offset that it stands at now.
    pub at: i64,
    /// Events of this batch that it remembers from before.
    pub known: Vec<Uuid>,
    /// Outcomes to be remembered.
    pub outcomes: Vec<(Uuid, String)>,
    /// Whether rows were merged into it. They come in any order, so its offset need not move.
    pub restored: bool,
}

impl<S> Entity<S> {
    /// Whether an event was folded before, so that its first outcome stands.
    pub fn knows(&self, id: Uuid) -> bool {
        self.known.contains(&id) || self.outcomes.iter().any(|(known, _)| *known == id)
    }

    /// What an event of this batch came to, if somebody may wait for it.
    pub fn outcome_of(&self, id: Uuid) -> Option<&str> {
        let (_, outcome) = self.outcomes.iter().find(|(known, _)| *known == id)?;
        (outcome != "null").then_some(outcome.as_str())
    }

    /// Remembers what an event came to.
    pub fn remember(&mut self, id: Uuid, effects: &Effects) {
        let outcome = effects.outcome.as_ref().map_or_else(|| "null".to_owned(), ToString::to_string);
        self.outcomes.push((id, outcome));
    }
}

/// Reads the entities of a batch, each with the events that it may know already, and checks that
/// Redis' content is whole, in one round trip. `whole` says whether it must be.
pub async fn read<S: DeserializeOwned + Default>(
    store: &Store,
    domain: &str,
    entities: &HashMap<&str, Vec<Uuid>>,
    whole: bool,
) -> Result<HashMap<String, Entity<S>>, Error> {
    let mut calls = Vec::with_capacity(entities.len() * 2 + 16);
    for (entity, ids) in entities {
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        calls.push(Call::command_on("HMGET", state_key(domain, entity)).arg("p").arg("s"));
        calls.push(Call::command_on("HMGET", outcomes_key(domain, entity)).arg(ids));
    }
    calls.extend(Store::canary_calls());
    let replies = store.run(&calls).await?;
    let (replies, canaries) = replies.split_at(entities.len() * 2);
    if whole && epoch_of(canaries).is_none() {
        return Err(Error::NotWhole);
    }
    let mut read = HashMap::with_capacity(entities.len());
    for ((entity, ids), reply) in entities.iter().zip(replies.as_chunks::<2>().0) {
        read.insert((*entity).to_owned(), parse(domain, entity, ids, reply)?);
    }
    Ok(read)
}

fn parse<S: DeserializeOwned + Default>(
    domain: &str,
    entity: &str,
    ids: &[Uuid],
    [stored, outcomes]: &[Reply; 2],
) -> Result<Entity<S>, Error> {
    let (at, json): (Option<i64>, Option<Vec<u8>>) =
        redis::FromRedisValue::from_redis_value_ref(stored).map_err(store::Error::from)?;
    let known: Vec<Option<String>> =
        redis::FromRedisValue::from_redis_value_ref(outcomes).map_err(store::Error::from)?;
    let state = match json {
        None => S::default(),
        Some(json) => serde_json::from_slice(&json)
            .map_err(|source| store::Error::Malformed { key: state_key(domain, entity), source })?,
    };
    let at = at.unwrap_or(-1);
    let known = ids.iter().zip(known).filter_map(|(id, outcome)| outcome.map(|_| *id)).collect();
    Ok(Entity { state, read_at: at, at, known, outcomes: Vec::new(), restored: false })
}

/// Writes the entities that have moved on; fails if another projector was there first.
pub async fn commit<S: Serialize + Default>(
    store: &Store,
    domain: &str,
    entities: &HashMap<String, Entity<S>>,
) -> Result<(), Error> {
    let changed = |entity: &Entity<S>| entity.restored || entity.at != entity.read_at;
    let moved: Vec<(&String, &Entity<S>)> = entities.iter().filter(|(_, entity)| changed(entity)).collect();
    let blank = serde_json::to_string(&S::default()).unwrap_or_default();
    let calls: Vec<Call> = moved.iter().map(|(key, entity)| commit_call(domain, key, entity, &blank)).collect();
    let replies = store.run(&calls).await?;
    match moved.iter().zip(&replies).find(|(_, reply)| **reply != Reply::Int(1)) {
        Some(((key, _), _)) => Err(Error::Overtaken { entity: (*key).clone() }),
        None => Ok(()),
    }
}

/// A state that came to nothing, as of a refused request, goes when its outcomes do.
fn commit_call<S: Serialize>(domain: &str, key: &str, entity: &Entity<S>, blank: &str) -> Call {
    let state = serde_json::to_string(&entity.state).unwrap_or_default();
    let lifetime_s = if state == blank { OUTCOMES_LIFETIME_S } else { 0 };
    let outcomes = outcomes_key(domain, key);
    let order = format!("{outcomes}:o");
    let mut call = Call::script(&COMMIT, [state_key(domain, key), outcomes, order])
        .arg(entity.read_at)
        .arg(entity.at)
        .arg(state)
        .arg(lifetime_s)
        .arg(OUTCOMES_MAX)
        .arg(OUTCOMES_LIFETIME_S);
    for (id, outcome) in &entity.outcomes {
        call = call.arg(id.to_string()).arg(outcome.as_str());
    }
    call
}
