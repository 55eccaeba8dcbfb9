//! The outbox: events that were decided in a transaction, on their way to the log.

use crate::{
    domain::Outgoing,
    retry::{self, Stopped},
    shards::Shards,
    table::stored_version,
};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use velvet_kernel::{
    fold::Version,
    log::{AppendError, Log, NewEvent, Topic},
};

/// Events that are handed to the log at once.
const PAGE: u64 = 1_000;

/// The table.
pub mod entity {
    use sea_orm::entity::prelude::*;

    /// An event on its way.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "outbox")]
    pub struct Model {
        /// The order in which events go out.
        #[sea_orm(primary_key)]
        pub id: i64,
        /// Where to.
        pub topic: String,
        /// The event's key.
        #[sea_orm(column_type = "Text")]
        pub key: String,
        /// The event's id.
        pub event_id: Uuid,
        /// The event's type.
        pub kind: String,
        /// When it happened.
        pub occurred_at: DateTimeUtc,
        /// The version of what caused it.
        pub version: Option<i64>,
        /// The event's data.
        #[sea_orm(column_type = "Text")]
        pub data: String,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Puts events in the outbox, in the transaction of what they tell of.
pub async fn put<C: ConnectionTrait>(tx: &C, events: Vec<Outgoing>) -> Result<(), DbErr> {
    let rows = events.into_iter().map(|Outgoing { topic, event }| entity::ActiveModel {
        id: NotSet,
        topic: Set(topic.0),
        key: Set(event.key),
        event_id: Set(event.id),
        kind: Set(event.kind),
        occurred_at: Set(event.time),
        version: Set(event.version.map(stored_version)),
        data: Set(String::from_utf8_lossy(&event.data).into_owned()),
    });
    entity::Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}

/// Carries outboxes to the log.
#[derive(Clone)]
pub struct Carrier {
    /// The shards.
    pub shards: Arc<Shards>,
    /// The log.
    pub log: Log,
    /// Ends the attempts.
    pub stop: CancellationToken,
}

/// Why an outbox is not empty yet.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reading or emptying an outbox")]
    Database(#[from] DbErr),
    #[error("appending from an outbox")]
    Append(#[from] AppendError),
}

impl Carrier {
    /// Empties a shard's outbox: rows go once the log has them, so a crash appends some of them again,
    /// under the same ids.
    pub async fn empty(&self, shard: u8) -> Result<(), Stopped> {
        while retry::until_done("outbox", &self.stop, || self.carry(shard)).await? == PAGE {}
        Ok(())
    }

    async fn carry(&self, shard: u8) -> Result<u64, Error> {
        let db = self.shards.primary(shard);
        let rows = entity::Entity::find().order_by_asc(entity::Column::Id).limit(PAGE).all(db).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let events: Vec<(Topic, NewEvent)> = rows.into_iter().map(event_of).collect();
        self.log.append_all(events.iter().map(|(topic, event)| (topic, event))).await?;
        entity::Entity::delete_many().filter(entity::Column::Id.is_in(ids)).exec(db).await?;
        metrics::counter!("velvet_writer_outbox_sent_total").increment(events.len() as u64);
        Ok(events.len() as u64)
    }
}

fn event_of(row: entity::Model) -> (Topic, NewEvent) {
    let event = NewEvent {
        id: row.event_id,
        kind: row.kind,
        key: row.key,
        time: row.occurred_at,
        version: row.version.map(|version| Version(version.unsigned_abs())),
        data: row.data.into_bytes(),
    };
    (Topic(row.topic), event)
}
