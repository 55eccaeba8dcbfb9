//! Partners' keys, by the part that names them; of the rest there is only a hash.

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
CREATE TABLE partner_keys (
    partner_id uuid NOT NULL,
    prefix text NOT NULL,
    slug text NOT NULL,
    hash text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('test', 'live')),
    scopes jsonb NOT NULL,
    require_signature boolean NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    request_id uuid NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (partner_id, prefix)
);
";
