//! What can be done.

use super::{
    Api, IDEMPOTENCY_KEY_LENGTH_MAX,
    matches::Match,
    payload::{
        BlockUserInput, BlockUserResult, MatchNotFound, QuotaUsedUp, SwipeInput, SwipeResult, Swiped, UnmatchInput,
        UnmatchResult, Unmatched, UserBlocked,
    },
};
use crate::{
    event::{BlockOutcome, Fact, SwipeOutcome, UnmatchOutcome},
    model::{MatchDocument, MatchId, MatchStatus, Pair, Profile, SwipeAction, made_at},
    quota::{Kind, Quota, Spent},
    view::{match_key, profile_key},
};
use async_graphql::{Context, Object};
use chrono::TimeDelta;
use std::time::Duration;
use uuid::Uuid;
use velvet_kernel::{
    command::{Decision, request_id},
    fault::Fault,
    graph::UserNotFound,
    id::UserId,
    identity::{Viewer, viewer},
    live::inbox::blocks_key,
    store::{self, Call, view},
    time::{derived_id, fresh_id},
};

/// An id that was made so lately may belong to somebody whom accounts is about to tell us of.
const NEWCOMER_AGE: TimeDelta = TimeDelta::seconds(10);
/// Looks for a newcomer, and the pauses between them: a second in all.
const NEWCOMER_LOOKS: u32 = 20;
const NEWCOMER_PAUSE: Duration = Duration::from_millis(50);

/// What can be done.
pub struct Mutation;

#[Object]
impl Mutation {
    /// Says yes or no to somebody. Swiping the same person again replaces what was said before.
    async fn swipe(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is meant, and what is said.")] input: SwipeInput,
    ) -> Result<SwipeResult, Fault> {
        let (viewer, api) = (viewer(ctx)?, Api::of(ctx)?);
        let key = input.idempotency_key.as_deref();
        if key.is_some_and(|key| !(1..=IDEMPOTENCY_KEY_LENGTH_MAX).contains(&key.chars().count())) {
            return Err(Fault::invalid("an idempotencyKey has 1 to 128 characters"));
        }
        let Some((target, pair)) = partner(viewer, &input.user_id) else { return Ok(UserNotFound::new().into()) };
        // A key is good for one person: with another it is another request, which counts.
        let request = request_id(&format!("{}:{target}", viewer.id), "swipe", key, fresh_id());
        let swipe = Fact::Swiped { swiper: viewer.id, swiped: target, action: input.action };
        let quota = Quota::of(&api.settings, viewer.id, api.serve.clock.now());
        match api.admit(&quota, viewer.id, &swipe, request).await? {
            Admission::Refused => return Ok(UserNotFound::new().into()),
            Admission::UsedUp(kind) => {
                let standing = quota.standing(kind, &api.serve.store).await?;
                return Ok(QuotaUsedUp::new(kind, standing).into());
            }
            Admission::Granted => {}
        }
        match api.intake.submit(&api.fact(request, pair.to_string(), &swipe)).await? {
            SwipeOutcome::Swiped { completed } => {
                let completed = completed.and_then(|document| Match::seen_by(viewer.id, document));
                Ok(Swiped { completed }.into())
            }
            SwipeOutcome::NotFound => Ok(UserNotFound::new().into()),
        }
    }

    /// Ends a match, for both partners and for good.
    async fn unmatch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which match.")] input: UnmatchInput,
    ) -> Result<UnmatchResult, Fault> {
        let (viewer, api) = (viewer(ctx)?, Api::of(ctx)?);
        let Some(id) = MatchId::parse(&input.match_id) else { return Ok(MatchNotFound::new().into()) };
        let document = api.serve.store.document::<MatchDocument>(match_key(id)).await?.present();
        if document.is_none() {
            api.serve.absent().await?;
        }
        let standing = document.filter(|document| document.status == MatchStatus::Active);
        let pair = standing.and_then(|document| Pair::of(viewer.id, document.other(viewer.id)?));
        let Some(pair) = pair else { return Ok(MatchNotFound::new().into()) };
        let request = request_id(&viewer.id.to_string(), "unmatch", Some(&id.to_string()), Uuid::nil());
        let fact = api.fact(request, pair.to_string(), &Fact::Unmatched { by: viewer.id });
        match api.intake.submit(&fact).await? {
            UnmatchOutcome::Unmatched => Ok(Unmatched { match_id: id.global() }.into()),
            UnmatchOutcome::NotFound => Ok(MatchNotFound::new().into()),
        }
    }

    /// Hides two users from each other for good, everywhere, and ends their match. Once this has
    /// answered, nothing of the one reaches the other.
    async fn block_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom to block.")] input: BlockUserInput,
    ) -> Result<BlockUserResult, Fault> {
        let (viewer, api) = (viewer(ctx)?, Api::of(ctx)?);
        let Some((target, pair)) = partner(viewer, &input.user_id) else { return Ok(UserNotFound::new().into()) };
        if !api.is_known(target).await? {
            return Ok(UserNotFound::new().into());
        }
        let request = request_id(&viewer.id.to_string(), "block", Some(&target.to_string()), Uuid::nil());
        let fact = api.fact(request, pair.to_string(), &Fact::Blocked { by: viewer.id });
        match api.intake.submit(&fact).await? {
            BlockOutcome::Blocked => api.acknowledged(request, pair).await?,
            BlockOutcome::Standing => {}
            BlockOutcome::NotFound => return Ok(UserNotFound::new().into()),
        }
        Ok(UserBlocked { user_id: target.global() }.into())
    }
}

/// The other one of a request, and the pair with the viewer; nothing for the viewer, or for no id of ours.
fn partner(viewer: &Viewer, id: &str) -> Option<(UserId, Pair)> {
    let target = UserId::parse(id)?;
    Some((target, Pair::of(viewer.id, target)?))
}

/// Whether a swipe may be appended.
enum Admission {
    Granted,
    UsedUp(Kind),
    Refused,
}

impl Api {
    /// Checks a swipe against the views and counts it, in one round trip.
    async fn admit(&self, quota: &Quota<'_>, viewer: UserId, swipe: &Fact, request: Uuid) -> Result<Admission, Fault> {
        let Fact::Swiped { swiped, action, .. } = swipe else { return Ok(Admission::Refused) };
        let key = profile_key(*swiped);
        let count = if action.likes() {
            quota.spend(*swiped, request, *action == SwipeAction::SuperLike)
        } else {
            Call::command_on("SISMEMBER", blocks_key(crate::DOMAIN_NAME, viewer)).arg(swiped.to_string())
        };
        let replies = self.serve.store.run(&[view::get(key.as_str()), count]).await?;
        let [profile, counted] = replies.as_slice() else { return Err(Fault::internal()) };
        let counted: i64 = redis::FromRedisValue::from_redis_value_ref(counted).map_err(store::Error::from)?;
        let spent = match (action.likes(), counted) {
            (true, counted) => Spent::read(counted),
            (false, 0) => Spent::Yes,
            (false, _) => Spent::Blocked,
        };
        let known = view::parse::<Profile>(&key, profile)?.present().is_some() || self.has_arrived(*swiped).await?;
        if !known || spent == Spent::Blocked {
            if action.likes() && spent == Spent::Yes {
                self.serve.store.run(&quota.take_back(request)).await?;
            }
            return Ok(Admission::Refused);
        }
        Ok(if let Spent::UsedUp(kind) = spent { Admission::UsedUp(kind) } else { Admission::Granted })
    }

    async fn is_known(&self, user: UserId) -> Result<bool, Fault> {
        let profile = self.serve.store.document::<Profile>(profile_key(user)).await?;
        Ok(profile.present().is_some() || self.has_arrived(user).await?)
    }

    /// On a miss: whether the user is there after all. Somebody who has just registered may not have
    /// come over from accounts yet, which their id shows; for others the miss is final.
    async fn has_arrived(&self, user: UserId) -> Result<bool, Fault> {
        self.serve.absent().await?;
        let now = self.serve.clock.now();
        if made_at(user.0).is_none_or(|made| (now - made).abs() >= NEWCOMER_AGE) {
            return Ok(false);
        }
        for _ in 0..NEWCOMER_LOOKS {
            tokio::time::sleep(NEWCOMER_PAUSE).await;
            if self.serve.store.document::<Profile>(profile_key(user)).await?.present().is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until every domain that shows the two to each other has taken the block in.
    async fn acknowledged(&self, request: Uuid, pair: Pair) -> Result<(), Fault> {
        let request = request.to_string();
        let [one, other] = pair.both();
        let who = [format!("accounts:{one}"), format!("accounts:{other}"), "messaging".to_owned()];
        let told = who.iter().map(|who| self.intake.told::<bool>(derived_id(&["block-ack", &request, who])));
        let told = futures::future::try_join_all(told).await?;
        if told.contains(&Decision::Pending) { Err(Fault::outcome_pending()) } else { Ok(()) }
    }
}
