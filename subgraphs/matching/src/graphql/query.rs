//! What can be asked.

use super::{
    Api,
    card::{Card, DeckFilter},
    load::MatchLoader,
    matches::{Match, MatchConnection, Place},
};
use crate::{
    deck::{self, BATCH},
    model::MatchId,
    quota::{Kind, Quota, Standing},
    view::matches_key,
};
use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use velvet_kernel::{
    fault::Fault,
    graph::{annotations::cost, page_size},
    identity::viewer,
};

/// What dealing one card costs: candidates are looked at that are not shown.
const CARD_WEIGHT: &str = "3";
/// Cards of a deck when the caller does not say.
const DECK_DEFAULT: i32 = 10;
/// Matches of a page when the caller does not say.
const MATCHES_DEFAULT: usize = 20;

/// What can be asked.
pub struct Query;

/// How many swipes are left, and when the count starts again.
#[derive(Debug, Clone, SimpleObject)]
pub struct SwipeQuota {
    /// Likes and super likes of a window; null without a limit.
    limit: Option<u32>,
    /// Those that are left; null without a limit.
    remaining: Option<u32>,
    /// When the count starts again; of a rolling window, when the oldest stops to count.
    resets_at: DateTime<Utc>,
}

impl From<Standing> for SwipeQuota {
    fn from(standing: Standing) -> Self {
        Self { limit: standing.limit, remaining: standing.remaining, resets_at: standing.resets_at }
    }
}

#[Object]
impl Query {
    /// Candidates for swiping, best first. Served cards are not served again for a while.
    #[graphql(directive = cost::apply(CARD_WEIGHT.to_owned()))]
    async fn deck(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many cards, 1 to 50.", default = 10)] first: Option<i32>,
        #[graphql(desc = "Narrows the viewer's preferences for this call.")] filter: Option<DeckFilter>,
    ) -> Result<Vec<Card>, Fault> {
        let (viewer, api) = (viewer(ctx)?, Api::of(ctx)?);
        let first = usize::try_from(first.unwrap_or(DECK_DEFAULT))
            .ok()
            .filter(|first| (1..=BATCH).contains(first))
            .ok_or_else(|| Fault::invalid("a deck has 1 to 50 cards"))?;
        let filter = filter.map(deck::Filter::from);
        filter.as_ref().map_or(Ok(()), deck::Filter::check)?;
        let now = api.serve.clock.now();
        let Some(cards) = deck::deal(&api.serve.store, viewer.id, first, filter.as_ref(), now).await? else {
            // Accounts has not told of the viewer yet; or Redis is not whole.
            api.serve.absent().await?;
            return Ok(Vec::new());
        };
        Ok(cards.into_iter().map(Card::from).collect())
    }

    /// The viewer's matches, newest first.
    async fn matches(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: Option<i32>,
        #[graphql(desc = "The cursor of the last match seen.")] after: Option<String>,
    ) -> Result<MatchConnection, Fault> {
        let (viewer, api) = (viewer(ctx)?, Api::of(ctx)?);
        let first = page_size(first, MATCHES_DEFAULT)?;
        let after = after.as_deref().map(Place::parse).transpose()?;
        let id = after.map(|place| place.id.to_string()).unwrap_or_default();
        let place = after.map(|place| (place.score, id.as_str()));
        let entries = api.serve.store.page(&matches_key(viewer.id), place, first + 1).await?;
        if entries.is_empty() {
            api.serve.absent().await?;
        }
        Ok(MatchConnection::new(viewer.id, entries, first, after.is_some()))
    }

    /// How many swipes are left, and when the count starts again. Only likes count, super likes among them.
    async fn swipe_quota(&self, ctx: &Context<'_>) -> Result<SwipeQuota, Fault> {
        let (viewer, api) = (viewer(ctx)?, Api::of(ctx)?);
        let quota = Quota::of(&api.settings, viewer.id, api.serve.clock.now());
        Ok(quota.standing(Kind::Likes, &api.serve.store).await?.into())
    }

    /// A match by its id, for one of its partners.
    #[graphql(entity)]
    async fn find_match_by_id(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The match's id.")] id: ID,
    ) -> Result<Option<Match>, Fault> {
        let viewer = viewer(ctx)?;
        let (Some(id), Some(loader)) = (MatchId::parse(&id), ctx.data_opt::<MatchLoader>()) else { return Ok(None) };
        let document = loader.load(id).await?;
        if document.is_none() {
            Api::of(ctx)?.serve.absent().await?;
        }
        Ok(document.and_then(|document| Match::seen_by(viewer.id, document)))
    }
}
