//! The projector: it folds facts in log order and keeps Redis in step with the log.
//!
//! Per domain there are three loops: [`folder`] folds the intake, [`relay`] turns other domains'
//! decided events into facts of this one, and [`warmer`] merges rows that the writer has read back.
//! The [`keeper`] watches over Redis' content as a whole and has it rebuilt when it was lost.

mod folder;
mod keeper;
mod relay;
mod state;
mod warmer;
mod watermark;

pub use keeper::Keeper;
pub use relay::Inbound;
pub(crate) use state::outcomes_key;
pub use state::{position, position_call};
pub use warmer::{MARKER_KIND, Marker, ROW_KIND, SAMPLE_KIND, WarmRequest, WarmRow, rebuilt_rows};
pub use watermark::{TooLate, Watermarks};

use crate::{config::Config, fold::Fold, log::Log, store::Store};
use futures::future::BoxFuture;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// After a failure of Kafka or Redis, try again this soon.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long a read waits for a first event before it looks whether the process is to end.
const READ_WAIT: Duration = Duration::from_millis(500);

/// What a domain's projector needs.
#[derive(Clone)]
pub struct Projection<F> {
    /// The domain's name.
    pub domain: &'static str,
    /// Its rule.
    pub fold: Arc<F>,
    /// What it reads of other domains.
    pub inbound: Vec<Inbound>,
}

/// What all projectors of a process share.
#[derive(Clone)]
pub struct Shared {
    /// The log's writing end.
    pub log: Log,
    /// The views.
    pub store: Store,
    /// The configuration.
    pub config: Arc<Config>,
    /// Ends the loops.
    pub stop: CancellationToken,
}

/// The loops of one domain, ready to be spawned.
pub fn loops<F: Fold>(projection: Projection<F>, shared: &Shared) -> Vec<BoxFuture<'static, ()>> {
    let Projection { domain, fold, inbound } = projection;
    let mut loops: Vec<BoxFuture<'static, ()>> = vec![
        Box::pin(folder::run(domain, Arc::clone(&fold), shared.clone())),
        Box::pin(warmer::run(domain, fold, shared.clone())),
    ];
    for source in inbound {
        loops.push(Box::pin(relay::run(domain, source, shared.clone())));
    }
    loops
}

/// Why a batch could not be finished. Everything here is tried again; nothing is skipped.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("reading or writing views")]
    Store(#[from] crate::store::Error),
    #[error("appending decided events")]
    Append(#[from] crate::log::AppendError),
    #[error("reading the log")]
    Kafka(#[from] rdkafka::error::KafkaError),
    #[error("Redis' content is not whole")]
    NotWhole,
    #[error("the process is to end")]
    Ending,
    #[error("another projector has folded {entity} meanwhile")]
    Overtaken { entity: String },
}

/// Does a batch's work until it succeeds or the process ends.
async fn until_done<W, R>(domain: &str, shared: &Shared, mut work: W) -> bool
where
    W: FnMut() -> R,
    R: Future<Output = Result<(), Error>>,
{
    loop {
        match work().await {
            Ok(()) => return true,
            Err(error) => {
                tracing::warn!(domain, error = %crate::telemetry::chain(&error), "project.retry");
                metrics::counter!("velvet_project_retries_total", "domain" => domain.to_owned()).increment(1);
            }
        }
        tokio::select! {
            () = shared.stop.cancelled() => return false,
            () = tokio::time::sleep(RETRY_PAUSE) => {}
        }
    }
}
