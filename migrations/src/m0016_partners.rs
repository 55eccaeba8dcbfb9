//! One row a partner, by its id, which follows from its short name.

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
CREATE TABLE partners (
    partner_id uuid PRIMARY KEY,
    slug text NOT NULL,
    name text NOT NULL,
    user_id uuid NOT NULL,
    limits jsonb NOT NULL,
    disabled boolean NOT NULL,
    created_at timestamptz NOT NULL,
    request_id uuid NOT NULL,
    version bigint NOT NULL
);
";
