//! Who is in which conversation. By member.

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
CREATE TABLE conversation_members (
    user_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    other_id uuid NOT NULL,
    joined_at timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (user_id, conversation_id)
);
";
