//! Merging rows that the writer has read back: views of what was cold, and everything in a rebuild.

use super::{Error, READ_WAIT, RETRY_PAUSE, Shared, state, until_done};
use crate::{
    fold::{Fold, Moment, Version},
    log::{Batch, Consumer, Pace, Recorded, Stage, Topic},
    planted::{Bug, planted},
    store::{Call, Reply, Store},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};
use uuid::Uuid;

/// The type of a warm event that carries a row.
pub const ROW_KIND: &str = "row";
/// The type of a warm event that carries a row of a sample: what it changes had drifted.
pub const SAMPLE_KIND: &str = "sample";
/// The type of a warm event that ends the rows of a partition in a rebuild.
pub const MARKER_KIND: &str = "end";
/// What is known of a rebuild is needed while it lasts, and a little longer.
const REBUILD_LIFETIME: Duration = Duration::from_hours(1);

/// What is asked of the writer on the topic of warm-up requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WarmRequest {
    /// Read back what belongs to one entity; `scope` is the domain's own, such as a range of messages.
    Entity {
        /// The domain.
        domain: String,
        /// The entity.
        entity: String,
        /// What of it.
        scope: String,
        /// Told to whoever waits, under this token, once the rows are merged.
        token: Uuid,
    },
    /// Read back everything, then put a marker in each partition of each domain.
    Rebuild {
        /// Names the rebuild.
        id: Uuid,
    },
}

/// One row that was read back; its key is the entity that it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmRow<R> {
    /// The row.
    pub row: R,
}

/// The end of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The rebuild, or the token of a warm-up.
    pub id: Uuid,
    /// How many markers the rebuild has in all; 0 for a warm-up.
    pub of: usize,
}

/// How many rows have been merged into states: it moves while a rebuild is alive.
const PROGRESS_KEY: &str = "velvet:rebuild-progress";

/// How many rows rebuilds have merged so far.
pub async fn rebuilt_rows(store: &Store) -> Result<u64, crate::store::Error> {
    let merged: Option<u64> = store.ask(Call::command_on("GET", PROGRESS_KEY)).await?;
    Ok(merged.unwrap_or_default())
}

/// The markers that have arrived, and how many there will be.
pub(super) fn rebuild_key(id: Uuid) -> String {
    format!("velvet:rebuild:{{{id}}}")
}

pub(super) async fn run<F: Fold>(domain: &'static str, fold: Arc<F>, shared: Shared) {
    let warmer = Warmer { domain, fold, shared };
    let topics = [Topic::of(domain, Stage::Warm)];
    while !warmer.shared.stop.is_cancelled() {
        let group = format!("{domain}.warm");
        match Consumer::join(&warmer.shared.config.kafka, &group, &topics, Pace::AtOnce) {
            Ok(consumer) => warmer.consume(&consumer).await,
            Err(error) => tracing::warn!(domain, %error, "warm.join_failed"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

struct Warmer<F> {
    domain: &'static str,
    fold: Arc<F>,
    shared: Shared,
}

impl<F: Fold> Warmer<F> {
    async fn consume(&self, consumer: &Consumer) {
        while !self.shared.stop.is_cancelled() {
            let batch = match consumer.read(self.shared.config.projector.batch_max, READ_WAIT).await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!(domain = self.domain, %error, "warm.read_failed");
                    return;
                }
            };
            if !until_done(self.domain, &self.shared, || self.merge(&batch)).await {
                return;
            }
            if let Err(error) = consumer.commit(&batch) {
                tracing::warn!(domain = self.domain, %error, "warm.commit_failed");
            }
        }
    }

    /// While Redis' content is not whole, nothing is folded, and rows make states as well as views.
    /// Otherwise the states are ahead of any row, and rows make views alone.
    async fn merge(&self, batch: &Batch) -> Result<(), Error> {
        if batch.events.is_empty() {
            return Ok(());
        }
        let store = &self.shared.store;
        let rebuilding = store.epoch().await?.is_none();
        let mut ids: HashMap<&str, Vec<Uuid>> = HashMap::new();
        for event in batch.events.iter().filter(|event| event.kind != MARKER_KIND) {
            ids.entry(event.key.as_str()).or_default().push(event.id);
        }
        let mut entities = state::read::<F::State>(store, self.domain, &ids, false).await?;
        let mut calls = Vec::new();
        let mut samples = Vec::new();
        let mut markers = Vec::new();
        for event in &batch.events {
            if event.kind == MARKER_KIND {
                markers.extend(self.marker_calls(event));
            } else if let Some(entity) = entities.get_mut(&event.key) {
                let before = calls.len();
                self.restore(event, entity, &mut calls);
                if event.kind == SAMPLE_KIND {
                    samples.push((event, before..calls.len()));
                }
            }
        }
        let replies = store.run(&calls).await?;
        if !rebuilding {
            self.note_drift(&samples, &calls, &replies);
        }
        if rebuilding {
            state::commit(store, self.domain, &entities).await?;
            store.ask::<i64>(Call::command_on("INCRBY", PROGRESS_KEY).arg(batch.events.len())).await?;
        }
        store.run(&markers).await?;
        Ok(())
    }

    fn restore(&self, event: &Recorded, entity: &mut state::Entity<F::State>, calls: &mut Vec<Call>) {
        match event.parse::<WarmRow<F::Row>>() {
            Ok(warm) => {
                let newest = planted(Bug::UnversionedMerge) && event.kind == SAMPLE_KIND;
                let version = if newest { Version(u64::MAX >> 12) } else { event.version };
                let moment = Moment { time: event.time, version, event_id: event.id, entity: &event.key };
                let effects = self.fold.restore(&mut entity.state, warm.row, &moment);
                // A row from before the entity's first fact still makes a state: it must be written.
                entity.at = entity.at.max(event.version.offset()).max(0);
                entity.restored = true;
                calls.extend(effects.views);
            }
            Err(error) => {
                tracing::error!(domain = self.domain, error = %crate::telemetry::chain(&error), "warm.malformed");
                metrics::counter!("velvet_project_malformed_total", "domain" => self.domain).increment(1);
            }
        }
    }

    /// Counts the rows of samples, and those of them that put a view right.
    fn note_drift(&self, samples: &[(&Recorded, Range<usize>)], calls: &[Call], replies: &[Reply]) {
        metrics::counter!("velvet_project_sampled_rows_total", "domain" => self.domain).increment(samples.len() as u64);
        for (event, range) in samples {
            let mut answered = calls[range.clone()].iter().zip(&replies[range.clone()]);
            if answered.any(|(call, reply)| call.mended(reply)) {
                tracing::warn!(domain = self.domain, entity = event.key, "warm.drift_mended");
                metrics::counter!("velvet_project_drifted_rows_total", "domain" => self.domain).increment(1);
            }
        }
    }

    fn marker_calls(&self, event: &Recorded) -> Vec<Call> {
        let Ok(marker) = event.parse::<Marker>() else {
            return Vec::new();
        };
        if marker.of == 0 {
            return vec![crate::command::tell(self.domain, marker.id, "true".to_owned())];
        }
        let key = rebuild_key(marker.id);
        vec![
            Call::command_on("HSET", key.as_str())
                .arg("of")
                .arg(marker.of)
                .arg(format!("{}.{}", self.domain, event.partition))
                .arg(Version::default().0),
            Call::command_on("EXPIRE", key).arg(REBUILD_LIFETIME.as_secs()),
        ]
    }
}
