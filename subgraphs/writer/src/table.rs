//! Writing and reading tables whose rows carry versions.

use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, Iterable, ModelTrait, PrimaryKeyToColumn, QueryFilter,
    QueryOrder, QuerySelect, Value,
    sea_query::{Expr, ExprTrait, OnConflict},
};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use velvet_kernel::{fold::Version, log::Malformed};

/// PostgreSQL takes 65,535 parameters in one statement.
const PARAMETERS_MAX: usize = 65_535;

/// Why a decided event makes no row.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Its data does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The writer does not know its type.
    #[error("{0} is no type of event that the writer knows")]
    Unknown(String),
    /// A value does not fit its column.
    #[error("{0} does not fit its column")]
    Value(&'static str),
}

/// A row that knows what it is a row of, and how new it is.
pub trait Stored: ModelTrait + Clone + IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel> {
    /// The values of the primary key.
    type Key: Ord + Clone + Send + Sync;

    /// Which row this is.
    fn key(&self) -> Self::Key;

    /// How new it is.
    fn version(&self) -> i64;
}

/// Says which columns are the primary key of a row.
macro_rules! stored {
    ($table:ident: $($column:ident: $kind:ty),+) => {
        impl $crate::table::Stored for $table::Model {
            type Key = ($($kind,)+);

            fn key(&self) -> Self::Key {
                ($(self.$column.clone(),)+)
            }

            fn version(&self) -> i64 {
                self.version
            }
        }
    };
}
pub(crate) use stored;

/// A version as the database has it.
pub fn stored_version(version: Version) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}

/// A version as the log has it.
pub fn version_of(stored: i64) -> Version {
    Version(stored.unsigned_abs())
}

/// The text by which a value of an enumeration is stored: the same as on the log.
pub fn text<T: Serialize>(value: &T, column: &'static str) -> Result<String, Unfit> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => Err(Unfit::Value(column)),
    }
}

/// The value that a stored text stands for.
pub fn value_of<T: DeserializeOwned>(text: String, column: &'static str) -> Result<T, Unfit> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|_| Unfit::Value(column))
}

/// Rows on their way to a table, each key once: PostgreSQL refuses to touch a row twice in one
/// statement. They are in the order of their keys, so that two transactions never wait for each other
/// in a circle.
#[derive(Debug)]
pub struct Upserts<M: Stored>(BTreeMap<M::Key, M>);

impl<M: Stored> Default for Upserts<M> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<M: Stored> Upserts<M> {
    /// Adds a row; the newest of a key stays.
    pub fn add(&mut self, row: M) {
        match self.0.entry(row.key()) {
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(row)),
            std::collections::btree_map::Entry::Occupied(mut place) => {
                if row.version() > place.get().version() {
                    place.insert(row);
                }
            }
        }
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &M> {
        self.0.values()
    }

    /// Writes those rows that are newer than what is stored. Returns how many were sent.
    pub async fn write<C: ConnectionTrait>(&self, db: &C) -> Result<u64, DbErr> {
        type Column<M> = <<M as ModelTrait>::Entity as EntityTrait>::Column;
        let columns = Column::<M>::iter().count().max(1);
        let rows: Vec<&M> = self.0.values().collect();
        for chunk in rows.chunks(PARAMETERS_MAX / columns) {
            <M::Entity as EntityTrait>::insert_many(chunk.iter().map(|row| (*row).clone().into_active_model()))
                .on_conflict(newer_wins::<M::Entity>())
                .exec_without_returning(db)
                .await?;
        }
        Ok(rows.len() as u64)
    }
}

fn newer_wins<E: EntityTrait>() -> OnConflict {
    let keys: Vec<E::Column> = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect();
    let is_key = |column: &E::Column| keys.iter().any(|key| format!("{key:?}") == format!("{column:?}"));
    let rest: Vec<E::Column> = E::Column::iter().filter(|column| !is_key(column)).collect();
    let newer = format!("excluded.version > {}.version", E::default().table_name());
    OnConflict::columns(keys).update_columns(rest).action_and_where(Expr::cust(newer)).to_owned()
}

/// One page of a table in the order of its primary key.
pub async fn page<C: ConnectionTrait, M: Stored>(db: &C, after: Option<&M>, limit: u64) -> Result<Vec<M>, DbErr>
where
    M::Entity: EntityTrait<Model = M>,
{
    type Key<M> = <<M as ModelTrait>::Entity as EntityTrait>::PrimaryKey;
    let mut query = M::Entity::find();
    if let Some(last) = after {
        let columns = Key::<M>::iter().map(|key| Expr::col(key.into_column()));
        let values: Vec<Value> = Key::<M>::iter().map(|key| last.get(key.into_column())).collect();
        query = query.filter(Expr::tuple(columns).gt(Expr::tuple(values.into_iter().map(Expr::value))));
    }
    for key in Key::<M>::iter() {
        query = query.order_by_asc(key.into_column());
    }
    query.limit(limit).all(db).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::rows::read_marks;
    use sea_orm::{DatabaseBackend, QueryTrait};
    use uuid::Uuid;

    fn mark(user: u128, position: i64, version: i64) -> read_marks::Model {
        read_marks::Model {
            conversation_id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(user),
            position,
            read_at: chrono::DateTime::UNIX_EPOCH,
            version,
        }
    }

    #[test]
    fn the_newest_row_of_a_key_stays_whatever_the_order() {
        let mut upserts = Upserts::default();
        for row in [mark(7, 1, 256), mark(8, 9, 512), mark(7, 3, 768), mark(7, 2, 512), mark(7, 4, 768)] {
            upserts.add(row);
        }
        let rows: Vec<i64> = upserts.rows().map(|row| row.position).collect();
        assert_eq!(rows, [3, 9]);
    }

    #[test]
    fn a_stored_row_yields_to_a_newer_one_only() {
        let statement = read_marks::Entity::insert_many([sea_orm::IntoActiveModel::into_active_model(mark(1, 1, 1))])
            .on_conflict(newer_wins::<read_marks::Entity>())
            .build(DatabaseBackend::Postgres)
            .sql;
        assert!(
            statement.ends_with(
                r#"ON CONFLICT ("conversation_id", "user_id") DO UPDATE SET "position" = "excluded"."position", "read_at" = "excluded"."read_at", "version" = "excluded"."version" WHERE excluded.version > read_marks.version"#
            ),
            "{statement}"
        );
    }
}
