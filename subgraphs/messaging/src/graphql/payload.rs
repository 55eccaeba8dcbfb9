//! Inputs of mutations and what they come to. Most of it goes out live as well, with a cursor.

use super::message::Message;
use async_graphql::{ID, InputObject, SimpleObject, Union};
use velvet_kernel::graph::{Cursor, InputInvalid};

/// A message to send.
#[derive(InputObject)]
pub struct SendMessageInput {
    /// The conversation.
    pub conversation_id: ID,
    /// Chosen by the client, 1 to 128 characters; the same one again is the same message.
    pub client_id: String,
    /// The text, 1 to 2,000 characters after trimming.
    pub body: String,
}

/// What came of sending.
#[derive(Union)]
pub enum SendMessageResult {
    /// It was sent, now or by an earlier request with the same client id.
    Sent(MessageSent),
    /// No such conversation for the viewer.
    NotFound(ConversationNotFound),
    /// It was ended by an unmatch.
    Closed(ConversationClosed),
    /// The input is out of bounds.
    Invalid(InputInvalid),
}

/// A message was sent.
#[derive(SimpleObject)]
pub struct MessageSent {
    /// Where the stream stands after it; null in the payload of a mutation.
    pub cursor: Option<Cursor>,
    /// The message.
    pub message: Message,
}

/// No such conversation for the viewer: absent, another's and blocked look the same.
#[derive(SimpleObject)]
pub struct ConversationNotFound {
    /// One sentence for the developer.
    pub reason: String,
}

impl ConversationNotFound {
    pub fn new() -> Self {
        Self { reason: "there is no such conversation".to_owned() }
    }
}

/// The conversation takes no messages any more.
#[derive(SimpleObject)]
pub struct ConversationClosed {
    /// One sentence for the developer.
    pub reason: String,
}

impl ConversationClosed {
    pub fn new() -> Self {
        Self { reason: "the match has ended, and the conversation with it".to_owned() }
    }
}

/// Another text for a message.
#[derive(InputObject)]
pub struct EditMessageInput {
    /// The message.
    pub message_id: ID,
    /// The text, 1 to 2,000 characters after trimming.
    pub body: String,
}

/// What came of editing.
#[derive(Union)]
pub enum EditMessageResult {
    /// It was edited.
    Edited(MessageEdited),
    /// No message that the viewer may edit.
    NotFound(MessageNotFound),
    /// The input is out of bounds.
    Invalid(InputInvalid),
}

/// A message was edited.
#[derive(SimpleObject)]
pub struct MessageEdited {
    /// Where the stream stands after it; null in the payload of a mutation.
    pub cursor: Option<Cursor>,
    /// The message as it is now.
    pub message: Message,
}

/// No message that the viewer may change so: absent, deleted, another's, or in a conversation that
/// was closed.
#[derive(SimpleObject)]
pub struct MessageNotFound {
    /// One sentence for the developer.
    pub reason: String,
}

impl MessageNotFound {
    pub fn new() -> Self {
        Self { reason: "there is no such message to be changed".to_owned() }
    }
}

/// A message to delete.
#[derive(InputObject)]
pub struct DeleteMessageInput {
    /// The message.
    pub message_id: ID,
}

/// What came of deleting.
#[derive(Union)]
pub enum DeleteMessageResult {
    /// It is deleted.
    Deleted(MessageDeleted),
    /// No message that the viewer may delete.
    NotFound(MessageNotFound),
}

/// A message was deleted: its place stays, its text is gone.
#[derive(SimpleObject)]
pub struct MessageDeleted {
    /// Where the stream stands after it; null in the payload of a mutation.
    pub cursor: Option<Cursor>,
    /// The conversation.
    pub conversation_id: ID,
    /// The message.
    pub message_id: ID,
}

/// An emoji to put on a message, or to take away.
#[derive(InputObject)]
pub struct ReactToMessageInput {
    /// The message.
    pub message_id: ID,
    /// One emoji; a message has at most 20 different ones.
    pub emoji: String,
    /// Whether to take it away.
    #[graphql(default_with = "Some(false)")]
    pub remove: Option<bool>,
}

/// What came of reacting.
#[derive(Union)]
pub enum ReactToMessageResult {
    /// The message is as asked.
    Reacted(MessageReacted),
    /// No message that the viewer may react to.
    NotFound(MessageNotFound),
    /// The input is out of bounds.
    Invalid(InputInvalid),
}

/// A message was reacted to.
#[derive(SimpleObject)]
pub struct MessageReacted {
    /// Where the stream stands after it; null in the payload of a mutation.
    pub cursor: Option<Cursor>,
    /// The message as it is now.
    pub message: Message,
}

/// Everything up to `position` is read; it never moves back.
#[derive(InputObject)]
pub struct MarkReadInput {
    /// The conversation.
    pub conversation_id: ID,
    /// Everything up to here is read; beyond the last message means all.
    pub position: i64,
}

/// What came of marking.
#[derive(Union)]
pub enum MarkReadResult {
    /// The mark that stands.
    Marked(ReadMarked),
    /// No such conversation for the viewer.
    NotFound(ConversationNotFound),
}

/// Messages were read.
#[derive(SimpleObject)]
pub struct ReadMarked {
    /// Where the stream stands after it; null in the payload of a mutation.
    pub cursor: Option<Cursor>,
    /// The conversation.
    pub conversation_id: ID,
    /// Who has read.
    pub user_id: ID,
    /// Everything up to here is read.
    pub position: i64,
}

/// Whether the viewer is typing.
#[derive(InputObject)]
pub struct SetTypingInput {
    /// The conversation.
    pub conversation_id: ID,
    /// Whether; true lasts six seconds and is to be repeated while it is so.
    pub typing: bool,
}

/// What came of saying so.
#[derive(Union)]
pub enum SetTypingResult {
    /// The other one was told, if connected.
    Set(TypingSet),
    /// No open conversation of the viewer's.
    NotFound(ConversationNotFound),
}

/// The other one was told, if connected.
#[derive(SimpleObject)]
pub struct TypingSet {
    /// Always true.
    pub ok: bool,
}
