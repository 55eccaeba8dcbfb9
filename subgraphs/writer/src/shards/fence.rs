//! The moment in which a shard changes hands: nobody may write it, the target gets what is still on its way, and one
//! commit gives it away.

use super::{
    map::{self, State, Tenure},
    replication, schema,
};
use crate::retry::cause_of;
use anyhow::{Context as _, ensure};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionTrait as _};
use std::time::Duration;
use tokio::time::Instant;

/// How long an attempt waits for the transactions under way; meanwhile others wait behind it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an attempt holds the shard for what is still on its way; then it lets go and the next one follows later.
const HOLD_MAX: Duration = Duration::from_secs(5);
/// How often it is asked whether all has arrived.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The two ends of a move.
pub struct Ends<'a> {
    /// The server that has the shard; one connection, which the attempt takes.
    pub source: &'a DatabaseConnection,
    /// The same server, to look at it meanwhile.
    pub watch: &'a DatabaseConnection,
    /// The server that is to have it.
    pub target: &'a DatabaseConnection,
    /// The shard.
    pub shard: u8,
    /// The move's generation.
    pub generation: i64,
}

/// The name of the schema that stays behind.
pub fn left_behind(shard: u8, generation: i64) -> String {
    format!("{}_moved_{generation}", schema(shard))
}

impl Ends<'_> {
    /// Tries once; says how long the shard was held, or that it could not be had or moved in time.
    ///
    /// Every transaction of a writer moves a position before it commits, and puts what it decides into the outbox before
    /// that. So whoever has both tables, taken in this order, waits for no one in a circle, and nobody can commit to the
    /// shard meanwhile.
    pub async fn attempt(&self) -> anyhow::Result<Option<Duration>> {
        let schema = schema(self.shard);
        let tx = self.source.begin().await.context("beginning the switch")?;
        tx.execute_unprepared(&format!("SET LOCAL lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
        let since = Instant::now();
        let lock = format!("LOCK TABLE {schema}.outbox, {schema}.log_positions IN ACCESS EXCLUSIVE MODE");
        if let Err(error) = tx.execute_unprepared(&lock).await {
            println!("the shard is busy ({}); trying again", cause_of(&error));
            tx.rollback().await.ok();
            return Ok(None);
        }
        if !self.all_arrived(since).await? {
            println!("not all has arrived within {} s; trying again", HOLD_MAX.as_secs());
            tx.rollback().await.context("letting go of the shard")?;
            return Ok(None);
        }
        self.check_equal(&tx).await?;
        replication::set_sequences(&tx, self.target, self.shard).await?;
        let rename = format!("ALTER SCHEMA {schema} RENAME TO {}", left_behind(self.shard, self.generation));
        tx.execute_unprepared(&rename).await.context("renaming the schema")?;
        let moved = Tenure { shard: self.shard, state: State::Moved, generation: self.generation };
        map::note(&tx, moved).await.context("noting that the shard has moved")?;
        tx.commit().await.context("committing the switch; run the same command again to see which way it went")?;
        Ok(Some(since.elapsed()))
    }

    async fn all_arrived(&self, since: Instant) -> Result<bool, DbErr> {
        let end = replication::end(self.watch).await?;
        while since.elapsed() < HOLD_MAX {
            if replication::has(self.watch, self.shard, &end).await? {
                return Ok(true);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(false)
    }

    /// The copy must stand where the shard stands, or it does not count.
    async fn check_equal(&self, tx: &impl ConnectionTrait) -> anyhow::Result<()> {
        let schema = schema(self.shard);
        for (what, sql) in [
            (
                "positions",
                "SELECT concat_ws('/', topic, partition, next_offset) FROM {s}.log_positions ORDER BY topic COLLATE \"C\", partition",
            ),
            ("outbox", "SELECT id::text FROM {s}.outbox o ORDER BY o.id"),
        ] {
            let sql = sql.replace("{s}", &schema);
            let (here, there) = (replication::column(tx, &sql).await?, replication::column(self.target, &sql).await?);
            ensure!(here == there, "the copy's {what} are not the shard's; nothing has been moved");
        }
        Ok(())
    }
}
