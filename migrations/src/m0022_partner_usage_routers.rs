//! Up to which batch each router's counts of a partner's calls are in; kept for as long as a batch may come again.

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
CREATE TABLE partner_usage_routers (
    partner_id uuid NOT NULL,
    router_id uuid NOT NULL,
    slug text NOT NULL,
    sequence bigint NOT NULL,
    last_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (partner_id, router_id)
);
";
