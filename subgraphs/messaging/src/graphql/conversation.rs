//! A conversation as one of its members sees it, and pages of messages and conversations.

use super::{
    loader::Loaders,
    message::{Message, User},
};
use crate::{
    model::MessageId,
    page::{Arguments, Span, seal_position},
    view,
};
use async_graphql::{ComplexObject, Context, ID, SimpleObject};
use futures::future::try_join_all;
use std::sync::Arc;
use velvet_kernel::{fault::Fault, graph::PageInfo, id::UserId};

/// A conversation of the viewer with one other user, opened by their match.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Conversation {
    /// Its id; it follows from the match.
    id: ID,
    /// The other one.
    with: User,
    /// Whether messages can be sent: not after an unmatch.
    open: bool,
    /// Messages of the other that the viewer has not read.
    unread_count: i64,
    /// The position up to which the other side has read.
    read_by_other: i64,
    #[graphql(skip)]
    view: Arc<view::Conversation>,
}

impl Conversation {
    /// The conversation as `viewer`, a member, sees it.
    pub fn of(view: Arc<view::Conversation>, viewer: UserId) -> Self {
        let other = view.other_than(viewer);
        Self {
            id: view.id.global(),
            with: User::of(other),
            open: view.closed_at.is_none(),
            unread_count: view.unread_by(viewer),
            read_by_other: view.read_by(other),
            view,
        }
    }

    async fn load(&self, ctx: &Context<'_>, position: i64) -> Result<Message, Fault> {
        let id = MessageId { conversation: self.view.id, position };
        let loaders = ctx.data_opt::<Loaders>().ok_or_else(Fault::internal)?;
        let message = loaders.message(id).await?.ok_or_else(Fault::unavailable)?;
        Ok(Message::of(self.view.id, &message))
    }
}

#[ComplexObject]
impl Conversation {
    /// Its messages by position, upwards. The last 20 when no argument is given.
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "This many, 1 to 100, from the start or after `after`.")] first: Option<i32>,
        #[graphql(desc = "The cursor to go on after.")] after: Option<String>,
        #[graphql(desc = "This many, 1 to 100, up to the end or to `before`.")] last: Option<i32>,
        #[graphql(desc = "The cursor to end before.")] before: Option<String>,
    ) -> Result<MessageConnection, Fault> {
        let span = Span::of(&Arguments { first, after, last, before }, self.view.last_position)?;
        let nodes = try_join_all(span.positions().map(|position| self.load(ctx, position))).await?;
        Ok(MessageConnection::new(nodes, span.page_info()))
    }

    /// The newest message; null when there is none yet.
    async fn last_message(&self, ctx: &Context<'_>) -> Result<Option<Message>, Fault> {
        match self.view.last_position {
            0 => Ok(None),
            position => self.load(ctx, position).await.map(Some),
        }
    }
}

/// A page of messages.
#[derive(Debug, SimpleObject)]
pub struct MessageConnection {
    /// The messages with their cursors.
    edges: Vec<MessageEdge>,
    /// The messages alone.
    nodes: Vec<Message>,
    /// Where the page lies.
    page_info: PageInfo,
}

/// A message on a page.
#[derive(Debug, SimpleObject)]
pub struct MessageEdge {
    /// Its place, for `after` and `before`.
    cursor: String,
    /// The message.
    node: Message,
}

impl MessageConnection {
    fn new(nodes: Vec<Message>, page_info: PageInfo) -> Self {
        let edge = |node: &Message| MessageEdge { cursor: seal_position(node.position), node: node.clone() };
        Self { edges: nodes.iter().map(edge).collect(), nodes, page_info }
    }
}

/// A page of conversations.
#[derive(Debug, SimpleObject)]
pub struct ConversationConnection {
    /// The conversations with their cursors.
    edges: Vec<ConversationEdge>,
    /// The conversations alone.
    nodes: Vec<Conversation>,
    /// Where the page lies.
    page_info: PageInfo,
}

/// A conversation on a page.
#[derive(Debug, SimpleObject)]
pub struct ConversationEdge {
    /// Its place, for `after`.
    cursor: String,
    /// The conversation.
    node: Conversation,
}

impl ConversationConnection {
    /// A page of these conversations, each with its cursor.
    pub fn new(page: Vec<(String, Conversation)>, page_info: PageInfo) -> Self {
        let nodes = page.iter().map(|(_, node)| node.clone()).collect();
        Self {
            edges: page.into_iter().map(|(cursor, node)| ConversationEdge { cursor, node }).collect(),
            nodes,
            page_info,
        }
    }
}
