//! Rows as decided events carry them, the writer stores them and a rebuild reads them back.

use crate::model::{ConversationId, MatchId, Message, MessageId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::id::UserId;

/// Whether a conversation takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does.
    Open,
    /// It was ended by an unmatch or a block.
    Closed,
}

/// A conversation; its owner is itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationRow {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The match that opened it.
    pub match_id: MatchId,
    /// The member with the smaller id.
    pub user_a_id: UserId,
    /// The other member.
    pub user_b_id: UserId,
    /// Whether it takes messages.
    pub status: Status,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
}

/// A conversation among those of a member, who owns the row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// The member.
    pub user_id: UserId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The other member.
    pub other_id: UserId,
    /// When it was opened.
    pub joined_at: DateTime<Utc>,
}

/// A message; its owner is the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The position, from 1.
    pub position: i64,
    /// The id that clients see.
    pub message_id: String,
    /// The fact that sent it.
    pub event_id: Uuid,
    /// The id that its client gave it.
    pub client_id: String,
    /// Who sent it.
    pub sender_id: UserId,
    /// Its text; empty once deleted.
    pub body: String,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it was last edited.
    pub edited_at: Option<DateTime<Utc>>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// One user's emoji on a message; its owner is the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionRow {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The message's position.
    pub position: i64,
    /// Whose it is.
    pub user_id: UserId,
    /// The emoji.
    pub emoji: String,
    /// Whether it was taken away.
    pub removed: bool,
    /// When it was put on or taken away.
    pub reacted_at: DateTime<Utc>,
}

/// How far a member has read; its owner is the conversation.
///
/// Whoever sends has read up to that message. That is not written for each message: a row is made
/// when somebody reads, and when a sender's own last message is [`READ_KEPT_WITHIN`] behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadRow {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The member.
    pub user_id: UserId,
    /// Everything up to here is read.
    pub position: i64,
    /// When.
    pub read_at: DateTime<Utc>,
}

/// A rebuild reads at least this many of the newest messages of each conversation, so a sender's
/// mark within them needs no row of its own.
pub const READ_KEPT_WITHIN: i64 = 200;

/// A block between two users, decided by matching.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRow {
    /// Who blocks.
    pub blocker_id: UserId,
    /// Whom.
    pub blocked_id: UserId,
    /// When.
    pub blocked_at: DateTime<Utc>,
}

/// What the writer reads back for the projector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "table", rename_all = "snake_case")]
pub enum Row {
    /// A conversation.
    Conversation(ConversationRow),
    /// A message.
    Message(MessageRow),
    /// A reaction.
    Reaction(ReactionRow),
    /// A read mark.
    Read(ReadRow),
    /// A block; its version is of matching's log, so nothing is ordered by it.
    Block(BlockRow),
}

impl Row {
    /// The conversation that a row is read back under.
    pub fn entity(&self) -> String {
        match self {
            Self::Conversation(row) => row.conversation_id.to_string(),
            Self::Message(row) => row.conversation_id.to_string(),
            Self::Reaction(row) => row.conversation_id.to_string(),
            Self::Read(row) => row.conversation_id.to_string(),
            Self::Block(row) => row.conversation().to_string(),
        }
    }
}

impl BlockRow {
    /// The conversation of the two, whether there is one or not.
    pub fn conversation(&self) -> ConversationId {
        ConversationId::of_match(MatchId::of_pair(self.blocker_id, self.blocked_id))
    }
}

impl MessageRow {
    /// The row of a message.
    pub fn of(conversation_id: ConversationId, message: &Message) -> Self {
        Self {
            conversation_id,
            position: message.position,
            message_id: MessageId { conversation: conversation_id, position: message.position }.to_string(),
            event_id: message.event_id,
            client_id: message.client_id.clone(),
            sender_id: message.sender_id,
            body: message.body.clone(),
            sent_at: message.sent_at,
            edited_at: message.edited_at,
            deleted: message.deleted,
        }
    }

    /// The message of a row; reactions have rows of their own.
    pub fn into_message(self) -> Message {
        Message {
            position: self.position,
            event_id: self.event_id,
            client_id: self.client_id,
            sender_id: self.sender_id,
            body: self.body,
            sent_at: self.sent_at,
            edited_at: self.edited_at,
            deleted: self.deleted,
            reactions: Vec::new(),
        }
    }
}
