//! Filling the queue from the index.

use super::{
    BATCH, Card, Table, Taken,
    grid::{GridCell, cells_around},
    queue::Hand,
    read,
    scan::{Found, Lane, Mark},
};
use crate::{
    model::Profile,
    view::{active_key, people_key},
};
use std::collections::HashSet;
use velvet_kernel::{
    fault::Fault,
    id::UserId,
    store::{Call, Script, Store, epoch_of},
};

/// Rounds of one refill. Each goes on where the last one stopped, until there are cards enough.
pub const REFILL_ROUNDS_MAX: usize = 4;

/// KEYS: people of a box, then one order for each gender. ARGV: active and id to go on after (both
/// empty: from the top), how many.
/// Returns id, when active, profile with its version, in turn, most recently active first.
static LOOK: Script = Script::new(
    r"
local wanted, found = tonumber(ARGV[3]), {}
local from, top = '+inf', nil
if ARGV[1] ~= '' then from, top = ARGV[1], tonumber(ARGV[1]) end
for k = 2, #KEYS do
  local offset, taken = 0, 0
  while taken < wanted do
    local page = redis.call('ZREVRANGEBYSCORE', KEYS[k], from, '-inf', 'WITHSCORES', 'LIMIT', offset, wanted)
    if #page == 0 then break end
    offset = offset + #page / 2
    for i = 1, #page, 2 do
      local id, active = page[i], tonumber(page[i + 1])
      if taken < wanted and (top == nil or active < top or id < ARGV[2]) then
        found[#found + 1] = {active, id}
        taken = taken + 1
      end
    end
  end
end
table.sort(found, function(a, b)
  if a[1] ~= b[1] then return a[1] > b[1] end
  return a[2] > b[2]
end)
local reply = {}
for i = 1, math.min(#found, wanted) do
  reply[#reply + 1] = found[i][2]
  reply[#reply + 1] = string.format('%.0f', found[i][1])
  reply[#reply + 1] = redis.call('HGET', KEYS[1], found[i][2]) or ''
end
return reply
",
);

impl Table<'_> {
    /// Scans on from the mark, fills the queue, and takes from it what is missing.
    pub(super) async fn refill(&mut self, mut mark: Mark) -> Result<(), Fault> {
        let Some(centre) = self.seeker.profile.cell else { return Ok(()) };
        let walk = cells_around(centre, self.seeker.reach_km());
        let mut chosen = Vec::new();
        for round in 0..REFILL_ROUNDS_MAX {
            mark.open_lanes(walk.len());
            if mark.ended {
                break;
            }
            let found = self.look(&mark, &walk, round == 0).await?;
            let allowed = self.allowed(&found).await?;
            let wanted = BATCH - chosen.len();
            chosen.extend(mark.take(&found, wanted, walk.len(), |one| allowed.contains(&one.user).then_some(one.user)));
            if mark.ended || chosen.len() >= self.missing() {
                break;
            }
        }
        // The index may be a moment behind; the profile itself says who somebody is and where.
        let cards = if chosen.is_empty() { Vec::new() } else { self.look_at(&chosen).await?.0 };
        self.push(&mark, &cards).await
    }

    async fn push(&mut self, mark: &Mark, cards: &[Card]) -> Result<(), Fault> {
        let calls = [self.queue.refill(mark, cards), self.queue.take(self.now_s, self.missing())];
        let replies = self.store.run(&calls).await?;
        let taken: Taken = replies.get(1).map_or_else(|| Ok(Taken::default()), read)?;
        let hand = Hand::read(&taken, &self.print);
        self.lay(hand).await
    }

    /// Reads the open boxes, side by side; in the first round also whether Redis is whole, as a part
    /// that was lost would show people again who were swiped.
    async fn look(&self, mark: &Mark, walk: &[GridCell], check_whole: bool) -> Result<Vec<Vec<Found>>, Fault> {
        let limit = mark.lane_limit();
        let mut calls: Vec<Call> =
            mark.lanes.iter().filter_map(|lane| Some(self.look_call(*walk.get(lane.cell)?, lane, limit))).collect();
        let lanes = calls.len();
        if check_whole {
            calls.extend(Store::canary_calls());
        }
        let replies = self.store.run(&calls).await?;
        let (found, canaries) = replies.split_at(lanes);
        if check_whole && epoch_of(canaries).is_none() {
            return Err(Fault::unavailable().retry_after(1));
        }
        found.iter().map(|reply| Ok(people(&read::<Vec<String>>(reply)?))).collect()
    }

    fn look_call(&self, cell: GridCell, lane: &Lane, limit: usize) -> Call {
        let profile = &self.seeker.profile;
        let mut keys = vec![people_key(cell)];
        let genders = profile.preferences.sought_genders();
        keys.extend(genders.into_iter().map(|gender| active_key(cell, profile.side.sought(), gender)));
        let (active, user) =
            lane.after.map_or_else(Default::default, |(active, user)| (active.to_string(), user.to_string()));
        Call::script(&LOOK, keys).arg(active).arg(user).arg(limit)
    }

    /// Who of those found may be queued: they and the viewer want each other, and the viewer has
    /// neither swiped nor blocked nor just seen them.
    async fn allowed(&self, found: &[Vec<Found>]) -> Result<HashSet<UserId>, Fault> {
        let fit: Vec<UserId> = found
            .iter()
            .flatten()
            .filter(|one| one.user != self.viewer)
            .filter(|one| one.profile.as_ref().is_some_and(|profile| self.seeker.meets(profile).is_some()))
            .map(|one| one.user)
            .collect();
        if fit.is_empty() {
            return Ok(HashSet::new());
        }
        let reply: Vec<String> = self.store.ask(self.queue.allow(self.now_s, &fit)).await?;
        Ok(reply.iter().filter_map(|id| UserId::parse(id)).collect())
    }
}

/// Reads what a box gave.
fn people(flat: &[String]) -> Vec<Found> {
    flat.as_chunks::<3>()
        .0
        .iter()
        .filter_map(|[user, active, stored]| {
            let profile = stored.split_once(':').and_then(|(_, json)| serde_json::from_str::<Profile>(json).ok());
            Some(Found { user: UserId::parse(user)?, active: active.parse().ok()?, profile })
        })
        .collect()
}
