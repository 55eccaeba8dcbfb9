//! Who has which address; the one place where addresses are unique. By address, in lower case.

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
CREATE TABLE account_emails (
    email_normalized text PRIMARY KEY,
    user_id uuid NOT NULL,
    command_id uuid NOT NULL,
    version bigint NOT NULL,
    CHECK (email_normalized = lower(email_normalized))
);
";
