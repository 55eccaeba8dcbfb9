//! How far each shard has been written. The position moves in the transaction of what was read, by
//! compare-and-set: a writer that has lost its partition cannot move it, so its transaction fails.

use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, Statement};
use std::collections::{BTreeMap, HashMap};
use velvet_kernel::log::{Partition, Topic};

/// The position of each partition: the offset of what comes next.
pub type Positions = BTreeMap<Place, i64>;

/// A partition of a topic, in an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

impl From<&Partition> for Place {
    fn from((topic, partition): &Partition) -> Self {
        Self { topic: topic.0.clone(), partition: *partition }
    }
}

/// Another writer has moved the position meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do it.
    #[error("moving the positions of the log")]
    Database(#[from] DbErr),
    /// The stored position is not the one that was read at assignment.
    #[error("another writer has moved a position of {topic}")]
    Overtaken {
        /// One of the topics.
        topic: String,
    },
}

const READ: &str = "SELECT topic, partition, next_offset FROM log_positions";

const MAKE: &str = "INSERT INTO log_positions (topic, partition, next_offset) \
    SELECT topic, partition, 0 FROM unnest($1::text[], $2::integer[]) AS n (topic, partition) \
    ON CONFLICT DO NOTHING";

const MOVE: &str = "UPDATE log_positions AS p SET next_offset = m.upto \
    FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS m (topic, partition, since, upto) \
    WHERE p.topic = m.topic AND p.partition = m.partition AND p.next_offset = m.since";

fn statement(sql: &str, values: Vec<sea_orm::Value>) -> Statement {
    Statement::from_sql_and_values(DatabaseBackend::Postgres, sql, values)
}

/// All positions of a shard.
pub async fn read<C: ConnectionTrait>(db: &C) -> Result<HashMap<Place, i64>, DbErr> {
    let rows = db.query_all_raw(statement(READ, Vec::new())).await?;
    rows.into_iter()
        .map(|row| {
            let place = Place { topic: row.try_get("", "topic")?, partition: row.try_get("", "partition")? };
            Ok((place, row.try_get("", "next_offset")?))
        })
        .collect()
}

/// The positions of these partitions; those that are new begin at 0.
pub async fn claim<C: ConnectionTrait>(db: &C, places: &[Place]) -> Result<Positions, DbErr> {
    let topics: Vec<String> = places.iter().map(|place| place.topic.clone()).collect();
    let partitions: Vec<i32> = places.iter().map(|place| place.partition).collect();
    db.execute_raw(statement(MAKE, vec![topics.into(), partitions.into()])).await?;
    let mut stored = read(db).await?;
    let position = |place: &Place| stored.remove(place).map(|position| (place.clone(), position));
    Ok(places.iter().filter_map(position).collect())
}

/// Moves positions from where they were read.
pub async fn advance<C: ConnectionTrait>(db: &C, since: &Positions, upto: &Positions) -> Result<(), Error> {
    let moves: Vec<(&Place, i64, i64)> = upto
        .iter()
        .filter_map(|(place, upto)| since.get(place).map(|since| (place, *since, *upto)))
        .filter(|(_, since, upto)| upto > since)
        .collect();
    let Some((first, ..)) = moves.first() else {
        return Ok(());
    };
    let topics: Vec<String> = moves.iter().map(|(place, ..)| place.topic.clone()).collect();
    let partitions: Vec<i32> = moves.iter().map(|(place, ..)| place.partition).collect();
    let old: Vec<i64> = moves.iter().map(|(_, since, _)| *since).collect();
    let new: Vec<i64> = moves.iter().map(|(.., upto)| *upto).collect();
    let values = vec![topics.into(), partitions.into(), old.into(), new.into()];
    let changed = db.execute_raw(statement(MOVE, values)).await?.rows_affected();
    if changed == moves.len() as u64 { Ok(()) } else { Err(Error::Overtaken { topic: first.topic.clone() }) }
}

/// The topic of a place.
pub fn topic_of(place: &Place) -> Topic {
    Topic(place.topic.clone())
}
