//! Decided events become rows: exactly once, in batches, each partition's in log order.

use crate::{
    apply::{Applier, Error, Interrupted, Work},
    domain::{Changes, DOMAINS, of_topic},
    reader::{self, Fill, Portion, Reader},
    run::Parts,
    shards::Lane,
    table::Unfit,
};
use async_trait::async_trait;
use futures::future::join_all;
use sea_orm::DatabaseTransaction;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tracing::Instrument as _;
use velvet_kernel::{
    log::{Pace, Recorded, Stage, Topic},
    telemetry,
};

/// All writers are one group for each lane, so that each partition has one.
const GROUP: &str = "writer";

/// The topics of all domains' decided events.
pub fn topics() -> Vec<Topic> {
    DOMAINS.iter().map(|domain| Topic::of(domain.name(), Stage::Decided)).collect()
}

/// Applies a lane's decided events until the process is to end.
pub async fn run(parts: Arc<Parts>, lane: Lane) {
    let applier = parts.applier(Rows);
    let config = &parts.config.writer;
    let fill = Fill { max: config.batch_max, pace: Pace::Gathered(Duration::from_millis(config.batch_wait_ms)) };
    reader::forever("decided", &parts.stop, || session(&parts, &applier, (GROUP, &lane), topics(), fill)).await;
}

/// Reads and applies as a member of the group of a lane, until something ends it.
pub async fn session<W: Work>(
    parts: &Parts,
    applier: &Applier<W>,
    (base, lane): (&str, &Lane),
    topics: Vec<Topic>,
    fill: Fill,
) -> Result<(), reader::Error> {
    let mut reader = Reader::join(&parts.config.kafka, base, lane, &topics, fill, &parts.shards, &parts.stop)?;
    loop {
        let Some((portions, batch)) = reader.next().await? else {
            if reader.changed() {
                for shard in reader.shards() {
                    applier.work.after(shard).await?;
                }
            }
            continue;
        };
        let size: usize = portions.iter().map(|portion| portion.events.len()).sum();
        #[expect(clippy::cast_precision_loss, reason = "a batch has a few thousand events at most")]
        metrics::histogram!("velvet_writer_batch_events", "work" => applier.work.name()).record(size as f64);
        let span = tracing::info_span!("writer.batch", work = applier.work.name(), events = size);
        let events = portions.iter().flat_map(|portion| &portion.events);
        telemetry::follow_first(&span, events.map(|event| event.traceparent.as_deref()));
        match apply_all(applier, &portions).instrument(span).await {
            Ok(()) => reader.done(&batch),
            Err(Interrupted::Stopped(stopped)) => return Err(stopped.into()),
            Err(error @ Interrupted::Overtaken) => return Err(reader::Error::Log(error.into())),
        }
    }
}

/// Applies the portions of all shards, 16 at most, side by side. Each is finished or interrupted before this returns.
async fn apply_all<W: Work>(applier: &Applier<W>, portions: &[Portion]) -> Result<(), Interrupted> {
    let outcomes = join_all(portions.iter().map(|portion| applier.apply(portion))).await;
    outcomes.into_iter().collect()
}

/// Upserts the rows that decided events carry.
pub struct Rows;

#[async_trait]
impl Work for Rows {
    fn name(&self) -> &'static str {
        "decided"
    }

    async fn write(&self, tx: &DatabaseTransaction, events: &[Recorded]) -> Result<u64, Error> {
        let mut changes: BTreeMap<&'static str, Box<dyn Changes>> = BTreeMap::new();
        for event in events {
            let domain = of_topic(&event.topic).ok_or_else(|| Unfit::Unknown(event.topic.0.clone()))?;
            changes.entry(domain.name()).or_insert_with(|| domain.changes()).add(event)?;
        }
        let mut rows = 0;
        for change in changes.values() {
            rows += change.write(tx).await?;
        }
        Ok(rows)
    }
}
