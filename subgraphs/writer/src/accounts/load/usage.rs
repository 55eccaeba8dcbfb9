//! Rows of partners' usage, read back.

use super::super::rows::usage::{partner_usage, partner_usage_routers, partner_usage_totals};
use crate::{
    retry::Stopped,
    table::{Unfit, value_of, version_of},
    warm::{Dump, LoadError, Reads, Warmed},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use velvet_accounts::{
    model::{PartnerId, Slug, Tally},
    row::{Row, Total, UsageRouterRow, UsageRow, UsageTotalRow},
};

const DOMAIN: &str = velvet_accounts::DOMAIN.name;
/// What a view has of a partner's hours.
const HOURS_MAX: u64 = 50_000;

/// What was counted of a partner.
pub async fn usage(reads: &Reads, slug: &Slug) -> Result<Vec<Warmed>, LoadError> {
    let PartnerId(id) = slug.id();
    let tx = reads.open(DOMAIN, &id.to_string()).await?;
    let of_partner = partner_usage_routers::Column::PartnerId.eq(id);
    let routers = partner_usage_routers::Entity::find().filter(of_partner).all(&tx).await?;
    let of_partner = partner_usage_totals::Column::PartnerId.eq(id);
    let totals = partner_usage_totals::Entity::find().filter(of_partner).all(&tx).await?;
    let hours = partner_usage::Entity::find()
        .filter(partner_usage::Column::PartnerId.eq(id))
        .order_by_desc(partner_usage::Column::Hour)
        .limit(HOURS_MAX)
        .all(&tx)
        .await?;
    tx.commit().await?;
    let mut rows = Vec::with_capacity(routers.len() + totals.len() + hours.len());
    for router in routers {
        rows.push(warmed_router(&router)?);
    }
    for total in totals {
        rows.push(warmed_total(total)?);
    }
    for hour in hours {
        rows.push(warmed_hour(hour)?);
    }
    Ok(rows)
}

/// What was counted of one shard's partners. Routers come first: by them it is known which hours are over, so that the
/// state never holds those.
pub async fn all(dump: &Dump<'_>) -> Result<(), Stopped> {
    dump.table::<partner_usage_routers::Model>(|router| Ok(vec![warmed_router(&router)?])).await?;
    dump.table::<partner_usage_totals::Model>(|total| Ok(vec![warmed_total(total)?])).await?;
    dump.table::<partner_usage::Model>(|hour| Ok(vec![warmed_hour(hour)?])).await
}

fn warmed(version: i64, row: Row) -> Warmed {
    Warmed::new(DOMAIN, row.entity(), version_of(version), row)
}

fn slug_of(text: &str) -> Result<Slug, Unfit> {
    Slug::parse(text).map_err(|_| Unfit::Value("slug"))
}

fn warmed_hour(hour: partner_usage::Model) -> Result<Warmed, Unfit> {
    let tally = Tally {
        ok: hour.ok.unsigned_abs(),
        error: hour.error.unsigned_abs(),
        refused: hour.refused.unsigned_abs(),
        rate_limited: hour.rate_limited.unsigned_abs(),
        cost: hour.cost.unsigned_abs(),
        actual_cost: hour.actual_cost.unsigned_abs(),
        latency: serde_json::from_value(hour.latency).map_err(|_| Unfit::Value("latency"))?,
        last_at: hour.last_at,
    };
    let (partner_id, slug) = (PartnerId(hour.partner_id), slug_of(&hour.slug)?);
    let row = UsageRow { partner_id, slug, hour: hour.hour, operation: hour.operation_id, tally };
    Ok(warmed(hour.version, Row::PartnerUsage(row)))
}

fn warmed_total(total: partner_usage_totals::Model) -> Result<Warmed, Unfit> {
    let row = UsageTotalRow {
        partner_id: PartnerId(total.partner_id),
        slug: slug_of(&total.slug)?,
        of: value_of(total.total_of, "total_of")?,
        name: total.name,
        total: Total { calls: total.calls.unsigned_abs(), cost: total.cost.unsigned_abs(), last_at: total.last_at },
    };
    Ok(warmed(total.version, Row::PartnerUsageTotal(row)))
}

fn warmed_router(router: &partner_usage_routers::Model) -> Result<Warmed, Unfit> {
    let row = UsageRouterRow {
        partner_id: PartnerId(router.partner_id),
        slug: slug_of(&router.slug)?,
        router: router.router_id,
        sequence: router.sequence.unsigned_abs(),
        last_at: router.last_at,
    };
    Ok(warmed(router.version, Row::PartnerUsageRouter(row)))
}
