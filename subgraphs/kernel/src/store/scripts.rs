//! The scripts of views. Each compares versions before it writes, so a repeat changes nothing.
//!
//! A stored value is its version, a colon and its JSON; a removal keeps the version and nothing
//! after the colon, so that an older change which arrives late does not bring it back.
//!
//! What they return: 0 when nothing changed, 1 when what is shown did, 2 when the view was cold (it has
//! a lifetime and was not there), 3 when only the version moved.

use super::call::Script;

/// Sets a document unless a newer version is there. KEYS: document. ARGV: version, JSON, lifetime in seconds (0: for ever).
pub static PUT_DOCUMENT: Script = Script::new(
    r"
local old = redis.call('GET', KEYS[1])
if old and tonumber(string.match(old, '^(%d+):')) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2])
if tonumber(ARGV[3]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
if not old and tonumber(ARGV[3]) > 0 then return 2 end
if (old and string.match(old, '^%d+:(.*)$') or '') == ARGV[2] then return 3 end
return 1
",
);

/// Sets one field of a hash of documents unless a newer version is there.
/// KEYS: hash. ARGV: field, version, JSON, lifetime of the whole hash in seconds (0: as it is).
pub static PUT_FIELD: Script = Script::new(
    r"
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and tonumber(string.match(old, '^(%d+):')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[3])
if tonumber(ARGV[4]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
if not old and tonumber(ARGV[4]) > 0 then return 2 end
if (old and string.match(old, '^%d+:(.*)$') or '') == ARGV[3] then return 3 end
return 1
",
);

/// Sets one entry of an ordered list unless a newer version is there; empty JSON removes it.
/// KEYS: order, entries. ARGV: id, version, score, JSON.
pub static PUT_ENTRY: Script = Script::new(
    r"
local old = redis.call('HGET', KEYS[2], ARGV[1])
if old and tonumber(string.match(old, '^(%d+):')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ':' .. ARGV[4])
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[4] == '' then redis.call('ZREM', KEYS[1], ARGV[1])
else redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
local placed = ARGV[4] == '' or (score and tonumber(score) == tonumber(ARGV[3]))
if placed and (old and string.match(old, '^%d+:(.*)$') or '') == ARGV[4] then return 3 end
return 1
",
);

/// A page of an ordered list, highest score first, with what each entry holds.
/// KEYS: order, entries. ARGV: score and id to go on after (both empty: from the top), count.
/// Returns id, score, stored value, in turn.
pub static PAGE_ENTRIES: Script = Script::new(
    r"
local from, skip = '+inf', nil
if ARGV[1] ~= '' then from, skip = ARGV[1], ARGV[2] end
local wanted, offset, page = tonumber(ARGV[3]), 0, {}
while #page < wanted * 3 do
  local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], from, '-inf', 'WITHSCORES', 'LIMIT', offset, wanted + 1)
  if #found == 0 then break end
  offset = offset + #found / 2
  for i = 1, #found, 2 do
    local id, score = found[i], found[i + 1]
    local after = skip == nil or tonumber(score) < tonumber(ARGV[1]) or id < skip
    if after and #page < wanted * 3 then
      page[#page + 1] = id
      page[#page + 1] = score
      page[#page + 1] = redis.call('HGET', KEYS[2], id) or ''
    end
  end
end
return page
",
);
