//! Reading views for the API: many at a time, and warming what is cold.

use crate::{
    NAME,
    event::Claim,
    model::{ConversationId, Message, MessageId},
    view::{self, Conversation},
};
use futures::future::try_join_all;
use std::collections::{BTreeMap, HashMap};
use velvet_kernel::{
    api::Serve,
    fault::Fault,
    id::UserId,
    project::{position, position_call},
    store::{Call, Reply, view::Entry},
};

/// Reads conversations in one round trip. What is missing was never opened, or Redis is not whole.
pub async fn conversations(
    serve: &Serve,
    ids: &[ConversationId],
) -> Result<HashMap<ConversationId, Conversation>, Fault> {
    let calls: Vec<Call> = ids.iter().map(|id| view::get_conversation(*id)).collect();
    let replies = serve.store.run(&calls).await?;
    let mut found = HashMap::with_capacity(ids.len());
    for (id, reply) in ids.iter().zip(&replies) {
        if let Some(conversation) = view::parse_conversation(*id, reply)? {
            found.insert(*id, conversation);
        }
    }
    if found.len() < ids.len() {
        serve.absent().await?;
    }
    Ok(found)
}

/// Reads a conversation that a user sees; absent, foreign and blocked look the same.
pub async fn conversation_of(serve: &Serve, user: UserId, id: ConversationId) -> Result<Option<Conversation>, Fault> {
    let found = conversations(serve, &[id]).await?.remove(&id);
    Ok(found.filter(|conversation| conversation.shows(user)))
}

/// Reads up to `count` conversations of a user, the one with the newest message first.
pub async fn list(
    serve: &Serve,
    user: UserId,
    after: Option<(i64, &str)>,
    count: usize,
) -> Result<Vec<Entry<bool>>, Fault> {
    let page = serve.store.page(&view::list_key(user), after, count).await?;
    if page.is_empty() {
        serve.absent().await?;
    }
    Ok(page)
}

/// Reads messages that exist, in one round trip when they are warm; cold blocks are warmed first.
pub async fn messages(serve: &Serve, ids: &[MessageId]) -> Result<HashMap<MessageId, Message>, Fault> {
    let mut found = warm_messages(serve, ids).await?;
    let cold: Vec<MessageId> = ids.iter().filter(|id| !found.contains_key(*id)).copied().collect();
    if cold.is_empty() {
        return Ok(found);
    }
    serve.absent().await?;
    try_join_all(by_block(&cold).keys().map(|(id, block)| async move {
        let scope = format!("block:{block}");
        serve.warm(NAME, &id.to_string(), &scope).await
    }))
    .await?;
    found.extend(warm_messages(serve, &cold).await?);
    if cold.iter().all(|id| found.contains_key(id)) {
        return Ok(found);
    }
    tracing::warn!("messaging.warmed_in_vain");
    Err(Fault::unavailable().retry_after(1))
}

/// Positions by the block that they stand in.
fn by_block(ids: &[MessageId]) -> BTreeMap<(ConversationId, i64), Vec<i64>> {
    let mut blocks: BTreeMap<(ConversationId, i64), Vec<i64>> = BTreeMap::new();
    for id in ids {
        blocks.entry((id.conversation, view::block_of(id.position))).or_default().push(id.position);
    }
    blocks
}

async fn warm_messages(serve: &Serve, ids: &[MessageId]) -> Result<HashMap<MessageId, Message>, Fault> {
    let blocks = by_block(ids);
    let calls: Vec<Call> =
        blocks.iter().flat_map(|((id, block), positions)| view::get_messages(*id, *block, positions)).collect();
    let replies = serve.store.run(&calls).await?;
    let mut found = HashMap::with_capacity(ids.len());
    for (((conversation, block), positions), replies) in blocks.iter().zip(replies.as_chunks::<2>().0) {
        for message in view::parse_messages(*conversation, *block, positions, replies)? {
            found.insert(MessageId { conversation: *conversation, position: message.position }, message);
        }
    }
    Ok(found)
}

/// Reads a message that a user may change, and what the reading vouches for; nothing when there is
/// no such message for the user.
///
/// One round trip, and one more for a message of an old block, which must not expire before the
/// change is folded.
pub async fn claim(serve: &Serve, user: UserId, id: MessageId) -> Result<Option<Claim>, Fault> {
    let (conversation, claim) = read_claim(serve, id, &[]).await?;
    let Some(conversation) = conversation else {
        serve.absent().await?;
        return Ok(None);
    };
    let changeable = conversation.shows(user) && conversation.closed_at.is_none();
    if !changeable || id.position > conversation.last_position {
        return Ok(None);
    }
    let block = view::block_of(id.position);
    let old = view::is_old(block, conversation.last_position);
    if let Some(claim) = claim
        && !old
    {
        return Ok(Some(claim));
    }
    messages(serve, &[id]).await?;
    let keep: &[Call] = if old { &view::keep(id.conversation, block) } else { &[] };
    let (_, claim) = read_claim(serve, id, keep).await?;
    claim.map(Some).ok_or_else(|| Fault::unavailable().retry_after(1))
}

/// Reads how far the conversation is folded before it reads the message, so that the message
/// contains every change up to there.
async fn read_claim(
    serve: &Serve,
    id: MessageId,
    first: &[Call],
) -> Result<(Option<Conversation>, Option<Claim>), Fault> {
    let block = view::block_of(id.position);
    let mut calls = first.to_vec();
    calls.push(position_call(NAME, &id.conversation.to_string()));
    calls.push(view::get_conversation(id.conversation));
    calls.extend(view::get_messages(id.conversation, block, &[id.position]));
    let replies = serve.store.run(&calls).await?;
    let Some([at, conversation, messages, reactions]) = replies.last_chunk::<4>() else {
        return Ok((None, None));
    };
    let seen = position(at)?;
    let conversation = view::parse_conversation(id.conversation, conversation)?;
    let replies: [Reply; 2] = [messages.clone(), reactions.clone()];
    let message = view::parse_messages(id.conversation, block, &[id.position], &replies)?.pop();
    Ok((conversation, message.map(|message| Claim { seen, message })))
}
