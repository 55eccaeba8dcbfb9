//! Redis: the keys of messaging, what folds do to them, and the calls that read them.
//!
//! A conversation is a hash whose fields only grow or are final: its members, its end, its last
//! position, each member's read mark. Each field's version is its position (or [`FINAL`]), not a
//! place in the log, so the same fields come of facts in their order and of rows in any order.
//!
//! Messages stand in blocks of [`BLOCK_SIZE`] positions, reactions in a hash beside each block. The
//! last [`BLOCKS_KEPT`] blocks of a conversation stay; older ones live for a day after they were
//! last needed, and are warmed again from the writer's rows. Reactions always outlive the messages
//! of their block, so that a message is never shown without the reactions that it has.

use crate::{
    NAME,
    fold::state::{About, State},
    model::{ConversationId, Message, Reaction},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use velvet_kernel::{
    fold::{Effects, Version},
    id::UserId,
    store::{
        Call, Error, Reply,
        view::{self, Slot},
    },
};

/// Messages of one block.
pub const BLOCK_SIZE: i64 = 100;
/// Blocks of a conversation that stay.
pub const BLOCKS_KEPT: i64 = 3;
/// How long an older block stays, in seconds.
const MESSAGES_LIFETIME_S: u64 = 24 * 3600;
/// How long its reactions stay: longer, so that they never go first.
const REACTIONS_LIFETIME_S: u64 = MESSAGES_LIFETIME_S + 3600;
/// The version of what is set once and for all; the largest that Redis' scripts compare exactly.
const FINAL: Version = Version((1 << 53) - 1);

const ABOUT: &str = "about";
const CLOSED: &str = "closed";
const BLOCKED: &str = "blocked";
const LAST: &str = "last";
const READ: &str = "read:";

fn conversation_key(id: ConversationId) -> String {
    format!("{NAME}:conversation:{{{id}}}")
}

fn messages_key(id: ConversationId, block: i64) -> String {
    format!("{NAME}:messages:{{{id}}}:{block}")
}

fn reactions_key(id: ConversationId, block: i64) -> String {
    format!("{NAME}:reactions:{{{id}}}:{block}")
}

/// The conversations of a member, the one with the newest message first.
pub fn list_key(user: UserId) -> String {
    format!("{NAME}:list:{{{user}}}")
}

/// The block of a position.
pub fn block_of(position: i64) -> i64 {
    (position - 1) / BLOCK_SIZE
}

/// Whether a block of a conversation with this last position lives for a time only.
pub fn is_old(block: i64, last_position: i64) -> bool {
    block + BLOCKS_KEPT <= block_of(last_position.max(1))
}

/// The last message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    position: i64,
    at: DateTime<Utc>,
}

/// One user's emoji on a message, as it stands or as it was taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Emoji {
    at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

/// Writes the whole conversation as the state has it.
pub fn put_conversation(effects: &mut Effects, id: ConversationId, state: &State) {
    let Some(about) = &state.about else { return };
    effects.view(view::put_field(conversation_key(id), ABOUT, FINAL, about, 0));
    put_end(effects, id, state);
    put_last(effects, id, state);
    for user in state.reads.keys() {
        put_read(effects, id, *user, state.read_by(*user));
    }
}

/// Writes how the conversation ended, if it did, and takes it off the members' lists.
pub fn put_end(effects: &mut Effects, id: ConversationId, state: &State) {
    let Some(about) = &state.about else { return };
    if state.blocked {
        effects.view(view::put_field(conversation_key(id), BLOCKED, FINAL, &true, 0));
    }
    if let Some(at) = &state.closed_at {
        effects.view(view::put_field(conversation_key(id), CLOSED, FINAL, at, 0));
        for member in about.members() {
            effects.view(view::remove_entry(&list_key(member), &id.to_string(), FINAL));
        }
    }
}

/// Writes the last position, and the conversation's place in the members' lists.
pub fn put_last(effects: &mut Effects, id: ConversationId, state: &State) {
    let version = Version(state.last_position.unsigned_abs());
    if let Some(at) = state.last_at {
        let last = Last { position: state.last_position, at };
        effects.view(view::put_field(conversation_key(id), LAST, version, &last, 0));
    }
    if let (Some(about), None) = (&state.about, state.closed_at) {
        let score = state.last_at.unwrap_or(about.opened_at).timestamp_millis();
        for member in about.members() {
            effects.view(view::put_entry(&list_key(member), &id.to_string(), version, score, &true));
        }
    }
}

/// Writes how far a member has read.
pub fn put_read(effects: &mut Effects, id: ConversationId, user: UserId, position: i64) {
    let version = Version(position.unsigned_abs());
    effects.view(view::put_field(conversation_key(id), &format!("{READ}{user}"), version, &position, 0));
}

/// Writes a message; its reactions stand beside it.
pub fn put_message(effects: &mut Effects, id: ConversationId, version: Version, message: &Message, last_position: i64) {
    let block = block_of(message.position);
    let bare = Message { reactions: Vec::new(), ..message.clone() };
    let old = is_old(block, last_position);
    let lifetime_s = if old { MESSAGES_LIFETIME_S } else { 0 };
    if old {
        effects.view(keep_reactions(id, block));
    }
    let field = message.position.to_string();
    effects.view(view::put_field(messages_key(id, block), &field, version, &bare, lifetime_s));
}

/// A user's emoji on a message, put on or taken away.
pub struct Mark<'a> {
    /// The message's position.
    pub position: i64,
    /// Whose it is.
    pub user: UserId,
    /// The emoji.
    pub emoji: &'a str,
    /// Whether it was taken away.
    pub removed: bool,
    /// When.
    pub at: DateTime<Utc>,
}

/// Writes a reaction.
pub fn put_reaction(effects: &mut Effects, id: ConversationId, version: Version, mark: &Mark<'_>, last_position: i64) {
    let block = block_of(mark.position);
    let lifetime_s = if is_old(block, last_position) { REACTIONS_LIFETIME_S } else { 0 };
    let field = format!("{}:{}:{}", mark.position, mark.user, mark.emoji);
    let value = Emoji { at: mark.at, removed: mark.removed };
    effects.view(view::put_field(reactions_key(id, block), &field, version, &value, lifetime_s));
}

/// Gives the blocks that leave the window a lifetime, as the last position moves on.
pub fn age(effects: &mut Effects, id: ConversationId, from: i64, to: i64) {
    let newly_old = |block: &i64| *block >= 0 && !is_old(*block, from);
    for block in (block_of(from.max(1)) - BLOCKS_KEPT..=block_of(to.max(1)) - BLOCKS_KEPT).filter(newly_old) {
        for call in keep(id, block) {
            effects.view(call);
        }
    }
}

/// The calls that let an old block live on for a while: its reactions first, as they go last.
pub fn keep(id: ConversationId, block: i64) -> [Call; 2] {
    [keep_reactions(id, block), Call::command_on("EXPIRE", messages_key(id, block)).arg(MESSAGES_LIFETIME_S)]
}

fn keep_reactions(id: ConversationId, block: i64) -> Call {
    Call::command_on("EXPIRE", reactions_key(id, block)).arg(REACTIONS_LIFETIME_S)
}

/// A conversation as its members see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Which.
    pub id: ConversationId,
    /// What stays the same in it.
    pub about: About,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
    /// Whether one of the two blocks the other.
    pub blocked: bool,
    /// The position of the last message.
    pub last_position: i64,
    /// How far each member has read.
    pub reads: BTreeMap<UserId, i64>,
}

impl Conversation {
    /// Whether a user sees it.
    pub fn shows(&self, user: UserId) -> bool {
        !self.blocked && self.about.members().contains(&user)
    }

    /// The other of the two.
    pub fn other_than(&self, user: UserId) -> UserId {
        if self.about.a == user { self.about.b } else { self.about.a }
    }

    /// How far a member has read.
    pub fn read_by(&self, user: UserId) -> i64 {
        self.reads.get(&user).copied().unwrap_or(0)
    }

    /// Messages that a member has not read. Sending moves the sender's mark, so all of them are the other's.
    pub fn unread_by(&self, user: UserId) -> i64 {
        (self.last_position - self.read_by(user)).max(0)
    }
}

/// The call that reads a conversation; [`parse_conversation`] reads its reply.
pub fn get_conversation(id: ConversationId) -> Call {
    Call::command_on("HGETALL", conversation_key(id))
}

/// Reads a conversation; nothing when it was not opened.
pub fn parse_conversation(id: ConversationId, reply: &Reply) -> Result<Option<Conversation>, Error> {
    let key = conversation_key(id);
    let fields = fields(reply);
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| *value);
    let Some(about) = parse::<About>(&key, field(ABOUT))? else { return Ok(None) };
    let mut reads = BTreeMap::new();
    for (name, value) in &fields {
        if let Some(user) = name.strip_prefix(READ).and_then(UserId::parse)
            && let Some(position) = parse(&key, Some(value))?
        {
            reads.insert(user, position);
        }
    }
    Ok(Some(Conversation {
        id,
        about,
        closed_at: parse(&key, field(CLOSED))?,
        blocked: parse(&key, field(BLOCKED))?.unwrap_or(false),
        last_position: parse::<Last>(&key, field(LAST))?.map_or(0, |last| last.position),
        reads,
    }))
}

fn parse<T: serde::de::DeserializeOwned>(key: &str, reply: Option<&Reply>) -> Result<Option<T>, Error> {
    reply.map_or(Ok(None), |reply| view::parse(key, reply).map(Slot::present))
}

/// The fields of a hash, whether the protocol has maps or flat lists.
fn fields(reply: &Reply) -> Vec<(String, &Reply)> {
    let text = |reply: &Reply| match reply {
        Reply::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Reply::SimpleString(text) => Some(text.clone()),
        _ => None,
    };
    match reply {
        Reply::Map(pairs) => pairs.iter().filter_map(|(name, value)| Some((text(name)?, value))).collect(),
        Reply::Array(flat) => {
            flat.as_chunks::<2>().0.iter().filter_map(|[name, value]| Some((text(name)?, value))).collect()
        }
        _ => Vec::new(),
    }
}

/// The calls that read messages of one block: the messages, then their block's reactions.
pub fn get_messages(id: ConversationId, block: i64, positions: &[i64]) -> [Call; 2] {
    let names: Vec<String> = positions.iter().map(i64::to_string).collect();
    [
        Call::command_on("HMGET", messages_key(id, block)).arg(names),
        Call::command_on("HGETALL", reactions_key(id, block)),
    ]
}

/// Reads messages of one block; those that are missing are not warm.
pub fn parse_messages(
    id: ConversationId,
    block: i64,
    positions: &[i64],
    [messages, reactions]: &[Reply; 2],
) -> Result<Vec<Message>, Error> {
    let Reply::Array(messages) = messages else { return Ok(Vec::new()) };
    let key = messages_key(id, block);
    let mut reactions = parse_reactions(&reactions_key(id, block), reactions)?;
    let mut found = Vec::with_capacity(positions.len());
    for (position, reply) in positions.iter().zip(messages) {
        if let Some(mut message) = parse::<Message>(&key, Some(reply))? {
            if !message.deleted {
                message.reactions = reactions.remove(position).unwrap_or_default();
                message.reactions.sort();
            }
            found.push(message);
        }
    }
    Ok(found)
}

fn parse_reactions(key: &str, reply: &Reply) -> Result<HashMap<i64, Vec<Reaction>>, Error> {
    let mut reactions: HashMap<i64, Vec<Reaction>> = HashMap::new();
    for (name, value) in fields(reply) {
        let mut parts = name.splitn(3, ':');
        let position = parts.next().and_then(|text| text.parse().ok());
        let (Some(position), Some(user_id), Some(emoji)) =
            (position, parts.next().and_then(UserId::parse), parts.next())
        else {
            continue;
        };
        if let Some(Emoji { at, removed: false }) = parse(key, Some(value))? {
            let reaction = Reaction { reacted_at: at, emoji: emoji.to_owned(), user_id };
            reactions.entry(position).or_default().push(reaction);
        }
    }
    Ok(reactions)
}
