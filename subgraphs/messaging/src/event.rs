//! Facts of a conversation, what they come to, and what goes out live.
//!
//! Decided events carry complete rows; they are in [`row`](crate::row).

use crate::model::{ConversationId, MatchId, Message};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::{fold::Version, id::UserId};

/// Decided: a conversation was opened. Data: [`ConversationRow`](crate::row::ConversationRow).
pub const CONVERSATION_OPENED: &str = "conversation.opened";
/// Decided: a conversation was closed. Data: [`ConversationRow`](crate::row::ConversationRow).
pub const CONVERSATION_CLOSED: &str = "conversation.closed";
/// Decided: a member has a conversation. Data: [`MemberRow`](crate::row::MemberRow).
pub const CONVERSATION_JOINED: &str = "conversation.joined";
/// Decided: a message was sent. Data: [`MessageRow`](crate::row::MessageRow).
pub const MESSAGE_SENT: &str = "message.sent";
/// Decided: a message was edited. Data: [`MessageRow`](crate::row::MessageRow).
pub const MESSAGE_EDITED: &str = "message.edited";
/// Decided: a message was deleted. Data: [`MessageRow`](crate::row::MessageRow).
pub const MESSAGE_DELETED: &str = "message.deleted";
/// Decided: a message was reacted to. Data: [`ReactionRow`](crate::row::ReactionRow).
pub const MESSAGE_REACTED: &str = "message.reacted";
/// Decided: messages were read. Data: [`ReadRow`](crate::row::ReadRow).
pub const MESSAGE_READ: &str = "message.read";

/// What is appended to the intake, keyed by the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    /// Two users matched.
    Opened {
        /// Their match.
        match_id: MatchId,
        /// The one with the smaller id.
        a: UserId,
        /// The other.
        b: UserId,
        /// When they matched.
        at: DateTime<Utc>,
    },
    /// Their match ended.
    Closed {
        /// Why, as matching says it.
        reason: String,
    },
    /// One of them blocked the other; they need not have matched.
    Blocked {
        /// Who blocks.
        blocker: UserId,
        /// Whom.
        blocked: UserId,
        /// What matching waits for, until messaging has projected the block.
        ack: Uuid,
    },
    /// A message was sent.
    Sent {
        /// Who sent it.
        sender: UserId,
        /// The id that the client gave it.
        client_id: String,
        /// Its text.
        body: String,
    },
    /// A message was edited.
    Edited {
        /// Who edited it.
        by: UserId,
        /// Its new text.
        body: String,
        /// The message as it was.
        claim: Claim,
    },
    /// A message was deleted.
    Deleted {
        /// Who deleted it.
        by: UserId,
        /// The message as it was.
        claim: Claim,
    },
    /// An emoji was put on a message or taken away.
    Reacted {
        /// Whose it is.
        by: UserId,
        /// The emoji.
        emoji: String,
        /// Whether it was taken away.
        remove: bool,
        /// The message as it was.
        claim: Claim,
    },
    /// Messages were read.
    Read {
        /// Who read them.
        by: UserId,
        /// Everything up to here.
        position: i64,
    },
}

impl Fact {
    /// The type of the event that carries it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "messaging.fact.opened",
            Self::Closed { .. } => "messaging.fact.closed",
            Self::Blocked { .. } => "messaging.fact.blocked",
            Self::Sent { .. } => "messaging.fact.sent",
            Self::Edited { .. } => "messaging.fact.edited",
            Self::Deleted { .. } => "messaging.fact.deleted",
            Self::Reacted { .. } => "messaging.fact.reacted",
            Self::Read { .. } => "messaging.fact.read",
        }
    }
}

/// A message as the API has read it, so that states need not remember messages.
///
/// The fold takes it for true when it knows of no change after `seen`; otherwise it answers
/// [`ChangeOutcome::Stale`], and the API reads again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The message contains every change up to here.
    pub seen: Version,
    /// The message.
    pub message: Message,
}

/// What a sent message came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SendOutcome {
    /// It has its place.
    Sent {
        /// Its position.
        position: i64,
        /// When; another time than the request's says that an earlier request was this one.
        sent_at: DateTime<Utc>,
    },
    /// It had its place before.
    Repeated {
        /// Its position.
        position: i64,
    },
    /// The conversation takes no messages any more.
    Closed,
    /// The sender is no member, or one of the two blocks the other.
    NotFound,
}

/// What an edit, a deletion or a reaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// It is so now.
    Changed,
    /// Nothing there that this user may change.
    NotFound,
    /// The message has as many different emoji as it may have.
    Full,
    /// The message has changed meanwhile: read it again.
    Stale,
}

/// What reading came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReadOutcome {
    /// The mark that stands.
    Marked {
        /// Everything up to here is read.
        position: i64,
    },
    /// The reader is no member, or one of the two blocks the other.
    NotFound,
}

/// What goes to the members' inboxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LiveEvent {
    /// A message was sent.
    Sent {
        /// Where.
        conversation_id: ConversationId,
        /// The message.
        message: Message,
    },
    /// A message was edited.
    Edited {
        /// Where.
        conversation_id: ConversationId,
        /// The message as it is now.
        message: Message,
    },
    /// A message was deleted.
    Deleted {
        /// Where.
        conversation_id: ConversationId,
        /// Its position.
        position: i64,
    },
    /// A message was reacted to.
    Reacted {
        /// Where.
        conversation_id: ConversationId,
        /// The message as it is now.
        message: Message,
    },
    /// Messages were read.
    Read {
        /// Where.
        conversation_id: ConversationId,
        /// Who read them.
        user_id: UserId,
        /// Everything up to here.
        position: i64,
    },
}
