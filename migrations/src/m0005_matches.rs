//! A match, once for each of the two. By owner.

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
CREATE TABLE matches (
    owner_id uuid NOT NULL,
    match_id uuid NOT NULL,
    other_id uuid NOT NULL,
    matched_at timestamptz NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'unmatched', 'blocked')),
    ended_at timestamptz,
    ended_by uuid,
    conversation_id uuid NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (owner_id, match_id),
    CHECK (owner_id <> other_id),
    CHECK ((status = 'active') = (ended_at IS NULL))
);
-- Each of the two has a row, so the owner stands for either side. A pair matches once for ever.
CREATE UNIQUE INDEX idx_matches_pair ON matches (owner_id, other_id);
CREATE INDEX idx_matches_active ON matches (owner_id, matched_at DESC) WHERE status = 'active';
";
