//! Inboxes: per receiver and domain a capped Redis stream, the receiver's blocks, and a channel.
//!
//! One script under the receiver's tag compares the event's version with the last one of its
//! source, adds the event and announces it, so that a repeat is neither kept nor announced.

use crate::{
    id::UserId,
    store::{Call, Script},
};

/// Events that an inbox keeps; a client that was away for more refetches.
pub const INBOX_LENGTH_MAX: u32 = 1_000;
/// An inbox that nothing arrived in for this long is forgotten.
const INBOX_LIFETIME_S: u32 = 7 * 24 * 3600;
/// Before the announcement of a block; an event's announcement begins with its entry id.
pub(super) const BLOCK_MARK: char = '!';

/// KEYS: inbox, seen versions by source, blocked users. ARGV: channel, length, lifetime; then, for each event: from
/// (or empty), event, source, version.
static DELIVER: Script = Script::of_many(
    r"
local delivered = 0
for i = 4, #ARGV, 4 do
  local from, event, source, version = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local seen = tonumber(redis.call('HGET', KEYS[2], source) or '-1')
  if tonumber(version) > seen then
    redis.call('HSET', KEYS[2], source, version)
    if from == '' or redis.call('SISMEMBER', KEYS[3], from) == 0 then
      local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'e', event, 'f', from)
      redis.call('SPUBLISH', ARGV[1], id .. ' ' .. from .. ' ' .. event)
      delivered = delivered + 1
    end
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[3])
if delivered > 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return delivered
",
    3,
    4,
);

/// KEYS: blocked users. ARGV: channel, whom, announcement.
static BLOCK: Script = Script::new(
    r"
redis.call('SADD', KEYS[1], ARGV[2])
redis.call('SPUBLISH', ARGV[1], ARGV[3])
return 1
",
);

/// The stream of a receiver in a domain.
pub fn inbox_key(domain: &str, user: UserId) -> String {
    format!("{domain}:inbox:{{{user}}}")
}

/// The channel of a receiver in a domain.
pub fn channel(domain: &str, user: UserId) -> String {
    format!("{domain}:live:{{{user}}}")
}

/// The users whom a receiver neither sees nor is seen by, in a domain.
pub fn blocks_key(domain: &str, user: UserId) -> String {
    format!("{domain}:blocks:{{{user}}}")
}

/// The call that delivers an event; the projector adds source and version as it runs it.
pub(crate) fn deliver(domain: &str, to: UserId, from: Option<UserId>, payload: String) -> Call {
    let keys = [inbox_key(domain, to), format!("{domain}:seen:{{{to}}}"), blocks_key(domain, to)];
    Call::script(&DELIVER, keys)
        .arg(channel(domain, to))
        .arg(INBOX_LENGTH_MAX)
        .arg(INBOX_LIFETIME_S)
        .arg(from.map(|user| user.to_string()).unwrap_or_default())
        .arg(payload)
        .versioned_by_source()
}

/// The call that hides `other` from `user`.
pub(crate) fn block(domain: &str, user: UserId, other: UserId) -> Call {
    Call::script(&BLOCK, [blocks_key(domain, user)])
        .arg(channel(domain, user))
        .arg(other.to_string())
        .arg(format!("{BLOCK_MARK}{other}"))
}
