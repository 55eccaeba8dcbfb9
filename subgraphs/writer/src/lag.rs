//! How far the shards are behind the log, and what waits in their outboxes: for whoever watches.

use crate::{commands, decided, outbox, positions, retry, run::Parts, shards::COUNT};
use sea_orm::{EntityTrait, PaginatorTrait as _};
use std::{collections::HashMap, sync::Arc, time::Duration};
use velvet_kernel::log::{Topic, end_offsets};

/// How often this looks; alerts look at minutes.
const PAUSE: Duration = Duration::from_secs(5);

/// Looks until the process is to end.
pub async fn run(parts: Arc<Parts>) {
    while parts.stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_some() {
        if let Err(error) = look(&parts).await {
            tracing::debug!(%error, "lag.unknown");
            metrics::counter!("velvet_writer_retries_total", "what" => "lag").increment(1);
        }
    }
}

async fn look(parts: &Parts) -> anyhow::Result<()> {
    let mut written: HashMap<String, i64> = HashMap::new();
    let mut waiting = 0;
    for shard in 0..COUNT {
        let db = parts.shards.primary(shard);
        for (place, position) in positions::read(db).await? {
            *written.entry(place.topic).or_default() += position;
        }
        waiting += outbox::entity::Entity::find().count(db).await?;
    }
    gauge("velvet_writer_outbox_events", None, i64::try_from(waiting).unwrap_or(i64::MAX));
    for Topic(topic) in decided::topics().into_iter().chain(commands::topics()) {
        let ends = end_offsets(&parts.config.kafka, &Topic(topic.clone())).await?;
        let behind = ends.iter().sum::<i64>() - written.get(&topic).copied().unwrap_or(0);
        gauge("velvet_writer_lag_events", Some(topic), behind);
    }
    Ok(())
}

fn gauge(name: &'static str, topic: Option<String>, value: i64) {
    #[expect(clippy::cast_precision_loss, reason = "gauges are for people")]
    let value = value as f64;
    match topic {
        Some(topic) => metrics::gauge!(name, "topic" => topic).set(value),
        None => metrics::gauge!(name).set(value),
    }
}

/// Whether all primaries answer.
pub async fn ready(parts: Arc<Parts>) -> Result<(), String> {
    for shard in 0..COUNT {
        let asked = tokio::time::timeout(READY_PATIENCE, positions::read(parts.shards.primary(shard)));
        match asked.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("shard {shard}: {}", retry::cause_of(&error))),
            Err(_) => return Err(format!("shard {shard} does not answer")),
        }
    }
    Ok(())
}

/// A probe wants its answer soon.
const READY_PATIENCE: Duration = Duration::from_secs(1);
