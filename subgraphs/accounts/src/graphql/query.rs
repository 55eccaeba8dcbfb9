//! Reading accounts.

use super::{
    account::Account,
    loader::UserLoader,
    partners::{self, Partner, PartnerConnection, UsageAsked, UsageConnection},
    service,
    user::User,
};
use crate::{model::Slug, view::Seen};
use async_graphql::{Context, ID, Object};
use chrono::{DateTime, Utc};
use velvet_kernel::{
    fault::Fault,
    id::UserId,
    identity::{Viewer, admin, viewer},
};

/// The root of queries.
pub(crate) struct Query;

#[Object]
impl Query {
    /// The signed-in account. Error UNAUTHENTICATED without a valid token.
    async fn me(&self, ctx: &Context<'_>) -> Result<Account, Fault> {
        let (viewer, service) = (viewer(ctx)?, service(ctx)?);
        // A token outlives an account that was erased; it is nobody's then.
        let account = service.account(viewer.id).await?.ok_or_else(Fault::unauthenticated)?;
        Ok(Account::of(account, service.today()))
    }

    /// What a user shows to others; null when absent, hidden or blocked.
    async fn user(&self, ctx: &Context<'_>, #[graphql(desc = "The user's id.")] id: ID) -> Result<Option<User>, Fault> {
        let viewer = viewer(ctx)?;
        let Some(id) = UserId::parse(&id) else {
            return Ok(None);
        };
        match seen(ctx, viewer, id).await? {
            Seen::Visible(account) => Ok(Some(User::of(&account, service(ctx)?.today()))),
            Seen::Nobody | Seen::Hidden => Ok(None),
        }
    }

    /// Those who call the graph with keys of their own, newest first. For who runs the platform:
    /// others get the error FORBIDDEN.
    async fn partners(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: Option<i32>,
        #[graphql(desc = "The cursor of the last partner seen.")] after: Option<String>,
    ) -> Result<PartnerConnection, Fault> {
        admin(ctx)?;
        let service = service(ctx)?;
        let (entries, first, has_previous_page) =
            partners::partners(&service.partners, first, after.as_deref()).await?;
        if entries.is_empty() {
            service.serve.absent().await?;
        }
        Ok(PartnerConnection::new(entries, first, has_previous_page))
    }

    /// A partner by its short name; null when there is none. For who runs the platform: others get
    /// the error FORBIDDEN.
    async fn partner(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The partner's short name.")] slug: String,
    ) -> Result<Option<Partner>, Fault> {
        admin(ctx)?;
        let Ok(slug) = Slug::parse(&slug) else {
            return Ok(None);
        };
        Ok(service(ctx)?.partners.partner(&slug).await?.map(Partner::from))
    }

    /// What a partner has called, by hour and operation: the newest hour first, of one hour by the operation's id. The
    /// last 35 days are here, and of them at most 50,000 entries. For the partner itself, with a key that reads accounts,
    /// and for who runs the platform: others get the error FORBIDDEN. Null when there is no such partner.
    async fn partner_usage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The partner's short name; a partner may leave it out.")] slug: Option<String>,
        #[graphql(desc = "Hours that begin then or later.")] from: Option<DateTime<Utc>>,
        #[graphql(desc = "Hours that begin before.")] to: Option<DateTime<Utc>>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: Option<i32>,
        #[graphql(desc = "The cursor of the last hour seen.")] after: Option<String>,
    ) -> Result<Option<UsageConnection>, Fault> {
        let viewer = viewer(ctx)?;
        partners::usage(service(ctx)?, viewer, UsageAsked { slug, from, to, first, after }).await
    }

    /// A user as other subgraphs refer to them. One whom the viewer does not see stands there without
    /// a profile, as a null would empty the page that shows them.
    #[graphql(entity)]
    async fn user_by_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The user's id.")] id: ID,
    ) -> Result<Option<User>, Fault> {
        let viewer = viewer(ctx)?;
        let Some(id) = UserId::parse(&id) else {
            return Ok(None);
        };
        match seen(ctx, viewer, id).await? {
            Seen::Visible(account) => Ok(Some(User::of(&account, service(ctx)?.today()))),
            Seen::Hidden => Ok(Some(User::tombstone(id))),
            Seen::Nobody => Ok(None),
        }
    }
}

async fn seen(ctx: &Context<'_>, viewer: &Viewer, user: UserId) -> Result<Seen, Fault> {
    let loader = ctx.data_opt::<UserLoader>().ok_or_else(Fault::internal)?;
    let seen = loader.load(viewer.id, user).await?;
    if seen == Seen::Nobody {
        service(ctx)?.serve.absent().await?;
    }
    Ok(seen)
}
