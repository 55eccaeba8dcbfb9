//! A viewer's queue of cards, who was served lately, and the mark of the scan: all under the
//! viewer's tag, so that one script does each step as a whole.
//!
//! A queued card is `<user>:<distance in km>:<print>`.

use super::scan::Mark;
use crate::view::{super_likers_key, swiped_key};
use velvet_kernel::{
    id::UserId,
    live::inbox::blocks_key,
    store::{Call, Script},
};

/// Cards of one refill, and the most that a queue holds (DC-32, DC-34).
pub const BATCH: usize = 50;
/// How long queued cards are good; set at each refill (DC-31).
pub const QUEUE_LIFETIME_S: i64 = 300;
/// Who was served is not served again for this long.
pub const SERVED_LIFETIME_S: i64 = 300;
/// A scan that nobody goes on with starts anew after this long, with those who were active since.
const SCAN_LIFETIME_S: i64 = 1_800;
/// A scan that has ended starts anew after this long, to find who is new; whom it has served keeps
/// out for longer.
const SCAN_REST_S: i64 = 2;
/// Super likes that are looked through for one call.
const SUPER_LIKERS_PER_CALL: usize = 50;

/// KEYS: queue, served, swiped, blocked, super likers. ARGV: now, cards wanted, how long served ones
/// keep out, super likes to look through.
/// Hands out queued cards, each with `:1` when its user has super-liked the viewer, and the ids of
/// super-likers who are to be looked at first; together no more than were wanted.
static TAKE: Script = Script::new(
    r"
local now, wanted, lifetime = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - lifetime)
local cards, likers = {}, {}
local function fresh(id)
  if redis.call('ZSCORE', KEYS[2], id) or redis.call('SISMEMBER', KEYS[3], id) == 1
    or redis.call('SISMEMBER', KEYS[4], id) == 1 then return false end
  redis.call('ZADD', KEYS[2], now, id)
  return true
end
for _, id in ipairs(redis.call('ZREVRANGE', KEYS[5], 0, tonumber(ARGV[4]) - 1)) do
  if #likers == wanted then break end
  if fresh(id) then likers[#likers + 1] = id end
end
while #cards + #likers < wanted do
  local card = redis.call('LPOP', KEYS[1])
  if not card then break end
  local id = string.sub(card, 1, 36)
  if fresh(id) then
    cards[#cards + 1] = card .. (redis.call('ZSCORE', KEYS[5], id) and ':1' or ':0')
  end
end
if #cards + #likers > 0 then redis.call('EXPIRE', KEYS[2], lifetime) end
return {cards, likers}
",
);

/// KEYS: swiped, blocked, served, queue. ARGV: served before this keeps nobody out, then ids.
/// Returns those ids that may be queued.
static ALLOW: Script = Script::new(
    r"
local queued, allowed = {}, {}
for _, card in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do queued[string.sub(card, 1, 36)] = true end
local swiped = redis.call('SMISMEMBER', KEYS[1], unpack(ARGV, 2))
local blocked = redis.call('SMISMEMBER', KEYS[2], unpack(ARGV, 2))
local served = redis.call('ZMSCORE', KEYS[3], unpack(ARGV, 2))
for i = 1, #ARGV - 1 do
  local id = ARGV[i + 1]
  local lately = served[i] and tonumber(served[i]) > tonumber(ARGV[1])
  if swiped[i] == 0 and blocked[i] == 0 and not lately and not queued[id] then allowed[#allowed + 1] = id end
end
return allowed
",
);

/// KEYS: queue, served, mark. ARGV: mark, its lifetime, the queue's lifetime, the queue's bound, then cards.
/// Appends a batch and moves the mark. Without cards the queue stays as it is.
static REFILL: Script = Script::new(
    r"
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[2])
local queued, size, added = {}, 0, 0
for _, card in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  queued[string.sub(card, 1, 36)] = true
  size = size + 1
end
for i = 5, #ARGV do
  local id = string.sub(ARGV[i], 1, 36)
  if size < tonumber(ARGV[4]) and not queued[id] and not redis.call('ZSCORE', KEYS[2], id) then
    redis.call('RPUSH', KEYS[1], ARGV[i])
    queued[id] = true
    size, added = size + 1, added + 1
  end
end
if added > 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return added
",
);

/// A card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card {
    /// Whose.
    pub user: UserId,
    /// How far away they are, in whole kilometres.
    pub distance_km: u32,
    /// Whether they have super-liked the viewer.
    pub super_liked_you: bool,
}

/// What a queue gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hand {
    /// Cards of the print that was asked for.
    pub cards: Vec<Card>,
    /// Users of cards of other prints: the queue is stale.
    pub stale: Vec<UserId>,
    /// Super-likers who are to be looked at.
    pub super_likers: Vec<UserId>,
}

impl Card {
    fn queued(&self, print: &str) -> String {
        format!("{}:{}:{print}", self.user, self.distance_km)
    }
}

impl Hand {
    /// Reads what [`Queue::take`] was answered.
    pub fn read((cards, likers): &(Vec<String>, Vec<String>), print: &str) -> Self {
        let mut hand = Self::default();
        for card in cards {
            let mut parts = card.split(':');
            let (Some(user), Some(km), Some(of), Some(liked)) =
                (parts.next().and_then(UserId::parse), parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            match km.parse() {
                Ok(distance_km) if of == print => {
                    hand.cards.push(Card { user, distance_km, super_liked_you: liked == "1" });
                }
                _ => hand.stale.push(user),
            }
        }
        hand.super_likers = likers.iter().filter_map(|id| UserId::parse(id)).collect();
        hand
    }
}

/// The keys of one viewer; calls with a filter have a queue and a mark of their own.
#[derive(Debug, Clone)]
pub struct Queue {
    cards: String,
    mark: String,
    served: String,
    swiped: String,
    blocked: String,
    super_likers: String,
}

impl Queue {
    /// The queue of a viewer.
    pub fn of(viewer: UserId, filtered: bool) -> Self {
        let suffix = if filtered { ":filtered" } else { "" };
        Self {
            cards: format!("matching:cards:{{{viewer}}}{suffix}"),
            mark: format!("matching:scan:{{{viewer}}}{suffix}"),
            served: format!("matching:served:{{{viewer}}}"),
            swiped: swiped_key(viewer),
            blocked: blocks_key(crate::DOMAIN_NAME, viewer),
            super_likers: super_likers_key(viewer),
        }
    }

    /// Hands out cards.
    pub fn take(&self, now_s: i64, wanted: usize) -> Call {
        let keys = [&self.cards, &self.served, &self.swiped, &self.blocked, &self.super_likers];
        Call::script(&TAKE, keys).arg(now_s).arg(wanted).arg(SERVED_LIFETIME_S).arg(SUPER_LIKERS_PER_CALL)
    }

    /// Reads the mark.
    pub fn mark(&self) -> Call {
        Call::command_on("GET", self.mark.as_str())
    }

    /// Asks who may be queued.
    pub fn allow(&self, now_s: i64, users: &[UserId]) -> Call {
        let ids: Vec<String> = users.iter().map(UserId::to_string).collect();
        Call::script(&ALLOW, [&self.swiped, &self.blocked, &self.served, &self.cards])
            .arg(now_s - SERVED_LIFETIME_S)
            .arg(ids)
    }

    /// Appends a batch and moves the mark.
    pub fn refill(&self, mark: &Mark, cards: &[Card]) -> Call {
        let lifetime_s = if mark.ended { SCAN_REST_S } else { SCAN_LIFETIME_S };
        let cards: Vec<String> = cards.iter().map(|card| card.queued(&mark.print)).collect();
        Call::script(&REFILL, [&self.cards, &self.served, &self.mark])
            .arg(serde_json::to_string(mark).unwrap_or_default())
            .arg(lifetime_s)
            .arg(QUEUE_LIFETIME_S)
            .arg(BATCH)
            .arg(cards)
    }

    /// Drops the queue.
    pub fn drop_cards(&self) -> Call {
        Call::command_on("DEL", self.cards.as_str())
    }

    /// Forgets that these were served, as they were not.
    pub fn not_served(&self, users: &[UserId]) -> Call {
        let ids: Vec<String> = users.iter().map(UserId::to_string).collect();
        Call::command_on("ZREM", self.served.as_str()).arg(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_card_reads_back_as_it_was_queued_and_a_stale_one_is_told_apart() {
        let user = UserId(Uuid::from_u128(7));
        let card = Card { user, distance_km: 12, super_liked_you: true };
        let reply =
            (vec![format!("{}:1", card.queued("aa")), format!("{}:0", card.queued("bb"))], vec![user.to_string()]);
        assert_eq!(Hand::read(&reply, "aa"), Hand { cards: vec![card], stale: vec![user], super_likers: vec![user] });
    }

    #[test]
    fn all_keys_of_a_viewer_have_one_tag() {
        let queue = Queue::of(UserId(Uuid::from_u128(7)), true);
        let tag = "{00000000-0000-0000-0000-000000000007}";
        for key in [&queue.cards, &queue.mark, &queue.served, &queue.swiped, &queue.blocked, &queue.super_likers] {
            assert!(key.contains(tag), "{key}");
        }
    }
}
