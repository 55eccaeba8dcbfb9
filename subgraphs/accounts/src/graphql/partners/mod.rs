//! Partners, their keys, their operations, and what was done with them: for who runs the platform.

mod change;
mod input;
mod page;
mod payload;
mod usage;

pub(crate) use change::{create, create_key, retire, revoke_key, rotate_key, update};
pub(crate) use input::{
    CreatePartnerInput, CreatePartnerKeyInput, RetireOperationInput, RevokePartnerKeyInput, RotatePartnerKeyInput,
    UpdatePartnerInput,
};
pub(crate) use page::{PartnerConnection, Place};
pub(crate) use payload::{
    CreatePartnerKeyResult, CreatePartnerResult, RetireOperationResult, RevokePartnerKeyResult, RotatePartnerKeyResult,
    UpdatePartnerResult,
};
pub(crate) use usage::{Asked as UsageAsked, UsageConnection, usage};

use super::service;
use crate::{
    model::{KeyMode, Limits, OperationKind},
    row::Operation,
    service::partners::Partners,
    view::{
        partners::{self as views, KeyView, PartnerView},
        usage as counted,
    },
};
use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use page::{AuditConnection, OperationConnection};
use velvet_kernel::{fault::Fault, graph::page_size};

/// Entries on a page, unless the caller says otherwise.
const PAGE_DEFAULT: usize = 20;
/// Keys of a partner that are shown: more than may be live, so that some that are over are among them.
const KEYS_SHOWN_MAX: usize = 100;

/// A company whose programs call the graph with keys of their own.
#[derive(Debug, Clone)]
pub(crate) struct Partner(PartnerView);

impl From<PartnerView> for Partner {
    fn from(view: PartnerView) -> Self {
        Self(view)
    }
}

/// A company whose programs call the graph with keys of their own.
#[Object]
impl Partner {
    /// The partner's id.
    async fn id(&self) -> ID {
        self.0.slug.id().global()
    }

    /// Its short name: 3 to 32 of a-z, 0-9 and -.
    async fn slug(&self) -> &str {
        self.0.slug.as_str()
    }

    /// What people call it: 1 to 80 characters.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The service account: the user as whom its calls act when no user's token comes along.
    async fn user_id(&self) -> ID {
        self.0.user_id.global()
    }

    /// How much it may ask for.
    async fn limits(&self) -> PartnerLimits {
        self.0.limits.into()
    }

    /// Whether it is shut out.
    async fn disabled(&self) -> bool {
        self.0.disabled
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// Its newest keys, newest first: at most 100, those that are over among them.
    async fn keys(&self, ctx: &Context<'_>) -> Result<Vec<PartnerKey>, Fault> {
        let store = service(ctx)?.partners.store();
        let keys = views::keys(store, &self.0.slug, KEYS_SHOWN_MAX).await?;
        nothing_is_missing(ctx, &keys).await?;
        let prefixes: Vec<&str> = keys.iter().map(|key| key.prefix.as_str()).collect();
        let exchanged = views::last_used(store, &prefixes).await?;
        let called = counted::keys_called(store, &self.0.slug, &prefixes).await?;
        let used = exchanged.into_iter().zip(called).map(|(exchanged, called)| exchanged.max(called));
        Ok(keys.into_iter().zip(used).map(|(key, used)| PartnerKey::of(key, used)).collect())
    }

    /// Its operations, retired ones among them, newest first.
    async fn operations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: Option<i32>,
        #[graphql(desc = "The cursor of the last operation seen.")] after: Option<String>,
    ) -> Result<OperationConnection, Fault> {
        let first = page_size(first, PAGE_DEFAULT)?;
        let after = after.as_deref().map(Place::parse).transpose()?;
        let place = after.as_ref().map(Place::as_after);
        let entries = views::operations(service(ctx)?.partners.store(), &self.0.slug, place, first + 1).await?;
        nothing_is_missing(ctx, &entries).await?;
        Ok(OperationConnection::new(entries, first, after.is_some()))
    }

    /// What was done with it, newest first; the last 200 are here.
    async fn audit(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100.", default = 20)] first: Option<i32>,
        #[graphql(desc = "The cursor of the last entry seen.")] after: Option<String>,
    ) -> Result<AuditConnection, Fault> {
        let first = page_size(first, PAGE_DEFAULT)?;
        let after = after.as_deref().map(Place::parse).transpose()?;
        let place = after.as_ref().map(Place::as_after);
        let entries = views::audit(service(ctx)?.partners.store(), &self.0.slug, place, first + 1).await?;
        nothing_is_missing(ctx, &entries).await?;
        Ok(AuditConnection::new(entries, first, after.is_some()))
    }
}

/// Refuses to show nothing while Redis is being rebuilt: the partner may be back before what it has.
async fn nothing_is_missing<T>(ctx: &Context<'_>, found: &[T]) -> Result<(), Fault> {
    if found.is_empty() { service(ctx)?.serve.absent().await } else { Ok(()) }
}

/// Reads a page of partners.
pub(crate) async fn partners(
    partners: &Partners,
    first: Option<i32>,
    after: Option<&str>,
) -> Result<(Vec<velvet_kernel::store::view::Entry<PartnerView>>, usize, bool), Fault> {
    let first = page_size(first, PAGE_DEFAULT)?;
    let after = after.map(Place::parse).transpose()?;
    let place = after.as_ref().map(Place::as_after);
    Ok((views::partners(partners.store(), place, first + 1).await?, first, after.is_some()))
}

/// How much a partner may ask for.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct PartnerLimits {
    /// Requests in a second, in the long run: 1 to 10,000.
    requests_per_second: u32,
    /// Requests at once: 1 to 20,000.
    burst: u32,
    /// The sum of operations' costs in a minute: 1 to 100,000,000.
    cost_per_minute: u32,
    /// Requests in a calendar month: 1 to 2,000,000,000.
    monthly_quota: u64,
}

impl From<Limits> for PartnerLimits {
    fn from(limits: Limits) -> Self {
        let Limits { requests_per_second, burst, cost_per_minute, monthly_quota } = limits;
        Self { requests_per_second, burst, cost_per_minute, monthly_quota }
    }
}

/// A partner's key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct PartnerKey {
    /// The part of the key that names it: the 12 characters after the mode.
    prefix: String,
    /// What it is made for.
    mode: KeyMode,
    /// What it lets in to: `<subgraph>:<query|mutation|subscription>`, or `*` for everything.
    scopes: Vec<String>,
    /// Whether requests must be signed.
    require_signature: bool,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it ends; null when it does not.
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    revoked_at: Option<DateTime<Utc>>,
    /// When a call with it last ended, or it was last exchanged for a token; null when that is not known.
    last_used_at: Option<DateTime<Utc>>,
}

impl PartnerKey {
    /// A key, and when it was last used.
    pub fn of(key: KeyView, last_used_at: Option<DateTime<Utc>>) -> Self {
        let KeyView { prefix, mode, scopes, require_signature, created_at, expires_at, revoked_at } = key;
        let scopes = scopes.into_iter().map(|scope| scope.0).collect();
        Self { prefix, mode, scopes, require_signature, created_at, expires_at, revoked_at, last_used_at }
    }
}

/// An operation that a partner may call by its id.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct PartnerOperation {
    /// Its id: the SHA-256 of its body in hex, or whatever the partner's tools call it.
    id: String,
    /// Its name.
    name: String,
    /// What it does.
    kind: OperationKind,
    /// What it costs, as the router has planned it.
    cost: u32,
    /// Which of the partner's clients uses it; may be empty.
    client_name: String,
    /// The release that it came with: 1 is the partner's first.
    release: u32,
    /// When that was.
    published_at: DateTime<Utc>,
    /// When it was retired; null while it may be called.
    retired_at: Option<DateTime<Utc>>,
}

impl From<Operation> for PartnerOperation {
    fn from(operation: Operation) -> Self {
        let Operation { id, name, kind, cost, client_name, release, published_at, retired_at } = operation;
        Self { id, name, kind, cost, client_name, release, published_at, retired_at }
    }
}
