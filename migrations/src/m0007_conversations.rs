//! Conversations. By conversation.

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
CREATE TABLE conversations (
    conversation_id uuid PRIMARY KEY,
    match_id uuid NOT NULL,
    user_a_id uuid NOT NULL,
    user_b_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('open', 'closed')),
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    version bigint NOT NULL,
    CHECK (user_a_id < user_b_id),
    CHECK ((status = 'closed') = (closed_at IS NOT NULL))
);
";
