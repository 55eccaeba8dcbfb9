//! Reactions to messages; a removed one stays as a mark. By conversation.

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
CREATE TABLE reactions (
    conversation_id uuid NOT NULL,
    position bigint NOT NULL,
    user_id uuid NOT NULL,
    emoji text NOT NULL,
    removed boolean NOT NULL,
    reacted_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (conversation_id, position, user_id, emoji)
);
";
