//! A message and its reactions.

use crate::model::{self, ConversationId, MessageId};
use async_graphql::{ID, SimpleObject};
use chrono::{DateTime, Utc};
use velvet_kernel::{graph::annotations::list_size, id::UserId};

/// Emoji on a message, as its cost is estimated: there may be 20 different ones, and few messages have more than some.
const REACTIONS_ASSUMED: i32 = 5;

/// A user; accounts knows the rest.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(unresolvable = "id")]
pub struct User {
    /// Their id.
    pub id: ID,
}

impl User {
    /// The user by this id.
    pub fn of(id: UserId) -> Self {
        Self { id: id.global() }
    }
}

/// A message of a conversation.
#[derive(Debug, Clone, SimpleObject)]
pub struct Message {
    /// Its id.
    pub id: ID,
    /// The conversation that it belongs to.
    pub conversation_id: ID,
    /// Rises by one within a conversation; clients order by it.
    pub position: i64,
    /// Who sent it.
    pub sender: User,
    /// Its text; empty once deleted.
    pub body: String,
    /// What was put on it, the earliest emoji first.
    #[graphql(directive = list_size::apply(Some(REACTIONS_ASSUMED), None, None, None))]
    pub reactions: Vec<Reaction>,
    /// When it was sent.
    pub sent_at: DateTime<Utc>,
    /// When it was last edited; null once deleted.
    pub edited_at: Option<DateTime<Utc>>,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// One emoji on a message.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct Reaction {
    /// The emoji.
    pub emoji: String,
    /// Whose it is, the earliest first.
    pub user_ids: Vec<ID>,
}

impl Message {
    /// A message of a conversation.
    pub fn of(conversation: ConversationId, message: &model::Message) -> Self {
        let id = MessageId { conversation, position: message.position };
        Self {
            id: ID(id.to_string()),
            conversation_id: conversation.global(),
            position: message.position,
            sender: User::of(message.sender_id),
            body: message.body.clone(),
            reactions: by_emoji(&message.reactions),
            sent_at: message.sent_at,
            edited_at: message.edited_at,
            deleted: message.deleted,
        }
    }
}

fn by_emoji(reactions: &[model::Reaction]) -> Vec<Reaction> {
    let mut grouped: Vec<Reaction> = Vec::new();
    for reaction in reactions {
        let user = reaction.user_id.global();
        match grouped.iter_mut().find(|group| group.emoji == reaction.emoji) {
            Some(group) => group.user_ids.push(user),
            None => grouped.push(Reaction { emoji: reaction.emoji.clone(), user_ids: vec![user] }),
        }
    }
    grouped
}
