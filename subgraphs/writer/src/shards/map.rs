//! The map of the shards: each server says itself, in the table `velvet.shards`, which shards it has, is getting or has
//! given away. There is no other place that could say otherwise: a shard is where the newest of these says that it is.
//!
//! A move is one commit on the server that gives the shard away: it renames the schema, so that whoever has an old map
//! finds no tables, and notes `moved` under a new generation. The other server has noted `incoming` under the same
//! generation before. So there is one holder before that commit and one after it, wherever a crash falls.

use super::COUNT;
use sea_orm::{ConnectionTrait, DatabaseBackend, DbErr, Statement, sqlx::postgres::PgConnectOptions};
use std::str::FromStr as _;

/// Makes the map of one server.
pub const PREPARE: &str = "
CREATE SCHEMA IF NOT EXISTS velvet;
CREATE TABLE IF NOT EXISTS velvet.shards (
    shard smallint PRIMARY KEY CHECK (shard BETWEEN 0 AND 15),
    state text NOT NULL CHECK (state IN ('held', 'incoming', 'moved')),
    generation bigint NOT NULL CHECK (generation > 0),
    changed_at timestamptz NOT NULL DEFAULT now()
);
";
/// The generation of a shard that has never moved.
pub const FIRST: i64 = 1;

const READ: &str = "SELECT shard, state, generation FROM velvet.shards";
const NOTE: &str = "INSERT INTO velvet.shards (shard, state, generation) VALUES ($1, $2, $3) \
    ON CONFLICT (shard) DO UPDATE SET state = excluded.state, generation = excluded.generation, changed_at = now()";
const CLAIM: &str =
    "INSERT INTO velvet.shards (shard, state, generation) VALUES ($1, 'held', $2) ON CONFLICT DO NOTHING";
const FORGET: &str = "DELETE FROM velvet.shards WHERE shard = $1 AND state = 'incoming'";

/// What a server says of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has it.
    Held,
    /// It gets a copy, which counts once the holder has noted `moved` under the same generation.
    Incoming,
    /// It has given it away.
    Moved,
}

/// One line of a server's map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenure {
    /// The shard.
    pub shard: u8,
    /// What the server says.
    pub state: State,
    /// Which move it is about; the newest counts.
    pub generation: i64,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Incoming => "incoming",
            Self::Moved => "moved",
        }
    }

    fn of(text: &str) -> Result<Self, DbErr> {
        let all = [Self::Held, Self::Incoming, Self::Moved];
        let found = all.into_iter().find(|state| state.text() == text);
        found.ok_or_else(|| DbErr::Type(format!("{text} is no state of a shard")))
    }
}

/// A statement with values.
pub fn statement(sql: &str, values: impl IntoIterator<Item = sea_orm::Value>) -> Statement {
    Statement::from_sql_and_values(DatabaseBackend::Postgres, sql, values)
}

/// What one server says.
pub async fn read<C: ConnectionTrait>(db: &C) -> Result<Vec<Tenure>, DbErr> {
    let rows = db.query_all_raw(statement(READ, [])).await?;
    rows.into_iter()
        .map(|row| {
            let shard: i16 = row.try_get("", "shard")?;
            let state: String = row.try_get("", "state")?;
            let shard = u8::try_from(shard).map_err(|_| DbErr::Type(format!("there is no shard {shard}")))?;
            Ok(Tenure { shard, state: State::of(&state)?, generation: row.try_get("", "generation")? })
        })
        .collect()
}

/// Notes what a server has.
pub async fn note<C: ConnectionTrait>(db: &C, tenure: Tenure) -> Result<(), DbErr> {
    let values = [i16::from(tenure.shard).into(), tenure.state.text().into(), tenure.generation.into()];
    db.execute_raw(statement(NOTE, values)).await.map(drop)
}

/// Notes that a server has a shard of which it says nothing yet.
pub async fn claim<C: ConnectionTrait>(db: &C, shard: u8) -> Result<(), DbErr> {
    db.execute_raw(statement(CLAIM, [i16::from(shard).into(), FIRST.into()])).await.map(drop)
}

/// Forgets a copy that never counted.
pub async fn forget<C: ConnectionTrait>(db: &C, shard: u8) -> Result<(), DbErr> {
    db.execute_raw(statement(FORGET, [i16::from(shard).into()])).await.map(drop)
}

/// Which server has a shard, and by which generation: by its place among the answers, of which some may be missing.
pub fn holder(shard: u8, answers: &[Option<Vec<Tenure>>]) -> Option<(usize, i64)> {
    let said = move |wanted: State| {
        let of_shard = answers.iter().enumerate().flat_map(move |(server, answer)| {
            answer.iter().flatten().filter(move |tenure| tenure.shard == shard).map(move |tenure| (server, *tenure))
        });
        of_shard.filter(move |(_, tenure)| tenure.state == wanted)
    };
    let held = said(State::Held).max_by_key(|(_, tenure)| tenure.generation);
    let moved = said(State::Moved).map(|(_, tenure)| tenure.generation).max();
    match (held, moved) {
        (Some((server, tenure)), moved) if moved.is_none_or(|moved| tenure.generation >= moved) => {
            Some((server, tenure.generation))
        }
        (_, Some(moved)) => {
            let (server, _) = said(State::Incoming).find(|(_, tenure)| tenure.generation == moved)?;
            Some((server, moved))
        }
        _ => None,
    }
}

/// The newest generation that any server has noted of a shard.
pub fn newest(shard: u8, answers: &[Option<Vec<Tenure>>]) -> i64 {
    let noted = answers.iter().flatten().flatten().filter(|tenure| tenure.shard == shard);
    noted.map(|tenure| tenure.generation).max().unwrap_or_default()
}

/// What people call a server: its host and port.
pub fn address(url: &str) -> String {
    match PgConnectOptions::from_str(url) {
        Ok(options) => format!("{}:{}", options.get_host(), options.get_port()),
        Err(_) => "an address that does not parse".to_owned(),
    }
}

/// The shards that there are.
pub fn all() -> std::ops::Range<u8> {
    0..COUNT
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Held, Incoming, Moved};

    #[expect(clippy::unnecessary_wraps, reason = "an answer; none is a server that is away")]
    fn says(state: State, generation: i64) -> Option<Vec<Tenure>> {
        Some(vec![Tenure { shard: 5, state, generation }, Tenure { shard: 6, state: Held, generation: 1 }])
    }

    #[test]
    fn a_move_has_one_holder_before_its_commit_and_one_after() {
        let nothing = Some(Vec::new());
        assert_eq!(holder(5, &[says(Held, 1), nothing.clone()]), Some((0, 1)));
        assert_eq!(holder(5, &[says(Held, 1), says(Incoming, 2)]), Some((0, 1)));
        assert_eq!(holder(5, &[says(Moved, 2), says(Incoming, 2)]), Some((1, 2)));
        assert_eq!(holder(5, &[says(Moved, 2), says(Held, 2)]), Some((1, 2)));
        // And back.
        assert_eq!(holder(5, &[says(Incoming, 3), says(Held, 2)]), Some((1, 2)));
        assert_eq!(holder(5, &[says(Incoming, 3), says(Moved, 3)]), Some((0, 3)));
        assert_eq!(holder(5, &[nothing.clone(), nothing]), None);
    }

    #[test]
    fn a_copy_does_not_count_while_the_holder_is_away_nor_after_another_move() {
        assert_eq!(holder(5, &[None, says(Incoming, 2)]), None);
        assert_eq!(holder(5, &[says(Moved, 2), None]), None);
        assert_eq!(holder(5, &[says(Moved, 3), says(Incoming, 2), says(Incoming, 3)]), Some((2, 3)));
        // A server that was set back to before a move does not know that it has lost the shard.
        assert_eq!(holder(5, &[says(Held, 1), says(Held, 2)]), Some((1, 2)));
    }

    #[test]
    fn the_newest_generation_is_that_of_any_server() {
        assert_eq!(newest(5, &[says(Held, 1), None, says(Incoming, 4)]), 4);
        assert_eq!(newest(7, &[says(Held, 1)]), 0);
    }

    #[test]
    fn a_server_is_called_by_its_host_and_port_and_never_by_its_password() {
        assert_eq!(address("postgres://app:secret@db-1.internal:5433/velvet"), "db-1.internal:5433");
        assert_eq!(address("postgres://app:secret@db-1.internal/velvet"), "db-1.internal:5432");
        assert_eq!(address("no address"), "an address that does not parse");
    }
}
