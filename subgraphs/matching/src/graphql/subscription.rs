//! What can be followed.

use super::{Api, matches::Match};
use crate::{DOMAIN_NAME, event::LiveEvent};
use async_graphql::{Context, ID, SimpleObject, Subscription as Subscribable, Union};
use futures::{Stream, StreamExt as _, stream};
use velvet_kernel::{
    fault::Fault,
    graph::{Cursor, StreamReset},
    id::UserId,
    identity::viewer,
    live::{Item, Resume, StreamCursor},
};

/// What can be followed.
pub struct Subscription;

/// What happens to the viewer's matches.
#[derive(Union)]
pub enum MatchEvent {
    /// There is one more.
    Created(MatchCreated),
    /// There is one less.
    Ended(MatchEnded),
    /// The stream starts anew.
    Reset(StreamReset),
}

/// A match was made and its conversation is open.
#[derive(Debug, SimpleObject)]
pub struct MatchCreated {
    /// Where the stream stands after it.
    cursor: Option<Cursor>,
    /// The match.
    #[graphql(name = "match")]
    matched: Match,
}

/// A match has ended.
#[derive(Debug, SimpleObject)]
pub struct MatchEnded {
    /// Where the stream stands after it.
    cursor: Option<Cursor>,
    /// Which one.
    match_id: ID,
}

#[Subscribable]
impl Subscription {
    /// Live matches of the viewer. `after`: the cursor of the last event seen; what came since is
    /// delivered first, once each. A cursor that is too old gets one `StreamReset`; refetch `matches`
    /// and go on.
    async fn match_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The cursor of the last event seen.")] after: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<MatchEvent, Fault>> + use<>, Fault> {
        let (viewer, api) = (viewer(ctx)?.clone(), Api::of(ctx)?);
        // The transport's cursor is the newer one: a router that lost the subgraph resumes with it.
        let after = ctx.data_opt::<Resume>().map(|resume| resume.0.clone()).or(after);
        let (start, items) = api.serve.live.follow::<LiveEvent>(DOMAIN_NAME, viewer.id, after.as_ref()).await?;
        let place = ctx.data_opt::<StreamCursor>().cloned().unwrap_or_default();
        place.starts_at(start);
        let left = (viewer.expires_at - api.serve.clock.now()).to_std().unwrap_or_default();
        let events = items.filter_map(move |item| {
            place.stands_at(item.cursor());
            let event = shown(viewer.id, item);
            async move { event.map(Ok) }
        });
        let expired = stream::once(async { Err(Fault::unauthenticated()) });
        Ok(events.take_until(tokio::time::sleep(left)).chain(expired))
    }
}

/// A step as the viewer sees it; nothing for a match of others.
fn shown(viewer: UserId, item: Item<LiveEvent>) -> Option<MatchEvent> {
    Some(match item {
        Item::Event { cursor, event: LiveEvent::MatchCreated { matched } } => {
            MatchEvent::Created(MatchCreated { cursor: Some(cursor), matched: Match::seen_by(viewer, matched)? })
        }
        Item::Event { cursor, event: LiveEvent::MatchEnded { match_id } } => {
            MatchEvent::Ended(MatchEnded { cursor: Some(cursor), match_id: match_id.global() })
        }
        Item::Reset { cursor, reason } => {
            MatchEvent::Reset(StreamReset { cursor: Some(cursor), reason: reason.to_owned() })
        }
    })
}
