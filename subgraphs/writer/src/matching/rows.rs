//! Decided events of matching to rows.

use crate::{
    domain::Changes,
    table::{Unfit, Upserts, stored, stored_version, text},
};
use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, DbErr};
use uuid::Uuid;
use velvet_kernel::{fold::Version, log::Recorded};
use velvet_matching::event::{BLOCKED, BlockRow, MATCHED, MatchRow, SWIPE, SwipeRow, UNMATCHED};

/// Who swiped whom.
pub mod swipes {
    use sea_orm::entity::prelude::*;

    /// The last swipe of one about the other.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "swipes")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub swiper_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub swiped_id: Uuid,
        pub action: String,
        pub event_id: Uuid,
        pub swiped_at: DateTimeUtc,
        pub matched: bool,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Matches, once for each of the two.
pub mod matches {
    use sea_orm::entity::prelude::*;

    /// A match, as one partner has it.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "matches")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub owner_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub match_id: Uuid,
        pub other_id: Uuid,
        pub matched_at: DateTimeUtc,
        pub status: String,
        pub ended_at: Option<DateTimeUtc>,
        pub ended_by: Option<Uuid>,
        pub conversation_id: Uuid,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Who blocks whom.
pub mod blocks {
    use sea_orm::entity::prelude::*;

    /// A block.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "blocks")]
    #[expect(missing_docs, reason = "the columns are the fields of the domain's row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub blocker_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub blocked_id: Uuid,
        pub blocked_at: DateTimeUtc,
        pub version: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

stored!(swipes: swiper_id: Uuid, swiped_id: Uuid);
stored!(matches: owner_id: Uuid, match_id: Uuid);
stored!(blocks: blocker_id: Uuid, blocked_id: Uuid);

/// Rows on their way.
#[derive(Debug, Default)]
pub struct Rows {
    swipes: Upserts<swipes::Model>,
    matches: Upserts<matches::Model>,
    blocks: Upserts<blocks::Model>,
}

#[async_trait]
impl Changes for Rows {
    fn add(&mut self, event: &Recorded) -> Result<(), Unfit> {
        match event.kind.as_str() {
            SWIPE => self.swipes.add(swipe(&event.parse()?, event.version)?),
            MATCHED | UNMATCHED => self.matches.add(matched(&event.parse()?, event.version)?),
            BLOCKED => self.blocks.add(block(&event.parse()?, event.version)),
            other => return Err(Unfit::Unknown(other.to_owned())),
        }
        Ok(())
    }

    async fn write(&self, tx: &DatabaseTransaction) -> Result<u64, DbErr> {
        Ok(self.swipes.write(tx).await? + self.matches.write(tx).await? + self.blocks.write(tx).await?)
    }
}

fn swipe(row: &SwipeRow, version: Version) -> Result<swipes::Model, Unfit> {
    Ok(swipes::Model {
        swiper_id: row.swiper_id.0,
        swiped_id: row.swiped_id.0,
        action: text(&row.action, "action")?,
        event_id: row.event_id,
        swiped_at: row.swiped_at,
        matched: row.matched,
        version: stored_version(version),
    })
}

fn matched(row: &MatchRow, version: Version) -> Result<matches::Model, Unfit> {
    Ok(matches::Model {
        owner_id: row.owner_id.0,
        match_id: row.match_id.0,
        other_id: row.other_id.0,
        matched_at: row.matched_at,
        status: text(&row.status, "status")?,
        ended_at: row.ended_at,
        ended_by: row.ended_by.map(|user| user.0),
        conversation_id: row.conversation_id.0,
        version: stored_version(version),
    })
}

fn block(row: &BlockRow, version: Version) -> blocks::Model {
    blocks::Model {
        blocker_id: row.blocker_id.0,
        blocked_id: row.blocked_id.0,
        blocked_at: row.blocked_at,
        version: stored_version(version),
    }
}
