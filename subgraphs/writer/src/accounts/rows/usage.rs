//! Decided events of partners' usage to rows, and what goes because it is too old.

use crate::table::{Unfit, Upserts, stored, stored_version, text};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};
use std::collections::BTreeMap;
use uuid::Uuid;
use velvet_accounts::row::{USAGE_HOURS_KEPT, USAGE_ROUTERS_KEPT, UsageRouterRow, UsageRow, UsageRows, UsageTotalRow};
use velvet_kernel::{fold::Version, log::Recorded};

/// Calls by hour and operation.
pub mod partner_usage {
    use sea_orm::entity::prelude::*;

    /// One hour of one operation.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "partner_usage")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub partner_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub hour: DateTimeUtc,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub operation_id: String,
        #[sea_orm(column_type = "Text")]
        pub slug: String,
        pub ok: i64,
        pub error: i64,
        pub refused: i64,
        pub rate_limited: i64,
        pub cost: i64,
        pub actual_cost: i64,
        #[sea_orm(column_type = "JsonBinary")]
        pub latency: Json,
        pub last_at: DateTimeUtc,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Calls by month, by operation and by key.
pub mod partner_usage_totals {
    use sea_orm::entity::prelude::*;

    /// One sum.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "partner_usage_totals")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub partner_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub total_of: String,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub name: String,
        #[sea_orm(column_type = "Text")]
        pub slug: String,
        pub calls: i64,
        pub cost: i64,
        pub last_at: DateTimeUtc,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Up to which batch each router's counts are in.
pub mod partner_usage_routers {
    use sea_orm::entity::prelude::*;

    /// One router.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "partner_usage_routers")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub partner_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub router_id: Uuid,
        #[sea_orm(column_type = "Text")]
        pub slug: String,
        pub sequence: i64,
        pub last_at: DateTimeUtc,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

stored!(partner_usage: partner_id: Uuid, hour: DateTime<Utc>, operation_id: String);
stored!(partner_usage_totals: partner_id: Uuid, total_of: String, name: String);
stored!(partner_usage_routers: partner_id: Uuid, router_id: Uuid);

/// Rows on their way.
#[derive(Debug, Default)]
pub struct Rows {
    hours: Upserts<partner_usage::Model>,
    totals: Upserts<partner_usage_totals::Model>,
    routers: Upserts<partner_usage_routers::Model>,
}

impl Rows {
    /// Adds what an event makes.
    pub fn add(&mut self, event: &Recorded) -> Result<(), Unfit> {
        let UsageRows { hours, totals, router } = event.parse()?;
        for row in hours {
            self.hours.add(hour(row, event.version)?);
        }
        for row in totals {
            self.totals.add(total(row, event.version)?);
        }
        self.routers.add(self::router(router, event.version));
        Ok(())
    }

    /// Writes what is newer than what is stored, and deletes what no one keeps. Returns how many rows were sent.
    pub async fn write(&self, tx: &DatabaseTransaction) -> Result<u64, DbErr> {
        let sent = self.hours.write(tx).await? + self.totals.write(tx).await? + self.routers.write(tx).await?;
        for (partner, newest) in newest(self.hours.rows().map(|row| (row.partner_id, row.hour))) {
            partner_usage::Entity::delete_many()
                .filter(partner_usage::Column::PartnerId.eq(partner))
                .filter(partner_usage::Column::Hour.lt(newest - TimeDelta::hours(USAGE_HOURS_KEPT.into())))
                .exec(tx)
                .await?;
        }
        for (partner, newest) in newest(self.routers.rows().map(|row| (row.partner_id, row.last_at))) {
            partner_usage_routers::Entity::delete_many()
                .filter(partner_usage_routers::Column::PartnerId.eq(partner))
                .filter(partner_usage_routers::Column::LastAt.lt(newest - TimeDelta::hours(USAGE_ROUTERS_KEPT.into())))
                .exec(tx)
                .await?;
        }
        Ok(sent)
    }
}

fn newest(times: impl Iterator<Item = (Uuid, DateTime<Utc>)>) -> BTreeMap<Uuid, DateTime<Utc>> {
    let mut newest = BTreeMap::new();
    for (partner, time) in times {
        let known = newest.entry(partner).or_insert(time);
        *known = time.max(*known);
    }
    newest
}

fn count(value: u64, column: &'static str) -> Result<i64, Unfit> {
    i64::try_from(value).map_err(|_| Unfit::Value(column))
}

fn hour(row: UsageRow, version: Version) -> Result<partner_usage::Model, Unfit> {
    let UsageRow { partner_id, slug, hour, operation, tally } = row;
    Ok(partner_usage::Model {
        partner_id: partner_id.0,
        hour,
        operation_id: operation,
        slug: slug.to_string(),
        ok: count(tally.ok, "ok")?,
        error: count(tally.error, "error")?,
        refused: count(tally.refused, "refused")?,
        rate_limited: count(tally.rate_limited, "rate_limited")?,
        cost: count(tally.cost, "cost")?,
        actual_cost: count(tally.actual_cost, "actual_cost")?,
        latency: serde_json::to_value(&tally.latency).map_err(|_| Unfit::Value("latency"))?,
        last_at: tally.last_at,
        version: stored_version(version),
    })
}

fn total(row: UsageTotalRow, version: Version) -> Result<partner_usage_totals::Model, Unfit> {
    let UsageTotalRow { partner_id, slug, of, name, total } = row;
    Ok(partner_usage_totals::Model {
        partner_id: partner_id.0,
        total_of: text(&of, "total_of")?,
        name,
        slug: slug.to_string(),
        calls: count(total.calls, "calls")?,
        cost: count(total.cost, "cost")?,
        last_at: total.last_at,
        version: stored_version(version),
    })
}

fn router(row: UsageRouterRow, version: Version) -> partner_usage_routers::Model {
    let UsageRouterRow { partner_id, slug, router, sequence, last_at } = row;
    partner_usage_routers::Model {
        partner_id: partner_id.0,
        router_id: router,
        slug: slug.to_string(),
        sequence: i64::try_from(sequence).unwrap_or(i64::MAX),
        last_at,
        version: stored_version(version),
    }
}
