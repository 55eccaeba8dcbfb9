//! One partner's records on their way to the log, one batch after the other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{StatusCode, header};
use parking_lot::Mutex;
use tokio::sync::watch;
use velvet_edge::signature::sign_usage;

use super::tallies::{Record, Tallies};
use super::{UNDELIVERED, Usage, metrics};

/// How long one sending may take: longer than the accounts subgraph waits for its log.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(50);
const RETRY_PAUSE_LONGEST: Duration = Duration::from_secs(1);
const SIGNATURE: &str = "x-velvet-usage-signature";

/// One partner's records.
#[derive(Default)]
pub(super) struct Lane {
    waiting: Mutex<Waiting>,
    /// The last group of records that is in the log.
    delivered: watch::Sender<u64>,
}

#[derive(Default)]
struct Waiting {
    tallies: Tallies,
    /// The last group that was taken to be sent; what waits belongs to the next.
    taken: u64,
    /// The last batch.
    sequence: u64,
    /// Whether a task sends.
    sending: bool,
}

/// Tells when a record is in the log.
pub(super) struct Receipt {
    delivered: watch::Receiver<u64>,
    group: u64,
}

impl Receipt {
    pub(super) async fn delivered(mut self) {
        let group = self.group;
        // The lane is there for as long as the process.
        let _ = self.delivered.wait_for(|delivered| *delivered >= group).await;
    }
}

enum Failure {
    /// It may be taken later.
    Passing(String),
    /// It never will be.
    Final(StatusCode),
}

impl Lane {
    pub(super) fn add(self: &Arc<Self>, record: &Record<'_>, usage: &Arc<Usage>) -> Receipt {
        let mut waiting = self.waiting.lock();
        waiting.tallies.add(record);
        UNDELIVERED.send_modify(|count| *count += 1);
        // Without a runtime the process is at its end.
        if !waiting.sending
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            waiting.sending = true;
            runtime.spawn(Arc::clone(self).send(Arc::clone(usage)));
        }
        Receipt { delivered: self.delivered.subscribe(), group: waiting.taken + 1 }
    }

    /// Sends until nothing waits.
    async fn send(self: Arc<Self>, usage: Arc<Usage>) {
        loop {
            if !usage.linger.is_zero() {
                tokio::time::sleep(usage.linger).await;
            }
            let Some((group, first, tallies)) = self.take() else { return };
            let key = tallies.a_key();
            for (sequence, tallies) in (first..).zip(tallies.split()) {
                deliver(&usage, key.as_deref().unwrap_or_default(), sequence, &tallies).await;
                UNDELIVERED.send_modify(|count| *count -= tallies.records());
                // Those that are left of the group have numbers already.
                self.waiting.lock().sequence = sequence;
            }
            self.delivered.send_replace(group);
        }
    }

    /// What waits, as a group, with the number of its first batch.
    fn take(&self) -> Option<(u64, u64, Tallies)> {
        let mut waiting = self.waiting.lock();
        if waiting.tallies.is_empty() {
            waiting.sending = false;
            return None;
        }
        waiting.taken += 1;
        Some((waiting.taken, waiting.sequence + 1, std::mem::take(&mut waiting.tallies)))
    }
}

/// Sends a batch until it is taken, or will never be. From now on it stays as it is.
async fn deliver(usage: &Usage, key: &str, sequence: u64, tallies: &Tallies) {
    let batch = Bytes::from(tallies.to_json(&usage.router, sequence, SystemTime::now().into(), key));
    // The registry forgets no key.
    let hash = usage.registry.key(key).map(|key| key.hash.clone()).unwrap_or_default();
    let signature = sign_usage(&hash, &batch);
    let mut pause = RETRY_PAUSE_FIRST;
    loop {
        match post(usage, &batch, &signature).await {
            Ok(()) => return,
            Err(Failure::Final(status)) => {
                metrics::LOST.add(tallies.records());
                let (status, count) = (status.as_u16(), tallies.records());
                tracing::error!(http.status = status, records.count = count, "counts of partners' calls are refused");
                return;
            }
            Err(Failure::Passing(error)) => {
                if pause == RETRY_PAUSE_FIRST {
                    tracing::warn!(error, "counts of partners' calls are not taken now");
                }
                metrics::RETRIES.increment();
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_LONGEST);
    }
}

async fn post(usage: &Usage, batch: &Bytes, signature: &str) -> Result<(), Failure> {
    let request = usage.client.post(&usage.url).timeout(SEND_TIMEOUT).header(SIGNATURE, signature);
    let request = request.header(header::CONTENT_TYPE, "application/json").body(batch.clone());
    let status = request.send().await.map_err(|error| Failure::Passing(error.to_string()))?.status();
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Err(Failure::Final(status)),
        // Not found is what an accounts subgraph of the version before says.
        status => Err(Failure::Passing(format!("the accounts subgraph answers {status}"))),
    }
}
