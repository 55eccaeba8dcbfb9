//! Rows of matching, read back.

use super::rows::{blocks, matches, swipes};
use crate::{
    accounts::{self, rows::users},
    messaging,
    retry::Stopped,
    table::{Unfit, value_of, version_of},
    warm::{Dump, LoadError, Reads, Warmed},
};
use sea_orm::{ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, ExprTrait as _, QueryFilter};
use uuid::Uuid;
use velvet_kernel::{fold::Version, id::UserId};
use velvet_matching::{
    event::{BlockRow, MatchRow, Row, SwipeRow, UserRow},
    model::{ConversationId, MatchId},
};

const DOMAIN: &str = velvet_matching::DOMAIN.name;

/// A user, or what two users have said of each other.
pub async fn entity(reads: &Reads, entity: &str) -> Result<Vec<Warmed>, LoadError> {
    let Some((one, other)) = entity.split_once(':') else {
        return user(reads, entity).await;
    };
    let (Some(one), Some(other)) = (UserId::parse(one), UserId::parse(other)) else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    for (owner, partner) in [(one, other), (other, one)] {
        let tx = reads.open(DOMAIN, &owner.to_string()).await?;
        let side = Side::read(&tx, owner.0, partner.0).await?;
        tx.commit().await?;
        if let Some(swipe) = side.swipe {
            rows.extend(warmed_swipe(swipe)?);
        }
        if let Some(matched) = side.matched {
            rows.extend(warmed_match(matched)?);
        }
        if let Some(block) = side.block {
            rows.push(warmed_block(&block));
        }
    }
    Ok(rows)
}

/// What one of a pair owns.
struct Side {
    swipe: Option<swipes::Model>,
    matched: Option<matches::Model>,
    block: Option<blocks::Model>,
}

impl Side {
    async fn read(tx: &DatabaseTransaction, owner: Uuid, partner: Uuid) -> Result<Self, DbErr> {
        let pair = matches::Column::OwnerId.eq(owner).and(matches::Column::OtherId.eq(partner));
        Ok(Self {
            swipe: swipes::Entity::find_by_id((owner, partner)).one(tx).await?,
            matched: matches::Entity::find().filter(pair).one(tx).await?,
            block: blocks::Entity::find_by_id((owner, partner)).one(tx).await?,
        })
    }
}

async fn user(reads: &Reads, entity: &str) -> Result<Vec<Warmed>, LoadError> {
    let Some(UserId(id)) = UserId::parse(entity) else { return Ok(Vec::new()) };
    let tx = reads.open(velvet_accounts::DOMAIN.name, entity).await?;
    let user = users::Entity::find_by_id(id).one(&tx).await?;
    tx.commit().await?;
    Ok(user.map(warmed_user).transpose()?.into_iter().collect())
}

/// One shard's swipes, matches and blocks; all three domains keep the blocks.
pub async fn all(dump: &Dump<'_>) -> Result<(), Stopped> {
    dump.table::<swipes::Model>(warmed_swipe).await?;
    dump.table::<matches::Model>(warmed_match).await?;
    dump.table::<blocks::Model>(|block| {
        let (by, whom, blocked_at) = (UserId(block.blocker_id), UserId(block.blocked_id), block.blocked_at);
        let for_accounts = velvet_accounts::row::BlockRow { blocker_id: by, blocked_id: whom, blocked_at };
        let for_messaging = velvet_messaging::row::BlockRow { blocker_id: by, blocked_id: whom, blocked_at };
        Ok(vec![
            warmed_block(&block),
            accounts::load::warmed_block(for_accounts),
            messaging::load::warmed_block(for_messaging),
        ])
    })
    .await
}

/// A user, as the deck needs it. Its version is of accounts' log, so it travels in the row.
pub fn warmed_user(user: users::Model) -> Result<Warmed, Unfit> {
    let source_version = version_of(user.version).0;
    let unfit = |_| Unfit::Value("user");
    let row = serde_json::to_value(accounts::load::user_row(user)?).map_err(unfit)?;
    // Accounts' row has all that matching reads, under the same names, as on the log.
    let row: UserRow = serde_json::from_value(row).map_err(unfit)?;
    let row = Row::User(UserRow { source_version, ..row });
    Ok(Warmed::new(DOMAIN, row.entity(), Version::default(), row))
}

fn warmed_swipe(swipe: swipes::Model) -> Result<Vec<Warmed>, Unfit> {
    let version = version_of(swipe.version);
    let row = Row::Swipe(SwipeRow {
        swiper_id: UserId(swipe.swiper_id),
        swiped_id: UserId(swipe.swiped_id),
        action: value_of(swipe.action, "action")?,
        event_id: swipe.event_id,
        swiped_at: swipe.swiped_at,
        matched: swipe.matched,
    });
    Ok(vec![Warmed::new(DOMAIN, row.entity(), version, row)])
}

fn warmed_match(matched: matches::Model) -> Result<Vec<Warmed>, Unfit> {
    let version = version_of(matched.version);
    let row = Row::Match(MatchRow {
        match_id: MatchId(matched.match_id),
        owner_id: UserId(matched.owner_id),
        other_id: UserId(matched.other_id),
        matched_at: matched.matched_at,
        status: value_of(matched.status, "status")?,
        ended_at: matched.ended_at,
        ended_by: matched.ended_by.map(UserId),
        conversation_id: ConversationId(matched.conversation_id),
    });
    Ok(vec![Warmed::new(DOMAIN, row.entity(), version, row)])
}

fn warmed_block(block: &blocks::Model) -> Warmed {
    let version = version_of(block.version);
    let row = Row::Block(BlockRow {
        blocker_id: UserId(block.blocker_id),
        blocked_id: UserId(block.blocked_id),
        blocked_at: block.blocked_at,
    });
    Warmed::new(DOMAIN, row.entity(), version, row)
}
