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

/// KEYS: inbox, seen versions by source, blocked users. ARGV: channel, from (or empty), length, lifetime, event, source, version.
static DELIVER: Script = Script::new(
    r"
local seen = tonumber(redis.call('HGET', KEYS[2], ARGV[6]) or '-1')
if tonumber(ARGV[7]) <= seen then return 0 end
redis.call('HSET', KEYS[2], ARGV[6], ARGV[7])
redis.call('EXPIRE', KEYS[2], ARGV[4])
if ARGV[2] ~= '' and redis.call('SISMEMBER', KEYS[3], ARGV[2]) == 1 then return 0 end
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[5], 'f', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('SPUBLISH', ARGV[1], id .. ' ' .. ARGV[2] .. ' ' .. ARGV[5])
return 1
",
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
        .arg(from.map(|user| user.to_string()).unwrap_or_default())
        .arg(INBOX_LENGTH_MAX)
        .arg(INBOX_LIFETIME_S)
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
