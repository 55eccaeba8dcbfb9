//! Writing and reading tables whose rows carry versions.

use sea_orm::{
    ConnectionTrait, DatabaseBackend, DbErr, EntityName as _, EntityTrait, IdenStatic as _, Iterable, ModelTrait,
    PrimaryKeyToColumn, QueryFilter, QueryOrder, QuerySelect, Statement, Value,
    sea_query::{ArrayType, Expr, ExprTrait},
};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use velvet_kernel::{fold::Version, log::Malformed};

/// Rows of one statement.
const ROWS_MAX: usize = 8_192;

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
pub trait Stored: ModelTrait + Clone {
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
        let rows: Vec<&M> = self.0.values().collect();
        for chunk in rows.chunks(ROWS_MAX) {
            db.execute_raw(upsert(chunk)?).await?;
        }
        Ok(rows.len() as u64)
    }
}

/// One statement for any number of rows: each column is one array, so that its text, and with it its plan, stays the
/// same. A row with a parameter for each value would be parsed and planned anew for each number of rows.
fn upsert<M: Stored>(rows: &[&M]) -> Result<Statement, DbErr> {
    let (mut names, mut taken, mut given, mut arrays) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for column in <<M as ModelTrait>::Entity as EntityTrait>::Column::iter() {
        let name = format!("\"{}\"", column.as_str());
        let mut values: Vec<Value> = rows.iter().map(|row| row.get(column)).collect();
        if let Some(absent) = absences(&mut values) {
            let mark = format!("\"no_{}\"", column.as_str());
            taken.push(format!("CASE WHEN {mark} THEN NULL ELSE {name} END"));
            given.push(mark);
            arrays.push(array(absent)?);
        } else {
            taken.push(name.clone());
        }
        given.push(name.clone());
        arrays.push(array(values)?);
        names.push(name);
    }
    let parameters: Vec<String> =
        arrays.iter().enumerate().map(|(index, (kind, _))| format!("${}::{kind}[]", index + 1)).collect();
    let sql = format!(
        "INSERT INTO \"{}\" ({}) SELECT {} FROM unnest({}) AS given ({}) {}",
        M::Entity::default().table_name(),
        names.join(", "),
        taken.join(", "),
        parameters.join(", "),
        given.join(", "),
        newer_wins::<M::Entity>()
    );
    let values: Vec<Value> = arrays.into_iter().map(|(_, values)| values).collect();
    Ok(Statement::from_sql_and_values(DatabaseBackend::Postgres, sql, values))
}

/// Which values are absent, if any is; in their places comes anything, as arrays are sent without gaps.
fn absences(values: &mut [Value]) -> Option<Vec<Value>> {
    let absent: Vec<bool> = values.iter().map(|value| *value == value.as_null()).collect();
    if !absent.contains(&true) {
        return None;
    }
    for (value, absent) in values.iter_mut().zip(&absent) {
        if *absent {
            *value = value.dummy_value();
        }
    }
    Some(absent.into_iter().map(Value::from).collect())
}

/// The values of a column as one, and PostgreSQL's name of their type.
fn array(values: Vec<Value>) -> Result<(&'static str, Value), DbErr> {
    let kind = values.first().map_or(ArrayType::Bool, Value::array_type);
    let name = match kind {
        ArrayType::Bool => "boolean",
        ArrayType::Int => "integer",
        ArrayType::BigInt => "bigint",
        ArrayType::Double => "double precision",
        ArrayType::String => "text",
        ArrayType::Uuid => "uuid",
        ArrayType::Json => "jsonb",
        ArrayType::ChronoDate => "date",
        ArrayType::ChronoDateTimeUtc => "timestamptz",
        other => return Err(DbErr::Type(format!("no array of {other:?} is sent"))),
    };
    Ok((name, Value::Array(kind, Some(Box::new(values)))))
}

fn newer_wins<E: EntityTrait>() -> String {
    let quoted = |column: &E::Column| format!("\"{}\"", column.as_str());
    let keys: Vec<String> = E::PrimaryKey::iter().map(|key| quoted(&key.into_column())).collect();
    let rest = E::Column::iter().map(|column| quoted(&column)).filter(|column| !keys.contains(column));
    let set: Vec<String> = rest.map(|column| format!("{column} = excluded.{column}")).collect();
    let table = E::default();
    let table = table.table_name();
    format!(
        "ON CONFLICT ({}) DO UPDATE SET {} WHERE excluded.version > {table}.version",
        keys.join(", "),
        set.join(", ")
    )
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
    use crate::messaging::rows::{conversations, read_marks};
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
        let statement = upsert(&[&mark(1, 1, 1), &mark(2, 1, 1)]).unwrap();
        assert_eq!(
            statement.sql,
            r#"INSERT INTO "read_marks" ("conversation_id", "user_id", "position", "read_at", "version") SELECT "conversation_id", "user_id", "position", "read_at", "version" FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::bigint[]) AS given ("conversation_id", "user_id", "position", "read_at", "version") ON CONFLICT ("conversation_id", "user_id") DO UPDATE SET "position" = excluded."position", "read_at" = excluded."read_at", "version" = excluded."version" WHERE excluded.version > read_marks.version"#
        );
    }

    #[test]
    fn an_absent_value_is_marked_beside_its_column() {
        let open = conversations::Model {
            conversation_id: Uuid::from_u128(1),
            match_id: Uuid::from_u128(2),
            user_a_id: Uuid::from_u128(3),
            user_b_id: Uuid::from_u128(4),
            status: "open".to_owned(),
            opened_at: chrono::DateTime::UNIX_EPOCH,
            closed_at: None,
            version: 1,
        };
        let closed = conversations::Model { closed_at: Some(chrono::DateTime::UNIX_EPOCH), ..open.clone() };
        let sql = upsert(&[&open, &closed]).unwrap().sql;
        assert!(sql.contains(r#"CASE WHEN "no_closed_at" THEN NULL ELSE "closed_at" END"#), "{sql}");
        assert!(sql.contains("$7::boolean[], $8::timestamptz[]"), "{sql}");
        assert!(!upsert(&[&closed]).unwrap().sql.contains("CASE"));
    }
}
