//! Rows of messaging, read back.

use super::rows::{conversations, messages, reactions, read_marks};
use crate::{
    retry::Stopped,
    table::{Unfit, page, value_of, version_of},
    warm::{Dump, LoadError, Reads, Warmed},
};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseBackend, DbErr, EntityTrait, ExprTrait as _, FromQueryResult, QueryFilter,
    QueryOrder, QuerySelect, Statement,
};
use std::ops::RangeInclusive;
use uuid::Uuid;
use velvet_kernel::{fold::Version, id::UserId};
use velvet_messaging::{
    BLOCK_SIZE, BLOCKS_KEPT,
    model::{ConversationId, MatchId},
    row::{BlockRow, ConversationRow, MessageRow, ReactionRow, ReadRow, Row},
};

const DOMAIN: &str = velvet_messaging::NAME;
/// What a rebuild reads of each conversation: the blocks that stay. Older ones are warmed when asked for.
const NEWEST: i64 = BLOCK_SIZE * BLOCKS_KEPT;
/// Conversations whose messages are read at once: at most 15,000 messages.
const CONVERSATIONS_AT_ONCE: u64 = 50;

/// A conversation: what is said of it, and of its messages one block (`block:<n>`), or the newest.
pub async fn conversation(reads: &Reads, entity: &str, scope: &str) -> Result<Vec<Warmed>, LoadError> {
    let Some(ConversationId(id)) = ConversationId::parse(entity) else { return Ok(Vec::new()) };
    let tx = reads.open(DOMAIN, entity).await?;
    let about = conversations::Entity::find_by_id(id).one(&tx).await?;
    let marks = read_marks::Entity::find().filter(read_marks::Column::ConversationId.eq(id)).all(&tx).await?;
    let positions = match positions_of(scope) {
        Some(block) => block,
        None => newest(&tx, id).await?,
    };
    let (first, last) = positions.into_inner();
    let reacted = reactions::Column::ConversationId.eq(id).and(reactions::Column::Position.between(first, last));
    let reacted = reactions::Entity::find().filter(reacted).all(&tx).await?;
    let said = messages::Column::ConversationId.eq(id).and(messages::Column::Position.between(first, last));
    let said = messages::Entity::find().filter(said).all(&tx).await?;
    tx.commit().await?;
    let mut rows = Vec::with_capacity(said.len() + reacted.len() + marks.len() + 1);
    if let Some(about) = about {
        rows.extend(warmed_conversation(about)?);
    }
    rows.extend(marks.iter().flat_map(warmed_read));
    // Before the messages, so that none is shown without its reactions.
    rows.extend(reacted.into_iter().flat_map(warmed_reaction));
    rows.extend(said.into_iter().flat_map(warmed_message));
    Ok(rows)
}

/// The positions of a block, counted from 0; positions are counted from 1.
fn positions_of(scope: &str) -> Option<RangeInclusive<i64>> {
    let block: i64 = scope.strip_prefix("block:")?.parse().ok()?;
    let before = block.checked_mul(BLOCK_SIZE).filter(|before| *before >= 0)?;
    Some(before + 1..=before.checked_add(BLOCK_SIZE)?)
}

async fn newest<C: ConnectionTrait>(tx: &C, id: Uuid) -> Result<RangeInclusive<i64>, DbErr> {
    let last = messages::Entity::find()
        .filter(messages::Column::ConversationId.eq(id))
        .order_by_desc(messages::Column::Position)
        .limit(1)
        .one(tx)
        .await?;
    let last = last.map_or(0, |message| message.position);
    Ok(last - NEWEST + 1..=last)
}

/// One shard's conversations, with the newest messages of each. Members are not read back: a
/// conversation names both.
pub async fn all(dump: &Dump<'_>) -> Result<(), Stopped> {
    dump.table::<read_marks::Model>(|mark| Ok(warmed_read(&mark))).await?;
    let mut last: Option<conversations::Model> = None;
    loop {
        let found: Vec<conversations::Model> =
            dump.read(|| page(dump.db, last.as_ref(), CONVERSATIONS_AT_ONCE)).await?;
        let Some(end) = found.last().cloned() else { return Ok(()) };
        last = Some(end);
        let ids: Vec<Uuid> = found.iter().map(|conversation| conversation.conversation_id).collect();
        dump.put(found.into_iter().map(warmed_conversation)).await?;
        let reacted = dump.read(|| newest_of::<reactions::Model>(dump.db, NEWEST_REACTIONS, &ids)).await?;
        dump.put(reacted.into_iter().map(|reaction| Ok(warmed_reaction(reaction)))).await?;
        let said = dump.read(|| newest_of::<messages::Model>(dump.db, NEWEST_MESSAGES, &ids)).await?;
        dump.put(said.into_iter().map(|message| Ok(warmed_message(message)))).await?;
    }
}

const NEWEST_MESSAGES: &str = "SELECT m.* FROM unnest($1::uuid[]) AS c (id) CROSS JOIN LATERAL (\
    SELECT * FROM messages WHERE conversation_id = c.id ORDER BY position DESC LIMIT $2) AS m";

const NEWEST_REACTIONS: &str = "SELECT r.* FROM unnest($1::uuid[]) AS c (id) \
    CROSS JOIN LATERAL (SELECT max(position) AS last FROM messages WHERE conversation_id = c.id) AS m \
    JOIN reactions AS r ON r.conversation_id = c.id AND r.position > m.last - $2";

async fn newest_of<M: FromQueryResult>(db: &impl ConnectionTrait, sql: &str, ids: &[Uuid]) -> Result<Vec<M>, DbErr> {
    let values = [ids.to_vec().into(), NEWEST.into()];
    let statement = Statement::from_sql_and_values(DatabaseBackend::Postgres, sql, values);
    M::find_by_statement(statement).all(db).await
}

/// A block, as the conversation of the two keeps it. Its version is of matching's log, so messaging
/// orders nothing by it.
pub fn warmed_block(block: BlockRow) -> Warmed {
    let row = Row::Block(block);
    Warmed::new(DOMAIN, row.entity(), Version::default(), row)
}

fn warmed(version: i64, row: Row) -> Vec<Warmed> {
    vec![Warmed::new(DOMAIN, row.entity(), version_of(version), row)]
}

fn warmed_conversation(stored: conversations::Model) -> Result<Vec<Warmed>, Unfit> {
    let row = ConversationRow {
        conversation_id: ConversationId(stored.conversation_id),
        match_id: MatchId(stored.match_id),
        user_a_id: UserId(stored.user_a_id),
        user_b_id: UserId(stored.user_b_id),
        status: value_of(stored.status, "status")?,
        opened_at: stored.opened_at,
        closed_at: stored.closed_at,
    };
    Ok(warmed(stored.version, Row::Conversation(row)))
}

fn warmed_message(stored: messages::Model) -> Vec<Warmed> {
    let row = MessageRow {
        conversation_id: ConversationId(stored.conversation_id),
        position: stored.position,
        message_id: stored.message_id,
        event_id: stored.event_id,
        client_id: stored.client_id,
        sender_id: UserId(stored.sender_id),
        body: stored.body,
        sent_at: stored.sent_at,
        edited_at: stored.edited_at,
        deleted: stored.deleted,
    };
    warmed(stored.version, Row::Message(row))
}

fn warmed_reaction(stored: reactions::Model) -> Vec<Warmed> {
    let row = ReactionRow {
        conversation_id: ConversationId(stored.conversation_id),
        position: stored.position,
        user_id: UserId(stored.user_id),
        emoji: stored.emoji,
        removed: stored.removed,
        reacted_at: stored.reacted_at,
    };
    warmed(stored.version, Row::Reaction(row))
}

fn warmed_read(stored: &read_marks::Model) -> Vec<Warmed> {
    let row = ReadRow {
        conversation_id: ConversationId(stored.conversation_id),
        user_id: UserId(stored.user_id),
        position: stored.position,
        read_at: stored.read_at,
    };
    warmed(stored.version, Row::Read(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_positions() {
        assert_eq!(positions_of("block:0"), Some(1..=100));
        assert_eq!(positions_of("block:7"), Some(701..=800));
        for wrong in ["", "block:", "block:-1", "block:99999999999999999999", "blocks:1", "block:92233720368547758"] {
            assert_eq!(positions_of(wrong), None, "{wrong}");
        }
    }
}
