//! Sign-ins, with the hashes of their refresh tokens. By user.

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
CREATE TABLE sessions (
    user_id uuid NOT NULL,
    family_id uuid NOT NULL,
    current_hash text NOT NULL,
    previous_hash text,
    replaced_at timestamptz,
    grace_used boolean NOT NULL,
    started_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    version bigint NOT NULL,
    PRIMARY KEY (user_id, family_id)
);
";
