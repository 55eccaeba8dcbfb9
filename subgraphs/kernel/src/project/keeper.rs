//! The keeper: it sees when Redis has lost its content, or has been set back, and has it rebuilt.
//!
//! Redis' content is whole when all canaries carry one epoch and each master is still the process
//! that it was when the epoch began. A master that has restarted may have lost its last second, one
//! that failed over more: both count as lost. Until the rebuild is through, nothing is folded.

use super::{Error, RETRY_PAUSE, Shared, warmer};
use crate::{
    fold::Version,
    log::{NewEvent, Topic},
    store::{CANARIES, Call, Epoch, Script},
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

/// KEYS: canary, the process that holds it. ARGV: 1 to note the process as the right one.
/// Returns whether the process is the right one. A different process loses its canary.
static CHECK: Script = Script::new(
    r"
local id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if ARGV[1] == '1' then redis.call('SET', KEYS[2], id) return 1 end
if redis.call('GET', KEYS[2]) == id then return 1 end
redis.call('DEL', KEYS[1])
return 0
",
);

const LEASE_KEY: &str = "velvet:rebuild-lease";

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
        self.check_processes(false).await?;
        if self.shared.store.epoch().await?.is_some() || !self.lead().await? {
            return Ok(());
        }
        let id = fresh_id();
        tracing::warn!(rebuild.id = %id, "keeper.rebuild_started");
        metrics::counter!("velvet_rebuilds_total").increment(1);
        self.request(id).await?;
        let mut moved = tokio::time::Instant::now();
        let mut merged = 0;
        while moved.elapsed() < REBUILD_PATIENCE && !self.shared.stop.is_cancelled() {
            if self.all_merged(id).await? {
                self.check_processes(true).await?;
                self.shared.store.begin_epoch(Epoch(id)).await?;
                tracing::info!(rebuild.id = %id, "keeper.rebuild_done");
                return Ok(());
            }
            if !self.lead().await? {
                return Ok(());
            }
            let now_merged = warmer::rebuilt_rows(&self.shared.store).await?;
            if now_merged != merged {
                merged = now_merged;
                moved = tokio::time::Instant::now();
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(())
    }

    async fn check_processes(&self, note: bool) -> Result<(), Error> {
        let calls: Vec<Call> = CANARIES
            .iter()
            .map(|key| Call::script(&CHECK, [key.clone(), format!("{key}:process")]).arg(i32::from(note)))
            .collect();
        self.shared.store.run(&calls).await?;
        Ok(())
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
