//! Partners' calls by month, by operation and by key, kept for good.

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
CREATE TABLE partner_usage_totals (
    partner_id uuid NOT NULL,
    total_of text NOT NULL CHECK (total_of IN ('month', 'operation', 'key')),
    name text NOT NULL,
    slug text NOT NULL,
    calls bigint NOT NULL,
    cost bigint NOT NULL,
    last_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (partner_id, total_of, name)
);
";
