//! What is read.

use super::{
    Context as Messaging,
    conversation::{Conversation, ConversationConnection},
    loader::Loaders,
    message::Message,
};
use crate::{
    model::{ConversationId, MessageId},
    page::{PAGE_SIZE, open_place, seal_place},
    read,
};
use async_graphql::{Context, ID, Object};
use std::sync::Arc;
use velvet_kernel::{
    fault::Fault,
    graph::{PageInfo, page_size},
    identity::viewer,
};

/// The queries of messaging.
pub struct Query;

/// What resolvers work with.
pub(super) fn messaging<'a>(ctx: &Context<'a>) -> Result<&'a Messaging, Fault> {
    ctx.data_opt::<Messaging>().ok_or_else(Fault::internal)
}

fn loaders<'a>(ctx: &Context<'a>) -> Result<&'a Loaders, Fault> {
    ctx.data_opt::<Loaders>().ok_or_else(Fault::internal)
}

#[Object]
impl Query {
    /// The viewer's open conversations, the one with the newest message first.
    async fn conversations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: Option<i32>,
        #[graphql(desc = "The cursor to go on after.")] after: Option<String>,
    ) -> Result<ConversationConnection, Fault> {
        let viewer = viewer(ctx)?.id;
        let serve = &messaging(ctx)?.serve;
        let size = page_size(first, PAGE_SIZE)?;
        let place = after.as_deref().map(open_place).transpose()?;
        let place = place.as_ref().map(|(score, id)| (*score, id.as_str()));
        let mut entries = read::list(serve, viewer, place, size + 1).await?;
        let has_next_page = entries.len() > size;
        entries.truncate(size);
        let ids: Vec<ConversationId> = entries.iter().filter_map(|entry| ConversationId::parse(&entry.id)).collect();
        let mut found = read::conversations(serve, &ids).await?;
        let cursors: Vec<String> = entries.iter().map(|entry| seal_place(entry.score, &entry.id)).collect();
        let page_info = PageInfo {
            has_next_page,
            has_previous_page: after.is_some(),
            start_cursor: cursors.first().cloned(),
            end_cursor: cursors.last().cloned(),
        };
        let page = cursors.into_iter().zip(ids).filter_map(|(cursor, id)| {
            let view = found.remove(&id).filter(|view| view.shows(viewer))?;
            Some((cursor, Conversation::of(Arc::new(view), viewer)))
        });
        Ok(ConversationConnection::new(page.collect(), page_info))
    }

    /// A conversation of the viewer; null when absent, another's or blocked. One that was ended by
    /// an unmatch can still be read.
    async fn conversation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversation's id.")] id: ID,
    ) -> Result<Option<Conversation>, Fault> {
        let viewer = viewer(ctx)?.id;
        let Some(id) = ConversationId::parse(&id) else { return Ok(None) };
        let view = loaders(ctx)?.conversation(viewer, id).await?;
        Ok(view.map(|view| Conversation::of(view, viewer)))
    }

    /// A conversation by its key, for the router.
    #[graphql(entity)]
    async fn find_conversation_by_id(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Conversation>, Fault> {
        let Ok(viewer) = viewer(ctx) else { return Ok(None) };
        let Some(id) = ConversationId::parse(&id) else { return Ok(None) };
        let view = loaders(ctx)?.conversation(viewer.id, id).await?;
        Ok(view.map(|view| Conversation::of(view, viewer.id)))
    }

    /// A message by its key, for the router.
    #[graphql(entity)]
    async fn find_message_by_id(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Message>, Fault> {
        let Ok(viewer) = viewer(ctx) else { return Ok(None) };
        let Some(id) = MessageId::parse(&id) else { return Ok(None) };
        let loaders = loaders(ctx)?;
        let view = loaders.conversation(viewer.id, id.conversation).await?;
        if view.is_none_or(|view| id.position > view.last_position) {
            return Ok(None);
        }
        let message = loaders.message(id).await?;
        Ok(message.map(|message| Message::of(id.conversation, &message)))
    }
}
