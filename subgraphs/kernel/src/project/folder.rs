//! Folding the intake.
//!
//! A batch costs three round trips to Redis and one append to Kafka, however many facts it has:
//! read the states; write effects and append decided events, side by side; write the states; then
//! announce how far the fold has come. Whoever waits by a token is told before the states are
//! written: after the effects, so that they read what they are told of, and no crash skips it. A crash anywhere folds again from the old states and repeats
//! the same effects, which change nothing a second time.

use super::{Error, READ_WAIT, RETRY_PAUSE, Shared, state, until_done, watermark};
use crate::{
    fold::{Effects, Fold, Moment, Version},
    log::{Batch, Consumer, NewEvent, Pace, Recorded, Stage, Topic},
    store::{Call, merged},
    time::derived_id,
};
use std::{collections::HashMap, sync::Arc};
use tracing::Instrument as _;
use uuid::Uuid;

pub(super) async fn run<F: Fold>(domain: &'static str, fold: Arc<F>, shared: Shared) {
    let folder = Folder { domain, fold, decided: Topic::of(domain, Stage::Decided), shared };
    let topics = [Topic::of(domain, Stage::Intake)];
    while !folder.shared.stop.is_cancelled() {
        let group = format!("{domain}.project");
        match Consumer::join(&folder.shared.config.kafka, &group, &topics, Pace::AtOnce) {
            Ok(consumer) => folder.consume(&consumer).await,
            Err(error) => tracing::warn!(domain, %error, "project.join_failed"),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

struct Folder<F> {
    domain: &'static str,
    fold: Arc<F>,
    decided: Topic,
    shared: Shared,
}

impl<F: Fold> Folder<F> {
    async fn consume(&self, consumer: &Consumer) {
        let batch_max = self.shared.config.projector.batch_max;
        while !self.shared.stop.is_cancelled() {
            let batch = match consumer.read(batch_max, READ_WAIT).await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!(domain = self.domain, %error, "project.read_failed");
                    return;
                }
            };
            for malformed in &batch.malformed {
                tracing::error!(domain = self.domain, error = %malformed.cause, "project.malformed");
                metrics::counter!("velvet_project_malformed_total", "domain" => self.domain).increment(1);
            }
            if !until_done(self.domain, &self.shared, || self.fold_batch(&batch)).await {
                return;
            }
            if let Err(error) = consumer.commit(&batch) {
                // The next batch's commit covers this one; a restart before it only repeats.
                tracing::warn!(domain = self.domain, %error, "project.commit_failed");
            }
        }
    }

    async fn fold_batch(&self, batch: &Batch) -> Result<(), Error> {
        if batch.events.is_empty() {
            return Ok(());
        }
        let mut ids: HashMap<&str, Vec<Uuid>> = HashMap::new();
        for event in &batch.events {
            ids.entry(event.key.as_str()).or_default().push(event.id);
        }
        let store = &self.shared.store;
        let mut entities = state::read::<F::State>(store, self.domain, &ids, true).await?;
        let mut work = Work::default();
        for event in &batch.events {
            if let Some(entity) = entities.get_mut(&event.key) {
                self.fold_one(event, entity, &mut work);
            }
        }
        let span = follow_first(&batch.events);
        let calls = merged(std::mem::take(&mut work.calls));
        let (views, appended) = tokio::join!(store.run(&calls), self.append(&work.decided).instrument(span));
        views?;
        appended?;
        if !work.told.is_empty() {
            store.run(&work.told).await?;
        }
        state::commit(store, self.domain, &entities).await?;
        let outcome_of = |event: &Recorded| entities.get(&event.key)?.outcome_of(event.id);
        watermark::advance(store, self.domain, &batch.events, outcome_of).await?;
        metrics::counter!("velvet_project_facts_total", "domain" => self.domain).increment(batch.events.len() as u64);
        Ok(())
    }

    /// Appends what has been decided, until all of it is there. To decide again instead is no way out of a failure: if a
    /// part has been appended and Redis is lost meanwhile, the states come back out of that part's rows, and by these all
    /// of it was decided long ago.
    async fn append(&self, decided: &[NewEvent]) -> Result<(), Error> {
        let append = || async {
            self.shared.log.append_all(decided.iter().map(|event| (&self.decided, event))).await?;
            Ok(())
        };
        if until_done(self.domain, &self.shared, append).await { Ok(()) } else { Err(Error::Ending) }
    }

    fn fold_one(&self, event: &Recorded, entity: &mut state::Entity<F::State>, work: &mut Work) {
        if event.offset <= entity.at {
            return;
        }
        entity.at = event.offset;
        if entity.knows(event.id) {
            return;
        }
        let fact = match event.parse::<F::Fact>() {
            Ok(fact) => fact,
            Err(error) => {
                tracing::error!(domain = self.domain, error = %crate::telemetry::chain(&error), "project.malformed");
                metrics::counter!("velvet_project_malformed_total", "domain" => self.domain).increment(1);
                return;
            }
        };
        let moment = Moment { time: event.time, version: event.version, event_id: event.id, entity: &event.key };
        let effects = self.fold.fold(&mut entity.state, fact, &moment);
        entity.remember(event.id, &effects);
        work.add(self.domain, event, effects);
    }
}

/// What a batch has to write.
#[derive(Default)]
struct Work {
    calls: Vec<Call>,
    decided: Vec<NewEvent>,
    told: Vec<Call>,
}

impl Work {
    fn add(&mut self, domain: &str, event: &Recorded, effects: Effects) {
        let source = event.partition.to_string();
        for (index, mut call) in effects.views.into_iter().enumerate() {
            call.set_source(&source, event.version.0 + index as u64);
            self.calls.push(call);
        }
        self.told.extend(effects.told);
        for (index, decided) in effects.decided.into_iter().enumerate() {
            let place = [event.partition.to_string(), event.offset.to_string(), index.to_string()];
            let id = derived_id(&["decided", domain, &place[0], &place[1], &place[2]]);
            let version = Version(event.version.0 + index as u64);
            self.decided
                .push(NewEvent::new(id, decided.kind, decided.key, event.time, &decided.data).caused_by(version));
        }
    }
}

/// A span in a trace of the batch's facts.
fn follow_first(events: &[Recorded]) -> tracing::Span {
    let span = tracing::info_span!("project.batch", facts = events.len());
    crate::telemetry::follow_first(&span, events.iter().map(|event| event.traceparent.as_deref()));
    span
}
