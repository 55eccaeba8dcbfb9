//! Relays: other domains' decided events become facts of this domain, under this domain's keys.
//!
//! So an entity has one log that says everything about it, and one place that judges it.

use super::{READ_WAIT, RETRY_PAUSE, Shared, until_done};
use crate::log::{Batch, Consumer, Malformed, NewEvent, Pace, Recorded, Stage, Topic};

/// What a domain reads of another.
#[derive(Debug, Clone, Copy)]
pub struct Inbound {
    /// The other domain.
    pub from: &'static str,
    /// Which types of its events make facts here; others are passed over.
    pub reads: fn(&str) -> bool,
    /// How soon it wants them.
    pub pace: Pace,
    /// The facts that an event makes here; none for events that this domain does not care about.
    /// Their ids are derived from the event's, so that a repeat changes nothing.
    pub translate: fn(&Recorded) -> Result<Vec<NewEvent>, Malformed>,
}

pub(super) async fn run(domain: &'static str, source: Inbound, shared: Shared) {
    let topics = [Topic::of(source.from, Stage::Decided)];
    let intake = Topic::of(domain, Stage::Intake);
    let group = format!("{domain}.relay.{}", source.from);
    while !shared.stop.is_cancelled() {
        match Consumer::join(&shared.config.kafka, &group, &topics, source.pace) {
            Ok(consumer) => consume(domain, source, &shared, &intake, &consumer.reading(source.reads)).await,
            Err(error) => tracing::warn!(domain, %error, "relay.join_failed"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

async fn consume(domain: &'static str, source: Inbound, shared: &Shared, intake: &Topic, consumer: &Consumer) {
    while !shared.stop.is_cancelled() {
        let batch = match consumer.read(shared.config.projector.batch_max, READ_WAIT).await {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(domain, %error, "relay.read_failed");
                return;
            }
        };
        let facts = translate(domain, source, &batch);
        let relayed = until_done(domain, shared, || async {
            shared.log.append_all(facts.iter().map(|fact| (intake, fact))).await?;
            Ok(())
        });
        if !relayed.await {
            return;
        }
        if let Err(error) = consumer.commit(&batch) {
            tracing::warn!(domain, %error, "relay.commit_failed");
        }
    }
}

fn translate(domain: &str, source: Inbound, batch: &Batch) -> Vec<NewEvent> {
    let mut facts = Vec::new();
    for event in &batch.events {
        match (source.translate)(event) {
            Ok(translated) => facts.extend(translated),
            Err(error) => {
                tracing::error!(domain, error = %crate::telemetry::chain(&error), "relay.malformed");
                metrics::counter!("velvet_project_malformed_total", "domain" => domain.to_owned()).increment(1);
            }
        }
    }
    facts
}
