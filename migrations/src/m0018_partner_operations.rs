//! Operations that partners call by their ids; retired ones stay, so that an id keeps its meaning.

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
CREATE TABLE partner_operations (
    partner_id uuid NOT NULL,
    operation_id text NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('query', 'mutation', 'subscription')),
    body text NOT NULL,
    cost bigint NOT NULL,
    client_name text NOT NULL,
    release bigint NOT NULL,
    published_at timestamptz NOT NULL,
    retired_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (partner_id, operation_id)
);
";
