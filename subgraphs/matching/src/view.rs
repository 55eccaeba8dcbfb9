//! Redis: the keys of matching and what folds write to them. Readers are in `deck` and `graphql`.
//!
//! | key | holds |
//! |---|---|
//! | `matching:match:{match}` | a match, also after its end |
//! | `matching:matches:{user}` | the user's standing matches, newest first |
//! | `matching:swiped:{user}` | whom the user has swiped, ever |
//! | `matching:superlikers:{user}` | whose super likes wait for the user's answer, newest first |
//! | `matching:profile:{user}` | what the deck needs of the user |
//! | `matching:people:{cell}` | the same, of all people of a cell, for the scan |
//! | `matching:active:{cell}:<side>:<gender>` | their ids, by when they were last active |
//!
//! A box of the index is its keys' hash tag, so that one script reads it.

use crate::{
    deck::grid::GridCell,
    fold::Known,
    model::{MatchDocument, MatchId, Profile, Side},
};
use chrono::{DateTime, Utc};
use velvet_kernel::{
    fold::{Effects, Version},
    graph::Gender,
    id::UserId,
    store::{Call, Script, view},
};

/// KEYS: people, order. ARGV: user, version, when active, profile.
/// Adds somebody to a box unless a newer profile is there.
static ENTER: Script = Script::new(
    r"
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and tonumber(string.match(old, '^(%d+):')) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return 1
",
);

/// KEYS: people, order. ARGV: user, version.
/// Takes somebody out of a box unless they have come back with a newer profile.
static LEAVE: Script = Script::new(
    r"
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and tonumber(string.match(old, '^(%d+):')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
",
);

/// The key of a match.
pub fn match_key(id: MatchId) -> String {
    format!("matching:match:{{{id}}}")
}

/// The key of a user's matches.
pub fn matches_key(user: UserId) -> String {
    format!("matching:matches:{{{user}}}")
}

/// The key of whom a user has swiped.
pub fn swiped_key(user: UserId) -> String {
    format!("matching:swiped:{{{user}}}")
}

/// The key of whose super likes wait for a user's answer.
pub fn super_likers_key(user: UserId) -> String {
    format!("matching:superlikers:{{{user}}}")
}

/// The key of a user's profile.
pub fn profile_key(user: UserId) -> String {
    format!("matching:profile:{{{user}}}")
}

/// The key of the people of a box.
pub fn people_key(cell: GridCell) -> String {
    format!("matching:people:{{{cell}}}")
}

/// The key of the order of a box's people of one side and gender.
pub fn active_key(cell: GridCell, side: Side, gender: Gender) -> String {
    let side = match side {
        Side::Patron => "patron",
        Side::Creator => "creator",
    };
    let gender = match gender {
        Gender::Female => "female",
        Gender::Male => "male",
        Gender::NonBinary => "non_binary",
    };
    format!("matching:active:{{{cell}}}:{side}:{gender}")
}

/// Notes that a user has swiped another; it stays so.
pub fn mark_swiped(swiper: UserId, other: UserId) -> Call {
    Call::command_on("SADD", swiped_key(swiper)).arg(other.to_string())
}

/// Puts a super like before the one who was liked.
pub fn show_super_like(receiver: UserId, liker: UserId, at: DateTime<Utc>, version: Version) -> Call {
    view::put_entry(&super_likers_key(receiver), &liker.to_string(), version, at.timestamp(), &true)
}

/// Takes a super like away: it was answered, withdrawn, or forbidden by a block. What takes it away
/// goes over what the same fact has put there.
pub fn hide_super_like(receiver: UserId, liker: UserId, version: Version) -> Call {
    view::remove_entry(&super_likers_key(receiver), &liker.to_string(), Version(version.0 + 1))
}

/// Writes a match and its place in both partners' lists.
pub fn show_match(effects: &mut Effects, document: &MatchDocument, version: Version) {
    effects.view(view::put(match_key(document.match_id), version, document, 0));
    let id = document.match_id.to_string();
    for user in [document.user_a_id, document.user_b_id] {
        let key = matches_key(user);
        let call = if document.status == crate::model::MatchStatus::Active {
            view::put_entry(&key, &id, version, document.matched_at.timestamp_micros(), document)
        } else {
            view::remove_entry(&key, &id, version)
        };
        effects.view(call);
    }
}

/// Where the index has somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    cell: GridCell,
    side: Side,
    gender: Gender,
}

impl Place {
    fn of(profile: &Profile) -> Option<Self> {
        let cell = GridCell::of(profile.cell?);
        Some(Self { cell, side: profile.side, gender: profile.gender })
    }

    fn keys(self) -> [String; 2] {
        [people_key(self.cell), active_key(self.cell, self.side, self.gender)]
    }
}

/// Writes a user's profile and moves them in the index from where they were.
///
/// Only the user's own entity does this, in log order; their version in accounts orders the changes.
pub fn show_profile(effects: &mut Effects, user: UserId, before: Option<&Profile>, known: &Known) {
    let version = known.source_version;
    effects.view(view::put(profile_key(user), Version(version), &known.profile, 0));
    let (from, to) = (before.and_then(Place::of), Place::of(&known.profile));
    if let Some(from) = from.filter(|from| Some(*from) != to) {
        effects.view(Call::script(&LEAVE, from.keys()).arg(user.to_string()).arg(version));
    }
    if let Some(to) = to {
        let profile = serde_json::to_string(&known.profile).unwrap_or_default();
        let call = Call::script(&ENTER, to.keys())
            .arg(user.to_string())
            .arg(version)
            .arg(known.profile.last_active_at.timestamp())
            .arg(profile);
        effects.view(call);
    }
}
