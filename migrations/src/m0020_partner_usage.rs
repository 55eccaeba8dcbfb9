//! Partners' calls by hour and operation, kept for 35 days; the operation is empty where a call named none.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(UP).await.map(drop)
    }
}

const UP: &str = r"
CREATE TABLE partner_usage (
    partner_id uuid NOT NULL,
    hour timestamptz NOT NULL,
    operation_id text NOT NULL,
    slug text NOT NULL,
    ok bigint NOT NULL,
    error bigint NOT NULL,
    refused bigint NOT NULL,
    rate_limited bigint NOT NULL,
    cost bigint NOT NULL,
    actual_cost bigint NOT NULL,
    latency jsonb NOT NULL,
    last_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (partner_id, hour, operation_id)
);
";
