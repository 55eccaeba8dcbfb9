//! What is changed.

use super::{
    Context as Messaging,
    change::{Change, Step},
    message::Message,
    payload::{
        ConversationClosed, ConversationNotFound, DeleteMessageInput, DeleteMessageResult, EditMessageInput,
        EditMessageResult, MarkReadInput, MarkReadResult, MessageDeleted, MessageEdited, MessageNotFound,
        MessageReacted, MessageSent, ReactToMessageInput, ReactToMessageResult, ReadMarked, SendMessageInput,
        SendMessageResult, SetTypingInput, SetTypingResult, TypingSet,
    },
    query::messaging,
};
use crate::{
    event::{Fact, ReadOutcome, SendOutcome},
    model::{ConversationId, MessageId, parse_body, parse_client_id, parse_emoji},
    read, typing,
};
use async_graphql::{Context, ID, Object};
use velvet_kernel::{
    command::request_id,
    fault::Fault,
    graph::Problems,
    id::UserId,
    identity::viewer,
    planted::{Bug, planted},
    store::Call,
    time::fresh_id,
};

/// The mutations of messaging.
pub struct Mutation;

#[Object]
impl Mutation {
    /// Sends a message. The same `clientId` again is the same message, whatever the text.
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message.")] input: SendMessageInput,
    ) -> Result<SendMessageResult, Fault> {
        let viewer = viewer(ctx)?.id;
        let mut problems = Problems::default();
        let client_id = problems.check("clientId", parse_client_id(&input.client_id));
        let body = problems.check("body", parse_body(&input.body));
        let (Some(client_id), Some(body)) = (client_id, body) else {
            return Ok(SendMessageResult::Invalid(problems.into()));
        };
        let Some(id) = ConversationId::parse(&input.conversation_id) else {
            return Ok(SendMessageResult::NotFound(ConversationNotFound::new()));
        };
        messaging(ctx)?.send(viewer, id, client_id, body).await
    }

    /// Edits a message of the viewer's.
    async fn edit_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message and its text.")] input: EditMessageInput,
    ) -> Result<EditMessageResult, Fault> {
        let viewer = viewer(ctx)?.id;
        let mut problems = Problems::default();
        let Some(body) = problems.check("body", parse_body(&input.body)) else {
            return Ok(EditMessageResult::Invalid(problems.into()));
        };
        let change = messaging(ctx)?.change_by_id(viewer, &input.message_id, &Step::Edit(body)).await?;
        Ok(match change {
            Some(message) => EditMessageResult::Edited(MessageEdited { cursor: None, message }),
            None => EditMessageResult::NotFound(MessageNotFound::new()),
        })
    }

    /// Deletes a message of the viewer's. Deleting it again changes nothing.
    async fn delete_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message.")] input: DeleteMessageInput,
    ) -> Result<DeleteMessageResult, Fault> {
        let viewer = viewer(ctx)?.id;
        let change = messaging(ctx)?.change_by_id(viewer, &input.message_id, &Step::Delete).await?;
        Ok(match change {
            Some(Message { id: message_id, conversation_id, .. }) => {
                DeleteMessageResult::Deleted(MessageDeleted { cursor: None, conversation_id, message_id })
            }
            None => DeleteMessageResult::NotFound(MessageNotFound::new()),
        })
    }

    /// Puts an emoji of the viewer's on a message, or takes it away. Doing so again changes nothing.
    async fn react_to_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message and the emoji.")] input: ReactToMessageInput,
    ) -> Result<ReactToMessageResult, Fault> {
        let viewer = viewer(ctx)?.id;
        let mut problems = Problems::default();
        let Some(emoji) = problems.check("emoji", parse_emoji(&input.emoji)) else {
            return Ok(ReactToMessageResult::Invalid(problems.into()));
        };
        let Some(id) = MessageId::parse(&input.message_id) else {
            return Ok(ReactToMessageResult::NotFound(MessageNotFound::new()));
        };
        let step = Step::React { emoji, remove: input.remove.unwrap_or(false) };
        Ok(match messaging(ctx)?.change(viewer, id, &step).await? {
            Change::Changed(message) => {
                let message = Message::of(id.conversation, &message);
                ReactToMessageResult::Reacted(MessageReacted { cursor: None, message })
            }
            Change::NotFound => ReactToMessageResult::NotFound(MessageNotFound::new()),
            Change::Full => {
                problems.add("emoji", "the message has 20 different emoji already");
                ReactToMessageResult::Invalid(problems.into())
            }
        })
    }

    /// Marks everything up to a position as read. The mark never moves back; the answer has the one
    /// that stands.
    async fn mark_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversation and the position.")] input: MarkReadInput,
    ) -> Result<MarkReadResult, Fault> {
        let viewer = viewer(ctx)?.id;
        let not_found = MarkReadResult::NotFound(ConversationNotFound::new());
        let Some(id) = ConversationId::parse(&input.conversation_id) else { return Ok(not_found) };
        let Some(position) = messaging(ctx)?.mark(viewer, id, input.position).await? else { return Ok(not_found) };
        let (conversation_id, user_id) = (id.global(), viewer.global());
        Ok(MarkReadResult::Marked(ReadMarked { cursor: None, conversation_id, user_id, position }))
    }

    /// Tells the other one whether the viewer is typing. It is not kept.
    async fn set_typing(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversation, and whether.")] input: SetTypingInput,
    ) -> Result<SetTypingResult, Fault> {
        let viewer = viewer(ctx)?.id;
        let serve = &messaging(ctx)?.serve;
        let conversation = match ConversationId::parse(&input.conversation_id) {
            Some(id) => read::conversation_of(serve, viewer, id).await?,
            None => None,
        };
        let Some(conversation) = conversation.filter(|conversation| conversation.closed_at.is_none()) else {
            return Ok(SetTypingResult::NotFound(ConversationNotFound::new()));
        };
        let announcement = typing::Mark { user: viewer, typing: input.typing }.to_string();
        let channel = typing::channel(conversation.id);
        serve.store.run(&[Call::command_on("SPUBLISH", channel).arg(announcement)]).await?;
        Ok(SetTypingResult::Set(TypingSet { ok: true }))
    }
}

impl Messaging {
    async fn send(
        &self,
        viewer: UserId,
        id: ConversationId,
        client_id: String,
        body: String,
    ) -> Result<SendMessageResult, Fault> {
        // Only whether it is the viewer's is checked here; all else the fold knows, and it knows repeats.
        let Some(conversation) = read::conversation_of(&self.serve, viewer, id).await? else {
            return Ok(SendMessageResult::NotFound(ConversationNotFound::new()));
        };
        let at = self.now();
        let event_id = request_id(&format!("{viewer}:{id}"), "sendMessage", Some(&client_id), fresh_id());
        let fact = Fact::Sent { sender: viewer, client_id: client_id.clone(), body: body.clone() };
        let outcome = match self.submit(event_id, id.to_string(), at, &fact).await {
            Err(_) if planted(Bug::AcknowledgeBeforeAppend) => {
                SendOutcome::Sent { position: conversation.last_position + 1, sent_at: at }
            }
            outcome => outcome?,
        };
        let position = match outcome {
            SendOutcome::Sent { position, sent_at } if sent_at == at => {
                let message = crate::model::Message::new(position, event_id, client_id, viewer, body, at);
                return Ok(sent(id, &message));
            }
            SendOutcome::Sent { position, .. } | SendOutcome::Repeated { position } => position,
            SendOutcome::Closed => return Ok(SendMessageResult::Closed(ConversationClosed::new())),
            SendOutcome::NotFound => return Ok(SendMessageResult::NotFound(ConversationNotFound::new())),
        };
        let first = MessageId { conversation: id, position };
        let message = read::messages(&self.serve, &[first]).await?.remove(&first);
        message.map(|message| sent(id, &message)).ok_or_else(Fault::unavailable)
    }

    async fn change_by_id(&self, viewer: UserId, id: &ID, step: &Step) -> Result<Option<Message>, Fault> {
        let Some(id) = MessageId::parse(id) else { return Ok(None) };
        Ok(match self.change(viewer, id, step).await? {
            Change::Changed(message) => Some(Message::of(id.conversation, &message)),
            Change::NotFound | Change::Full => None,
        })
    }

    /// The mark that stands after reading up to `position`; nothing when there is no such conversation.
    async fn mark(&self, viewer: UserId, id: ConversationId, position: i64) -> Result<Option<i64>, Fault> {
        let Some(conversation) = read::conversation_of(&self.serve, viewer, id).await? else { return Ok(None) };
        let stands = conversation.read_by(viewer);
        if position <= stands {
            return Ok(Some(stands));
        }
        let fact = Fact::Read { by: viewer, position };
        Ok(match self.submit(fresh_id(), id.to_string(), self.now(), &fact).await? {
            ReadOutcome::Marked { position } => Some(position),
            ReadOutcome::NotFound => None,
        })
    }
}

fn sent(id: ConversationId, message: &crate::model::Message) -> SendMessageResult {
    SendMessageResult::Sent(MessageSent { cursor: None, message: Message::of(id, message) })
}
