//! What one request loads, in batches.

use crate::{
    model::{ConversationId, Message, MessageId},
    read,
    view::Conversation,
};
use dataloader::{BatchFn, non_cached::Loader};
use std::{collections::HashMap, sync::Arc};
use velvet_kernel::{api::Serve, fault::Fault, id::UserId};

/// Keys that are read in one round trip; a page of 100 conversations with their last messages is one.
const BATCH_MAX: usize = 1_000;

type Loaded<T> = Result<Option<Arc<T>>, Fault>;

/// The loaders of one request. They gather what is asked for at the same time and keep nothing, as
/// a mutation later in the request must see what an earlier one did.
pub struct Loaders {
    conversations: Loader<ConversationId, Loaded<Conversation>, Conversations>,
    messages: Loader<MessageId, Loaded<Message>, Messages>,
}

impl Loaders {
    /// Loaders over these views.
    pub fn new(serve: &Serve) -> Self {
        Self {
            conversations: Loader::new(Conversations(serve.clone())).with_max_batch_size(BATCH_MAX),
            messages: Loader::new(Messages(serve.clone())).with_max_batch_size(BATCH_MAX),
        }
    }

    /// A conversation that a user sees.
    pub async fn conversation(&self, user: UserId, id: ConversationId) -> Loaded<Conversation> {
        let found = self.conversations.try_load(id).await.unwrap_or_else(|_| Err(Fault::internal()))?;
        Ok(found.filter(|conversation| conversation.shows(user)))
    }

    /// A message that exists.
    pub async fn message(&self, id: MessageId) -> Loaded<Message> {
        self.messages.try_load(id).await.unwrap_or_else(|_| Err(Fault::internal()))
    }
}

struct Conversations(Serve);

impl BatchFn<ConversationId, Loaded<Conversation>> for Conversations {
    async fn load(&mut self, keys: &[ConversationId]) -> HashMap<ConversationId, Loaded<Conversation>> {
        spread(keys, read::conversations(&self.0, keys).await)
    }
}

struct Messages(Serve);

impl BatchFn<MessageId, Loaded<Message>> for Messages {
    async fn load(&mut self, keys: &[MessageId]) -> HashMap<MessageId, Loaded<Message>> {
        spread(keys, read::messages(&self.0, keys).await)
    }
}

/// Gives each key what was found for it, or the fault that all of them met.
fn spread<K: Copy + Eq + std::hash::Hash, T>(keys: &[K], found: Result<HashMap<K, T>, Fault>) -> HashMap<K, Loaded<T>> {
    match found {
        Ok(mut found) => keys.iter().map(|key| (*key, Ok(found.remove(key).map(Arc::new)))).collect(),
        Err(fault) => keys.iter().map(|key| (*key, Err(fault.clone()))).collect(),
    }
}
