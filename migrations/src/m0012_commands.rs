//! What was decided of each command, for whoever asks again. In the shard of the command's key.

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
CREATE TABLE commands (
    command_id uuid PRIMARY KEY,
    kind text NOT NULL,
    outcome jsonb NOT NULL,
    decided_at timestamptz NOT NULL,
    version bigint NOT NULL
);
";
