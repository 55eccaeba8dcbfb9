//! Operators' commands: each does one thing and ends.

use crate::{
    accounts::rows::{sessions, users},
    commands, decided,
    matching::rows::{blocks, matches, swipes},
    messaging::rows::{conversations, messages, reactions, read_marks},
    positions::{self, Place},
    shards::{COUNT, Shards},
};
use anyhow::{Context as _, bail};
use sea_orm::{DbErr, EntityTrait, PaginatorTrait as _};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;
use velvet_kernel::{
    config::Config,
    log::{Topic, ranges},
    process::connect_store,
    project::rebuilt_rows,
    store::{CANARIES, Call},
};

/// How often the rebuild is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Has all views rebuilt: without its canaries, Redis' content counts as lost, and the projectors'
/// keeper asks the running writer for everything. Shows progress until a new epoch stands.
pub async fn rebuild(config: &Config, timeout: Duration) -> anyhow::Result<()> {
    let store = connect_store(&config.redis).await?;
    let shards = Shards::open(&config.writer.postgres).await?;
    println!("rows in the replicas:");
    for (table, rows) in count(&shards).await? {
        println!("  {table:<20} {rows}");
    }
    let started = Instant::now();
    let merged_before = rebuilt_rows(&store).await?;
    let calls: Vec<Call> = CANARIES.iter().map(|key| Call::command_on("DEL", key.as_str())).collect();
    store.run(&calls).await?;
    let mut told = None;
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        let merged = rebuilt_rows(&store).await?.saturating_sub(merged_before);
        if let Some(epoch) = store.epoch().await? {
            println!("rebuilt: {merged} rows merged in {:.1} s, epoch {}", started.elapsed().as_secs_f64(), epoch.0);
            return Ok(());
        }
        if told != Some(merged) {
            println!("{merged} rows merged");
            told = Some(merged);
        }
        if started.elapsed() >= timeout {
            bail!(
                "no new epoch within {} s: do a projector (velvet project) and a writer (velvet-writer run) run? \
                 The rebuild goes on without this command.",
                timeout.as_secs()
            );
        }
    }
}

/// Compares the stored positions with the log. Fails when the log has forgotten records that a shard still needs.
pub async fn positions(config: &Config) -> anyhow::Result<()> {
    let shards = Shards::open(&config.writer.postgres).await?;
    let mut stored: HashMap<Place, i64> = HashMap::new();
    for shard in 0..COUNT {
        let read = positions::read(shards.primary(shard)).await;
        stored.extend(read.with_context(|| format!("reading the positions of shard {shard}"))?);
    }
    let mut forgotten = 0;
    for Topic(topic) in decided::topics().into_iter().chain(commands::topics()) {
        let ranges =
            ranges(&config.kafka, &Topic(topic.clone())).await.with_context(|| format!("asking for {topic}"))?;
        let (mut behind, mut spare) = (0, i64::MAX);
        for (partition, (begins, ends)) in (0..).zip(ranges) {
            let place = Place { topic: topic.clone(), partition };
            let position = stored.get(&place).copied().unwrap_or_default();
            behind += (ends - position).max(0);
            spare = spare.min(position - begins);
            if position < begins {
                forgotten += begins - position;
                println!("{topic}/{partition}: the log begins at {begins}, the shard stands at {position}");
            }
        }
        println!("{topic:<22} {behind} to be read; the log reaches back {} further", spare.max(0));
    }
    if forgotten > 0 {
        bail!("the log has forgotten {forgotten} records that have not been applied");
    }
    Ok(())
}

/// The rows of all shards that a rebuild reads.
async fn count(shards: &Shards) -> Result<Vec<(&'static str, u64)>, DbErr> {
    Ok(vec![
        ("users", count_of::<users::Entity>(shards).await?),
        ("sessions", count_of::<sessions::Entity>(shards).await?),
        ("swipes", count_of::<swipes::Entity>(shards).await?),
        ("matches", count_of::<matches::Entity>(shards).await?),
        ("blocks", count_of::<blocks::Entity>(shards).await?),
        ("conversations", count_of::<conversations::Entity>(shards).await?),
        ("messages", count_of::<messages::Entity>(shards).await?),
        ("reactions", count_of::<reactions::Entity>(shards).await?),
        ("read_marks", count_of::<read_marks::Entity>(shards).await?),
    ])
}

async fn count_of<E: EntityTrait>(shards: &Shards) -> Result<u64, DbErr>
where
    E::Model: Send + Sync,
{
    let mut rows = 0;
    for shard in 0..COUNT {
        rows += E::find().count(shards.replica(shard)).await?;
    }
    Ok(rows)
}
