//! One shard's part of a batch: applied as a whole in one transaction, or halved until the record is
//! found that cannot be.

use crate::{
    dead_letter::DeadLetters,
    halve::{Batchwise, halve},
    positions::{self, Place, Positions},
    reader::Portion,
    retry::{self, Backoff, Class, Stopped, cause_of, class_of},
    shards::Shards,
    table::Unfit,
};
use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, DbErr, TransactionTrait};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use velvet_kernel::{
    log::{Recorded, Topic},
    planted::{Bug, planted},
    telemetry,
};

/// Why a transaction did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do it.
    #[error("applying a batch")]
    Database(#[from] DbErr),
    /// An event makes no row.
    #[error("making a row")]
    Unfit(#[from] Unfit),
    /// The positions have been moved by another.
    #[error("moving positions")]
    Positions(#[from] positions::Error),
}

impl Error {
    /// What is wrong with the data, if it is the data's fault.
    pub fn cause(&self) -> Option<String> {
        match self {
            Self::Database(error) | Self::Positions(positions::Error::Database(error)) => {
                (class_of(error) == Class::Data).then(|| cause_of(error))
            }
            Self::Unfit(unfit) => Some(telemetry::chain(unfit)),
            Self::Positions(positions::Error::Overtaken { .. }) => None,
        }
    }
}

/// What is done with the events of a shard, within a transaction that moves the positions too.
#[async_trait]
pub trait Work: Send + Sync {
    /// Its name, for logs and metrics.
    fn name(&self) -> &'static str;

    /// Writes the rows of these events. Returns how many.
    async fn write(&self, tx: &DatabaseTransaction, events: &[Recorded]) -> Result<u64, Error>;

    /// What follows a commit.
    async fn after(&self, _shard: u8) -> Result<(), Stopped> {
        Ok(())
    }
}

/// Why a portion could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// The process is to end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Another writer has the partition.
    #[error("another writer has the partition")]
    Overtaken,
}

/// Applies portions.
pub struct Applier<W> {
    /// Where to.
    pub shards: Arc<Shards>,
    /// Where records go that cannot be applied.
    pub dead_letters: DeadLetters,
    /// Ends the attempts.
    pub stop: CancellationToken,
    /// What is done.
    pub work: W,
}

impl<W: Work> Applier<W> {
    /// Applies a portion: every record of it is in its shard, or among the dead letters, and the
    /// positions stand after it.
    pub async fn apply(&self, portion: &Portion) -> Result<(), Interrupted> {
        for unreadable in &portion.malformed {
            self.dead_letters.put_unreadable(unreadable).await?;
        }
        let mut part = Part { applier: self, portion, at: portion.since.clone() };
        halve(&portion.events, &mut part).await?;
        // Only records that were no events are left to pass over.
        if part.at != portion.upto {
            part.persist(&[], &portion.upto).await?;
        }
        Ok(())
    }

    async fn transact(
        &self,
        shard: u8,
        events: &[Recorded],
        since: &Positions,
        upto: &Positions,
    ) -> Result<u64, Error> {
        if planted(Bug::CommitBeforeRows) {
            return self.transact_in_two(shard, events, since, upto).await;
        }
        let tx = self.shards.primary(shard).begin().await?;
        let rows = if events.is_empty() { 0 } else { self.work.write(&tx, events).await? };
        positions::advance(&tx, since, upto).await?;
        tx.commit().await?;
        Ok(rows)
    }
}

/// Between the two halves of what [`Bug::CommitBeforeRows`] tears apart, or hardly any break would fall between them.
const PLANTED_PAUSE: Duration = Duration::from_millis(250);

impl<W: Work> Applier<W> {
    /// What [`Bug::CommitBeforeRows`] does.
    async fn transact_in_two(
        &self,
        shard: u8,
        events: &[Recorded],
        since: &Positions,
        upto: &Positions,
    ) -> Result<u64, Error> {
        let tx = self.shards.primary(shard).begin().await?;
        positions::advance(&tx, since, upto).await?;
        tx.commit().await?;
        tokio::time::sleep(PLANTED_PAUSE).await;
        let tx = self.shards.primary(shard).begin().await?;
        let rows = if events.is_empty() { 0 } else { self.work.write(&tx, events).await? };
        tx.commit().await?;
        Ok(rows)
    }
}

fn end_of(events: &[Recorded]) -> Option<(&Topic, i32, i64)> {
    events.last().map(|event| (&event.topic, event.partition, event.offset))
}

struct Part<'a, W> {
    applier: &'a Applier<W>,
    portion: &'a Portion,
    at: Positions,
}

impl<W: Work> Part<'_, W> {
    /// Where the positions stand after these events: at the end of the portion when they are its last.
    fn after(&self, events: &[Recorded]) -> Positions {
        let mut upto = self.at.clone();
        for event in events {
            let place = Place { topic: event.topic.0.clone(), partition: event.partition };
            upto.insert(place, event.offset + 1);
        }
        if end_of(events) == end_of(&self.portion.events) { self.portion.upto.clone() } else { upto }
    }

    /// Tries until it is done, or the data are found to be at fault.
    async fn persist(&mut self, events: &[Recorded], upto: &Positions) -> Result<Option<String>, Interrupted> {
        let applier = self.applier;
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            match applier.transact(self.portion.shard, events, &self.at, upto).await {
                Ok(rows) => {
                    self.at.clone_from(upto);
                    let name = applier.work.name();
                    metrics::histogram!("velvet_writer_apply_seconds", "work" => name)
                        .record(started.elapsed().as_secs_f64());
                    metrics::counter!("velvet_writer_rows_total", "work" => name).increment(rows);
                    return Ok(None);
                }
                Err(Error::Positions(positions::Error::Overtaken { .. })) => return Err(Interrupted::Overtaken),
                Err(error) => match error.cause() {
                    Some(cause) if !events.is_empty() => return Ok(Some(cause)),
                    _ => retry::note(applier.work.name(), &error),
                },
            }
            backoff.pause(&applier.stop).await?;
        }
    }
}

#[async_trait]
impl<W: Work> Batchwise<Recorded> for Part<'_, W> {
    type Cause = String;
    type Error = Interrupted;

    async fn attempt(&mut self, part: &[Recorded]) -> Result<Option<String>, Interrupted> {
        let upto = self.after(part);
        let cause = self.persist(part, &upto).await?;
        if cause.is_none() {
            self.applier.work.after(self.portion.shard).await?;
        }
        Ok(cause)
    }

    async fn reject(&mut self, event: &Recorded, cause: String) -> Result<(), Interrupted> {
        self.applier.dead_letters.put(event, cause).await?;
        let upto = self.after(std::slice::from_ref(event));
        self.persist(&[], &upto).await?;
        Ok(())
    }
}
