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

/// Sets fields of a hash of documents, each unless a newer version is there. KEYS: hash. ARGV, for each:
/// field, version, JSON, lifetime of the whole hash in seconds (0: as it is). Returns what became of the last.
pub static PUT_FIELD: Script = Script::of_versions(
    r"
local result = 0
for i = 1, #ARGV, 4 do
  local field, version, json, lifetime = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  local old = redis.call('HGET', KEYS[1], field)
  if old and tonumber(string.match(old, '^(%d+):')) >= tonumber(version) then
    result = 0
  else
    redis.call('HSET', KEYS[1], field, version .. ':' .. json)
    if lifetime > 0 then redis.call('EXPIRE', KEYS[1], lifetime) end
    if not old and lifetime > 0 then result = 2
    elseif (old and string.match(old, '^%d+:(.*)$') or '') == json then result = 3
    else result = 1 end
  end
end
return result
",
    4,
    1,
);

/// Sets entries of an ordered list, each unless a newer version is there; empty JSON removes one.
/// KEYS: order, entries. ARGV, for each: id, version, score, JSON. Returns what became of the last.
pub static PUT_ENTRY: Script = Script::of_versions(
    r"
local result = 0
for i = 1, #ARGV, 4 do
  local id, version, score, json = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local old = redis.call('HGET', KEYS[2], id)
  if old and tonumber(string.match(old, '^(%d+):')) >= tonumber(version) then
    result = 0
  else
    redis.call('HSET', KEYS[2], id, version .. ':' .. json)
    local before = redis.call('ZSCORE', KEYS[1], id)
    if json == '' then redis.call('ZREM', KEYS[1], id)
    else redis.call('ZADD', KEYS[1], score, id) end
    local placed = json == '' or (before and tonumber(before) == tonumber(score))
    if placed and (old and string.match(old, '^%d+:(.*)$') or '') == json then result = 3 else result = 1 end
  end
end
return result
",
    4,
    0,
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
