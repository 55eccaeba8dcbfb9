//! Who swiped whom, and how. By swiper.

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
CREATE TABLE swipes (
    swiper_id uuid NOT NULL,
    swiped_id uuid NOT NULL,
    action text NOT NULL CHECK (action IN ('like', 'pass', 'super_like')),
    event_id uuid NOT NULL,
    swiped_at timestamptz NOT NULL,
    matched boolean NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (swiper_id, swiped_id),
    CHECK (swiper_id <> swiped_id)
);
-- By swiper is what the primary key does. One index by the swiped person serves both of the others
-- that were asked for; whether a like is mutual is judged by the fold, never asked of a table.
CREATE INDEX idx_swipes_swiped ON swipes (swiped_id, swiper_id);
";
