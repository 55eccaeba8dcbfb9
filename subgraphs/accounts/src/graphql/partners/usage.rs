//! What partners have called, by hour and operation.

use super::{PAGE_DEFAULT, Place, page::page};
use crate::{
    model::{PartnerId, Slug},
    row::UsageRow,
    service::Service,
    view::{partners as views, usage},
};
use async_graphql::{ID, SimpleObject};
use chrono::{DateTime, Utc};
use velvet_kernel::{
    fault::Fault,
    graph::{PageInfo, page_size},
    identity::{Role, Viewer},
    store::view::Entry,
};

/// The scope that a partner's key needs to read of its own usage.
const SCOPE: &str = "accounts:query";

/// One partner's calls of one operation that ended in one hour.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "PartnerUsage")]
pub(crate) struct HourUsage {
    /// The hour's beginning, in UTC.
    hour: DateTime<Utc>,
    /// The operation's id; null for calls that named none of the partner's.
    operation_id: Option<ID>,
    /// All calls: the sum of the next four.
    calls: u64,
    /// Calls that were answered without errors.
    ok: u64,
    /// Calls that were answered with errors, or whose caller left before the answer.
    errors: u64,
    /// Calls that were not let through: beyond a scope or a bound, or no such operation.
    refused: u64,
    /// Calls that were not let through because there were too many.
    rate_limited: u64,
    /// What the calls that were let through were estimated to cost, in all: a whole number.
    cost: f64,
    /// What they did cost by their answers, as far as that was measured: a whole number.
    actual_cost: f64,
    /// Half of the calls that were let through took no longer, in milliseconds; estimated from buckets, null when there
    /// were none.
    #[graphql(name = "latencyP50Ms")]
    latency_p50_ms: Option<f64>,
    /// Of 20 calls that were let through, 19 took no longer, in milliseconds; estimated as the other.
    #[graphql(name = "latencyP95Ms")]
    latency_p95_ms: Option<f64>,
    /// When the last of them ended.
    last_called_at: DateTime<Utc>,
}

impl From<UsageRow> for HourUsage {
    #[expect(clippy::cast_precision_loss, reason = "costs of an hour are far below 2^52")]
    fn from(row: UsageRow) -> Self {
        let UsageRow { hour, operation, tally, .. } = row;
        Self {
            hour,
            operation_id: Some(operation).filter(|id| !id.is_empty()).map(ID),
            calls: tally.calls(),
            latency_p50_ms: tally.latency_ms(0.5),
            latency_p95_ms: tally.latency_ms(0.95),
            ok: tally.ok,
            errors: tally.error,
            refused: tally.refused,
            rate_limited: tally.rate_limited,
            cost: tally.cost as f64,
            actual_cost: tally.actual_cost as f64,
            last_called_at: tally.last_at,
        }
    }
}

/// A page of what a partner has called.
#[derive(Debug, SimpleObject)]
#[graphql(name = "PartnerUsageConnection")]
pub(crate) struct UsageConnection {
    /// The hours, each with its place.
    edges: Vec<UsageEdge>,
    /// The hours alone.
    nodes: Vec<HourUsage>,
    /// Where the page lies.
    page_info: PageInfo,
}

/// An hour of an operation and its place.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(name = "PartnerUsageEdge")]
pub(crate) struct UsageEdge {
    /// Its place in the list.
    cursor: String,
    /// The hour of the operation.
    node: HourUsage,
}

/// What is asked for.
pub(crate) struct Asked {
    pub slug: Option<String>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    pub first: Option<i32>,
    pub after: Option<String>,
}

/// Reads what a partner has called; nothing when there is no such partner.
pub(crate) async fn usage(service: &Service, viewer: &Viewer, asked: Asked) -> Result<Option<UsageConnection>, Fault> {
    let slug = asked.slug.as_deref().map(Slug::parse);
    let slug = match (&viewer.partner, slug) {
        (Some(access), slug) => {
            let allowed = access.scopes.iter().any(|scope| scope == "*" || scope == SCOPE);
            let own = views::registered_partner(&service.serve.store, PartnerId(access.partner)).await?;
            if own.is_none() {
                service.serve.absent().await?;
            }
            let own = own.filter(|_| allowed).ok_or_else(Fault::forbidden)?.slug;
            if slug.is_some_and(|slug| slug.as_ref() != Ok(&own)) {
                return Err(Fault::forbidden());
            }
            own
        }
        (None, _) if !viewer.roles.contains(&Role::Admin) => return Err(Fault::forbidden()),
        (None, None) => return Err(Fault::invalid("whose usage: name the partner's slug")),
        (None, Some(Ok(slug))) => slug,
        (None, Some(Err(_))) => return Ok(None),
    };
    if service.partners.partner(&slug).await?.is_none() {
        return Ok(None);
    }
    let first = page_size(asked.first, PAGE_DEFAULT)?;
    let after = asked.after.as_deref().map(Place::parse).transpose()?;
    // Hours are whole seconds: one that begins before a part of a second begins before the next second.
    let until = asked.to.map(|to| (to.timestamp() + i64::from(to.timestamp_subsec_nanos() > 0), ""));
    // Of the two, the one that comes later in the list.
    let place = match (after.as_ref().map(Place::as_after), until) {
        (Some(after), Some(until)) => Some(after.min(until)),
        (after, until) => after.or(until),
    };
    let mut entries: Vec<Entry<UsageRow>> = usage::hours(&service.serve.store, &slug, place, first + 1).await?;
    if entries.is_empty() {
        service.serve.absent().await?;
    }
    if let Some(from) = asked.from {
        entries.retain(|entry| entry.value.hour >= from);
    }
    Ok(Some(UsageConnection::new(entries, first, after.is_some())))
}

impl UsageConnection {
    fn new(entries: Vec<Entry<UsageRow>>, first: usize, has_previous_page: bool) -> Self {
        let (edges, page_info) = page(entries, first, has_previous_page);
        let edges: Vec<UsageEdge> =
            edges.into_iter().map(|(cursor, row)| UsageEdge { cursor, node: row.into() }).collect();
        Self { nodes: edges.iter().map(|edge| edge.node.clone()).collect(), edges, page_info }
    }
}
