//! What goes out live.

use super::{
    Context as Messaging,
    message::{Message, User},
    payload::{MessageDeleted, MessageEdited, MessageReacted, MessageSent, ReadMarked},
    query::messaging,
};
use crate::{
    NAME,
    event::LiveEvent,
    model::{ConversationId, MessageId},
    read,
    typing::{self, Heard, Typist},
};
use async_graphql::{Context, ID, SimpleObject, Subscription as GraphQlSubscription, Union};
use futures::{FutureExt as _, Stream, StreamExt as _, future, stream};
use std::time::Duration;
use tokio::time::Instant;
use velvet_kernel::{
    api::Serve,
    fault::{Code, Fault},
    graph::{Cursor, StreamReset},
    id::UserId,
    identity::{Viewer, viewer},
    live::{Item, Resume, StreamCursor},
    store::{Listener, Signal},
};

/// The subscriptions of messaging.
pub struct Subscription;

/// What happens in the viewer's conversations.
#[derive(Union)]
pub enum MessageEvent {
    /// A message was sent.
    Sent(MessageSent),
    /// A message was edited.
    Edited(MessageEdited),
    /// A message was deleted.
    Deleted(MessageDeleted),
    /// A message was reacted to.
    Reacted(MessageReacted),
    /// Messages were read.
    Read(ReadMarked),
    /// The stream starts anew.
    Reset(StreamReset),
}

impl MessageEvent {
    /// The event of a step of the stream.
    pub fn of(item: Item<LiveEvent>) -> Self {
        let (cursor, event) = match item {
            Item::Event { cursor, event } => (Some(cursor), event),
            Item::Reset { cursor, reason } => {
                return Self::Reset(StreamReset { cursor: Some(cursor), reason: reason.to_owned() });
            }
        };
        match event {
            LiveEvent::Sent { conversation_id, message } => {
                Self::Sent(MessageSent { cursor, message: Message::of(conversation_id, &message) })
            }
            LiveEvent::Edited { conversation_id, message } => {
                Self::Edited(MessageEdited { cursor, message: Message::of(conversation_id, &message) })
            }
            LiveEvent::Reacted { conversation_id, message } => {
                Self::Reacted(MessageReacted { cursor, message: Message::of(conversation_id, &message) })
            }
            LiveEvent::Deleted { conversation_id, position } => {
                let message_id = ID(MessageId { conversation: conversation_id, position }.to_string());
                Self::Deleted(MessageDeleted { cursor, conversation_id: conversation_id.global(), message_id })
            }
            LiveEvent::Read { conversation_id, user_id, position } => Self::Read(ReadMarked {
                cursor,
                conversation_id: conversation_id.global(),
                user_id: user_id.global(),
                position,
            }),
        }
    }
}

/// Whether somebody is typing.
#[derive(Debug, SimpleObject)]
#[expect(clippy::struct_field_names, reason = "the public graph names the field so")]
pub struct Typing {
    /// The conversation.
    conversation_id: ID,
    /// Who.
    user: User,
    /// Whether; true is followed by false, at the latest after six seconds without a repeat.
    typing: bool,
}

#[GraphQlSubscription]
impl Subscription {
    /// Live messages, edits, deletions, reactions and read marks in all of the viewer's
    /// conversations, the viewer's own among them.
    async fn message_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The cursor of the last event seen; what came since is delivered first, once each. \
            One that is too old gets one StreamReset; refetch and go on.")]
        after: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<MessageEvent, Fault>> + use<>, Fault> {
        let viewer = viewer(ctx)?;
        let serve = &messaging(ctx)?.serve;
        // The transport's cursor is the newer one: a router that lost the subgraph resumes with it.
        let after = ctx.data_opt::<Resume>().map(|resume| resume.0.clone()).or(after);
        let (start, items) = serve.live.follow::<LiveEvent>(NAME, viewer.id, after.as_ref()).await?;
        let position = ctx.data_opt::<StreamCursor>().cloned().unwrap_or_default();
        position.starts_at(start);
        let events = items.map(move |item| {
            position.stands_at(item.cursor());
            MessageEvent::of(item)
        });
        Ok(until(events, tokio::time::sleep(time_left(serve, viewer))))
    }

    /// Who is typing in a conversation of the viewer. Not kept: nothing is replayed. It ends with
    /// the conversation.
    async fn typing(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The conversation.")] conversation_id: ID,
    ) -> Result<impl Stream<Item = Result<Typing, Fault>> + use<>, Fault> {
        let viewer = viewer(ctx)?;
        let messaging = messaging(ctx)?;
        let watch = messaging.watch_typing(viewer.id, &conversation_id).await?;
        let changes = stream::unfold(watch, |mut watch| async move {
            let typing = watch.next().await?;
            Some((typing, watch))
        });
        Ok(until(changes, tokio::time::sleep(time_left(&messaging.serve, viewer))))
    }
}

/// How long the viewer's token lasts.
fn time_left(serve: &Serve, viewer: &Viewer) -> Duration {
    (viewer.expires_at - serve.clock.now()).to_std().unwrap_or(Duration::ZERO)
}

/// Hands on a stream until it ends or the viewer's token does, which is told.
fn until<S: Stream, E: Future<Output = ()>>(
    items: S,
    end: E,
) -> impl Stream<Item = Result<S::Item, Fault>> + use<S, E> {
    let items = items.map(|item| Some(Ok(item))).chain(stream::iter([None]));
    let end = end.map(|()| Some(Err(Fault::unauthenticated()))).into_stream().chain(stream::iter([None]));
    stream::select(items, end).take_while(|step| future::ready(step.is_some())).filter_map(future::ready)
}

impl Messaging {
    async fn watch_typing(&self, viewer: UserId, id: &ID) -> Result<Watch, Fault> {
        let not_found = || Fault::new(Code::NotFound, "there is no such conversation");
        let id = ConversationId::parse(id).ok_or_else(not_found)?;
        // Listening comes first: an end that falls between the two is heard.
        let listener = self.serve.store.hub().listen(&typing::channel(id)).await?;
        let conversation = read::conversation_of(&self.serve, viewer, id).await?;
        let conversation = conversation.filter(|found| found.closed_at.is_none()).ok_or_else(not_found)?;
        let other = conversation.other_than(viewer);
        Ok(Watch { serve: self.serve.clone(), viewer, id, other, listener, typist: Typist::default() })
    }
}

/// One viewer watching the other type.
struct Watch {
    serve: Serve,
    viewer: UserId,
    id: ConversationId,
    other: UserId,
    listener: Listener,
    typist: Typist,
}

impl Watch {
    /// The next change; nothing when the conversation has ended.
    async fn next(&mut self) -> Option<Typing> {
        loop {
            let signal = match self.typist.until {
                None => Some(self.listener.next().await),
                Some(until) => tokio::time::timeout_at(until, self.listener.next()).await.ok(),
            };
            let changed = match signal {
                None => self.typist.hear(false, Instant::now()),
                Some(Signal::Message(message)) => match typing::parse(&message) {
                    Some(Heard::End) => return None,
                    Some(Heard::Mark(mark)) if mark.user == self.other => self.typist.hear(mark.typing, Instant::now()),
                    Some(Heard::Mark(_)) | None => None,
                },
                Some(Signal::Gap) => {
                    self.check().await?;
                    None
                }
            };
            if let Some(typing) = changed {
                return Some(Typing { conversation_id: self.id.global(), user: User::of(self.other), typing });
            }
        }
    }

    /// After a gap the end may have been missed.
    async fn check(&self) -> Option<()> {
        match read::conversation_of(&self.serve, self.viewer, self.id).await {
            Ok(found) => found.filter(|found| found.closed_at.is_none()).map(drop),
            // Redis is away; the next gap comes when it is back.
            Err(_) => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_says_that_the_token_has_expired() {
        let steps: Vec<_> = until(stream::pending::<u8>(), future::ready(())).collect().await;
        assert_eq!(steps, [Err(Fault::unauthenticated())]);
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_just_ends() {
        let steps: Vec<_> = until(stream::iter([1, 2]), future::pending()).collect().await;
        assert_eq!(steps, [Ok(1), Ok(2)]);
    }
}
