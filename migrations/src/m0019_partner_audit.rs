//! What was done with partners, by whom; rows are only added.

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
CREATE TABLE partner_audit (
    partner_id uuid NOT NULL,
    event_id uuid NOT NULL,
    slug text NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (partner_id, event_id)
);
";
