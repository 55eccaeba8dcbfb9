//! Messages; positions are dense. By conversation.

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
CREATE TABLE messages (
    conversation_id uuid NOT NULL,
    position bigint NOT NULL CHECK (position > 0),
    message_id text NOT NULL,
    event_id uuid NOT NULL,
    client_id text NOT NULL,
    sender_id uuid NOT NULL,
    body text NOT NULL,
    sent_at timestamptz NOT NULL,
    edited_at timestamptz,
    deleted boolean NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (conversation_id, position),
    CHECK (NOT deleted OR body = '')
);
";
