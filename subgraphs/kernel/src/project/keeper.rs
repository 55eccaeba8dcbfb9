//! The keeper: it sees when Redis has lost its content, or has been set back, and has it rebuilt.
//!
//! Redis' content is whole when all canaries carry one epoch and each master is still the process
//! that it was when the rebuild behind that epoch began. A master that has restarted may have lost its
//! last second, one that failed over more: both count as lost, also in the middle of a rebuild. Until
//! a rebuild is through, nothing is folded.

use super::{Error, RETRY_PAUSE, Shared, warmer};
use crate::{
    fold::Version,
    log::{NewEvent, Topic},
    store::{CANARIES, Call, Reply, Script},
    time::{Clock as _, SystemClock, fresh_id},
};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

/// How often the content is looked after.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// One keeper leads a rebuild; if it dies, another takes over after this.
const LEASE: Duration = Duration::from_secs(5);
/// A rebuild that has not moved for so long is asked for again, as the request may have met no writer.
const REBUILD_PATIENCE: Duration = Duration::from_mins(1);

/// KEYS: note. ARGV: the rebuild that begins. Notes the process that holds what will be merged.
static NOTE: Script = Script::new(
    r"
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
redis.call('SET', KEYS[1], process .. ' ' .. ARGV[1])
return 1
",
);

/// KEYS: canary, note. ARGV: the rebuild that is through. Its epoch begins if this is the process that it noted.
static BEGIN: Script = Script::new(
    r"
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('GET', KEYS[2]) ~= process .. ' ' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
",
);

/// KEYS: canary, note. An epoch ends with the process that its rebuild noted.
static CHECK: Script = Script::new(
    r"
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local epoch = redis.call('GET', KEYS[1])
if not epoch or redis.call('GET', KEYS[2]) == process .. ' ' .. epoch then return 1 end
redis.call('DEL', KEYS[1])
return 0
",
);

const LEASE_KEY: &str = "velvet:rebuild-lease";

/// How far a rebuild is.
enum Progress {
    /// So many rows have been merged, by all rebuilds.
    Merged(u64),
    /// All rows have been merged.
    Through,
    /// Another keeper has taken over.
    Taken,
}

/// Looks after Redis' content as a whole; one per process that projects.
pub struct Keeper {
    shared: Shared,
    id: Uuid,
}

impl Keeper {
    /// A keeper for this process.
    pub fn new(shared: Shared) -> Self {
        Self { shared, id: fresh_id() }
    }

    /// Looks after the content until the process ends.
    pub async fn run(self) {
        while !self.shared.stop.is_cancelled() {
            if let Err(error) = self.look().await {
                tracing::warn!(error = %crate::telemetry::chain(&error), "keeper.retry");
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn look(&self) -> Result<(), Error> {
        self.each_master(|canary, note| Call::script(&CHECK, [canary, note])).await?;
        if self.shared.store.epoch().await?.is_some() || !self.lead().await? {
            return Ok(());
        }
        let id = fresh_id();
        tracing::warn!(rebuild.id = %id, "keeper.rebuild_started");
        metrics::counter!("velvet_rebuilds_total").increment(1);
        self.each_master(|_, note| Call::script(&NOTE, [note]).arg(id.to_string())).await?;
        self.request(id).await?;
        let mut moved = tokio::time::Instant::now();
        let mut merged = 0;
        while moved.elapsed() < REBUILD_PATIENCE && !self.shared.stop.is_cancelled() {
            match self.progress(id).await {
                Ok(Progress::Through) => return self.begin(id).await,
                Ok(Progress::Taken) => return Ok(()),
                Ok(Progress::Merged(rows)) if rows != merged => {
                    merged = rows;
                    moved = tokio::time::Instant::now();
                }
                Ok(Progress::Merged(_)) => {}
                // A Redis that is slow for a moment has lost nothing, and one that has is found when the epoch begins.
                Err(error) => tracing::warn!(error = %crate::telemetry::chain(&error), "keeper.retry"),
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(())
    }

    async fn progress(&self, id: Uuid) -> Result<Progress, Error> {
        if self.all_merged(id).await? {
            Ok(Progress::Through)
        } else if self.lead().await? {
            Ok(Progress::Merged(warmer::rebuilt_rows(&self.shared.store).await?))
        } else {
            Ok(Progress::Taken)
        }
    }

    /// Begins the epoch, unless a master is another process now than at the start of its rebuild.
    async fn begin(&self, id: Uuid) -> Result<(), Error> {
        let begun = self.each_master(|canary, note| Call::script(&BEGIN, [canary, note]).arg(id.to_string())).await?;
        if begun.iter().all(|begun| *begun == Reply::Int(1)) {
            tracing::info!(rebuild.id = %id, "keeper.rebuild_done");
        } else {
            tracing::warn!(rebuild.id = %id, "keeper.rebuild_lost");
        }
        Ok(())
    }

    /// Calls something with each canary and the note beside it.
    async fn each_master(&self, call: impl Fn(String, String) -> Call) -> Result<Vec<Reply>, Error> {
        let calls: Vec<Call> = CANARIES.iter().map(|key| call(key.clone(), format!("{key}:process"))).collect();
        Ok(self.shared.store.run(&calls).await?)
    }

    /// Takes or keeps the lease.
    async fn lead(&self) -> Result<bool, Error> {
        static LEAD: Script = Script::new(
            r"
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
",
        );
        let call = Call::script(&LEAD, [LEASE_KEY])
            .arg(self.id.to_string())
            .arg(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
        Ok(self.shared.store.ask::<i64>(call).await? == 1)
    }

    async fn request(&self, id: Uuid) -> Result<(), Error> {
        let request = warmer::WarmRequest::Rebuild { id };
        let event = NewEvent::new(id, "rebuild", "rebuild", SystemClock.now(), &request).caused_by(Version::default());
        self.shared.log.append_to(&Topic::warmup_requests(), 0, &event).await?;
        Ok(())
    }

    /// Whether the markers of all partitions of all domains have arrived.
    async fn all_merged(&self, id: Uuid) -> Result<bool, Error> {
        let seen: HashMap<String, usize> =
            self.shared.store.ask(Call::command_on("HGETALL", warmer::rebuild_key(id))).await?;
        Ok(seen.get("of").is_some_and(|of| seen.len() > *of))
    }
}
