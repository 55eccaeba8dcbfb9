//! Counting what partners call.
//!
//! Each call with a key becomes a record. Records of one partner are summed up while the batch before is on its way, and
//! go to the accounts subgraph one batch after the other, each until it is acknowledged; its number tells a repeat. The
//! partner's answer waits until its record is in the log, so that no answer is given that a crash leaves uncounted. The
//! wait has a bound: beyond it the answer goes out, and the record is sent as soon as it can be.

mod call;
mod lane;
mod metrics;
mod outcome;
mod tallies;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::watch;
use tokio::time::timeout;

use super::config::PartnersConfig;
use super::registry::Registry;
use crate::plugins::UNUSED_MAX;
pub use call::Call;
use lane::{Lane, Receipt};
pub(super) use metrics::{Instruments, observe};
pub(super) use outcome::noted;
pub use outcome::{Outcome, executed};
use tallies::Record;

/// How long the process waits at its end for what is not delivered.
const GOODBYE: Duration = Duration::from_secs(5);

/// The process's collector, with what it was made for: it outlives the pipelines.
static SHARED: Mutex<Option<(PartnersConfig, Arc<Usage>)>> = Mutex::new(None);

/// Records that are not in the log yet.
static UNDELIVERED: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// Counts calls.
pub(super) struct Usage {
    registry: Arc<Registry>,
    client: reqwest::Client,
    url: String,
    /// This collector among all: another after each start.
    router: String,
    /// How long an answer waits for its record.
    wait: Duration,
    /// How long records gather, besides the time for which others are on their way.
    linger: Duration,
    /// By partner.
    lanes: Mutex<HashMap<Arc<str>, Arc<Lane>>>,
}

impl Usage {
    /// The process's collector.
    pub(super) fn shared(config: &PartnersConfig, registry: &Arc<Registry>) -> Result<Arc<Self>, reqwest::Error> {
        let mut shared = SHARED.lock();
        if let Some((known, usage)) = &*shared
            && (&known.accounts_url, &known.usage) == (&config.accounts_url, &config.usage)
            && Arc::ptr_eq(&usage.registry, registry)
        {
            return Ok(Arc::clone(usage));
        }
        let usage = Arc::new(Self {
            registry: Arc::clone(registry),
            client: reqwest::Client::builder().pool_idle_timeout(UNUSED_MAX).build()?,
            url: format!("{}/accounts/partners/usage", config.accounts_url.trim_end_matches('/')),
            router: format!("{:032x}", rand::rng().random::<u128>()),
            wait: Duration::from_millis(config.usage.wait_ms),
            linger: Duration::from_millis(config.usage.linger_ms),
            lanes: Mutex::default(),
        });
        *shared = Some((config.clone(), Arc::clone(&usage)));
        Ok(usage)
    }

    fn record(self: &Arc<Self>, record: &Record<'_>) -> Receipt {
        metrics::RECORDS.increment();
        let lane = {
            let mut lanes = self.lanes.lock();
            Arc::clone(lanes.entry(Arc::clone(record.partner)).or_default())
        };
        lane.add(record, self)
    }

    /// Waits until the record is in the log, for as long as an answer may wait.
    async fn settled(&self, receipt: Receipt) {
        if timeout(self.wait, receipt.delivered()).await.is_err() {
            metrics::LATE.increment();
        }
    }
}

/// Waits until all that was counted is in the log, for a few seconds: for the end of the process.
pub async fn delivered() {
    let mut undelivered = UNDELIVERED.subscribe();
    if timeout(GOODBYE, undelivered.wait_for(|count| *count == 0)).await.is_err() {
        tracing::error!(records.count = *undelivered.borrow(), "counts of partners' calls are lost with the process");
    }
}
