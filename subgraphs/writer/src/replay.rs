//! Dead letters, looked at and applied once their cause is mended: by a migration, by a newer writer, by whoever wrote
//! the data. Rows are guarded by their versions and commands by their ids, so a replay of what is there changes nothing,
//! and one of what has been overtaken meanwhile stays behind what overtook it.

use crate::{
    apply::Work as _,
    commands,
    dead_letter::{self, DeadLetter},
    decided::{self, Rows},
    shards::Shards,
};
use anyhow::{Context as _, bail, ensure};
use sea_orm::TransactionTrait as _;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::Instant;
use velvet_kernel::{
    config::Config,
    fold::Version,
    log::{Consumer, Log, NewEvent, Pace, Recorded, Topic, end_offsets, shard_of_partition},
    telemetry,
    time::{Clock as _, SystemClock, derived_id, fresh_id},
};

/// The type of the note that a dead letter has been applied.
const REPLAYED: &str = "dead.letter.replayed";
/// There are few, or something is wrong that nobody replays.
const READ_AT_ONCE: usize = 1_000;
const READ_WAIT: Duration = Duration::from_millis(500);
const READ_WITHIN: Duration = Duration::from_mins(2);

/// Which record: topic, partition, offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    topic: String,
    partition: i32,
    offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

impl From<&DeadLetter> for Place {
    fn from(letter: &DeadLetter) -> Self {
        Self { topic: letter.topic.clone(), partition: letter.partition, offset: letter.offset }
    }
}

/// Shows the letters that have not been replayed.
pub async fn list(config: &Config) -> anyhow::Result<()> {
    let open = open(config).await?;
    for (place, letter) in &open {
        println!("{place}  {}  key {}  {}", letter.kind, letter.key, letter.cause);
    }
    println!("{} dead letters have not been replayed", open.len());
    Ok(())
}

/// Applies the letters that have not been replayed, or the one of this place, in the order of the log.
pub async fn run(config: &Config, at: Option<&str>) -> anyhow::Result<()> {
    let mut open = open(config).await?;
    if let Some(at) = at {
        open.retain(|place, _| place.to_string() == at);
        ensure!(!open.is_empty(), "there is no dead letter of {at} that has not been replayed");
    }
    let shards = Shards::open(&config.writer.postgres).await?;
    let log = Log::connect(&config.kafka).context("making the producer")?;
    let mut failed = 0;
    for (place, letter) in &open {
        match replay(&shards, &log, letter).await {
            Ok(()) => {
                note(&log, place).await?;
                println!("applied {place}  {}", letter.kind);
            }
            Err(error) => {
                failed += 1;
                println!("{place}  {}  still fails: {error:#}", letter.kind);
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} dead letters could not be applied; they stay", open.len());
    }
    println!("{} dead letters applied", open.len());
    Ok(())
}

/// Reads the topic to its end.
async fn open(config: &Config) -> anyhow::Result<BTreeMap<Place, DeadLetter>> {
    let topic = Topic::dead_letters();
    let ends = end_offsets(&config.kafka, &topic).await.context("asking where the dead letters end")?;
    let mut left: HashMap<i32, i64> = (0..).zip(ends).filter(|(_, end)| *end > 0).collect();
    let group = format!("writer.dead-letters.{}", fresh_id());
    let consumer = Consumer::join(&config.kafka, &group, std::slice::from_ref(&topic), Pace::AtOnce)
        .context("reading the dead letters")?;
    let mut open = BTreeMap::new();
    let started = Instant::now();
    while !left.is_empty() {
        ensure!(started.elapsed() < READ_WITHIN, "the dead letters were not read in time");
        let batch = consumer.read(READ_AT_ONCE, READ_WAIT).await.context("reading the dead letters")?;
        for ((_, partition), next) in batch.ends() {
            if left.get(partition).is_some_and(|end| next >= *end) {
                left.remove(partition);
            }
        }
        for event in &batch.events {
            take(&mut open, event);
        }
    }
    Ok(open)
}

/// A letter and the note that it was replayed have the same key, so they come in their order.
fn take(open: &mut BTreeMap<Place, DeadLetter>, event: &Recorded) {
    if event.kind == REPLAYED {
        if let Ok(place) = event.parse::<Place>() {
            open.remove(&place);
        }
    } else if let Ok(letter) = event.parse::<DeadLetter>() {
        open.insert(Place::from(&letter), letter);
    }
}

async fn note(log: &Log, place: &Place) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let id = derived_id(&["dead-letter-replayed", &place.to_string(), &now.to_rfc3339()]);
    let event = NewEvent::new(id, REPLAYED, dead_letter::key(&place.topic, place.partition, place.offset), now, place);
    log.append(&Topic::dead_letters(), &event).await.context("noting that a dead letter has been applied")?;
    Ok(())
}

async fn replay(shards: &Shards, log: &Log, letter: &DeadLetter) -> anyhow::Result<()> {
    let topic = Topic(letter.topic.clone());
    let event = recorded(letter)?;
    if commands::topics().contains(&topic) {
        // The writer decides it in its turn, as the command that it was.
        let again = NewEvent {
            id: event.id,
            kind: event.kind,
            key: event.key,
            time: event.time,
            version: None,
            data: event.data.to_vec(),
        };
        log.append(&topic, &again).await.context("appending the command again")?;
        return Ok(());
    }
    ensure!(decided::topics().contains(&topic), "the writer applies nothing of {}", topic.0);
    let tx = shards.primary(shard_of_partition(letter.partition)).begin().await.context("reaching the shard")?;
    let written = Rows.write(&tx, &[event]).await;
    // Its source says what the database found.
    written.map_err(|error| anyhow::anyhow!(error.cause().unwrap_or_else(|| telemetry::chain(&error))))?;
    tx.commit().await.context("committing the rows")?;
    Ok(())
}

/// The event that the letter is of.
fn recorded(letter: &DeadLetter) -> anyhow::Result<Recorded> {
    let (Some(id), Some(time)) = (letter.id, letter.time) else {
        bail!("it was no event of ours ({}): whoever wrote it must write it anew", letter.cause)
    };
    Ok(Recorded {
        topic: Topic(letter.topic.clone()),
        partition: letter.partition,
        offset: letter.offset,
        id,
        kind: letter.kind.clone(),
        key: letter.key.clone(),
        time,
        version: Version(letter.version),
        traceparent: None,
        data: letter.data.bytes().context("its data is no base64")?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::{Value, json};
    use uuid::Uuid;

    fn event(kind: &str, data: &Value) -> Recorded {
        Recorded {
            topic: Topic::dead_letters(),
            partition: 0,
            offset: 0,
            id: Uuid::nil(),
            kind: kind.to_owned(),
            key: String::new(),
            time: DateTime::UNIX_EPOCH,
            version: Version(0),
            traceparent: None,
            data: serde_json::to_vec(data).unwrap().into(),
        }
    }

    fn letter(offset: i64) -> Value {
        json!({
            "topic": "messaging.decided", "partition": 3, "offset": offset, "kind": "message.sent", "key": "k",
            "version": 256, "cause": "c", "id": Uuid::nil(), "time": "2026-11-21T10:00:00Z", "data": "{}",
        })
    }

    #[test]
    fn a_letter_is_open_until_it_has_been_replayed_and_again_when_it_comes_back() {
        let mut open = BTreeMap::new();
        let replayed = event(REPLAYED, &json!({ "topic": "messaging.decided", "partition": 3, "offset": 7 }));
        for letter in [letter(7), letter(8), letter(8)] {
            take(&mut open, &event("dead.letter", &letter));
        }
        take(&mut open, &replayed);
        assert_eq!(open.keys().map(Place::to_string).collect::<Vec<_>>(), ["messaging.decided/3/8"]);
        take(&mut open, &event("dead.letter", &letter(7)));
        assert_eq!(open.len(), 2);
    }

    #[test]
    fn a_letter_is_the_event_that_it_was_of_and_a_record_without_attributes_is_none() {
        let mut of: DeadLetter = serde_json::from_value(letter(7)).unwrap();
        let event = recorded(&of).unwrap();
        assert_eq!((event.partition, event.offset, event.version), (3, 7, Version(256)));
        of.id = None;
        assert!(recorded(&of).unwrap_err().to_string().contains("anew"));
    }
}
