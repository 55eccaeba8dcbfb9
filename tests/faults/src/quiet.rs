//! When nothing is on its way any more: every fold, relay and writer stands at the end of what it reads.

use crate::tap::Tap;
use anyhow::{Context, Result, anyhow, ensure};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};
use velvet_e2e::database::everywhere;
use velvet_kernel::log::{Stage, Topic};
use velvet_kit::Handle;

pub const DOMAINS: [&str; 3] = ["accounts", "matching", "messaging"];
/// Who reads whose decided events.
const RELAYS: [(&str, &str); 4] =
    [("accounts", "matching"), ("matching", "accounts"), ("matching", "messaging"), ("messaging", "matching")];
/// A seed's whole backlog, on a busy machine that has just been healed.
const QUIET_WITHIN: Duration = Duration::from_secs(150);
const PAUSE: Duration = Duration::from_millis(250);
/// It is quiet when nothing has moved for so long: longer than a process gathers its notes of who is active.
const STILL: Duration = Duration::from_secs(2);

/// Where each topic's partitions end.
pub type Ends = BTreeMap<String, Vec<i64>>;

/// Waits until it is quiet, and stays so for a while. Where the topics end then.
pub async fn wait(stack: &Handle) -> Result<Ends> {
    let tap = Tap::open(stack)?;
    let started = Instant::now();
    let mut still: Option<(Ends, Instant)> = None;
    loop {
        let cause = match level(stack, &tap).await {
            Ok(ends) => {
                let since = match still.take() {
                    Some((before, since)) if before == ends => since,
                    _ => Instant::now(),
                };
                if since.elapsed() >= STILL {
                    return Ok(ends);
                }
                still = Some((ends, since));
                anyhow!("it has only just become quiet")
            }
            Err(cause) => {
                still = None;
                cause
            }
        };
        if started.elapsed() > QUIET_WITHIN {
            return Err(cause).with_context(|| format!("it is not quiet after {} s", QUIET_WITHIN.as_secs()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Where the topics end, if everybody stands there.
async fn level(stack: &Handle, tap: &Tap) -> Result<Ends> {
    let mut ends = Ends::new();
    let mut decided: HashMap<&str, Vec<i64>> = HashMap::new();
    for domain in DOMAINS {
        let intake = Topic::of(domain, Stage::Intake);
        let end = tap.ends(&intake).await?;
        stands(&format!("{domain}.project"), &tap.committed(&format!("{domain}.project"), &intake).await?, &end)?;
        ends.insert(intake.0, end);
        let topic = Topic::of(domain, Stage::Decided);
        let end = tap.ends(&topic).await?;
        ends.insert(topic.0, end.clone());
        decided.insert(domain, end);
    }
    for (reader, from) in RELAYS {
        let group = format!("{reader}.relay.{from}");
        stands(&group, &tap.committed(&group, &Topic::of(from, Stage::Decided)).await?, &decided[from])?;
    }
    let waiting = everywhere(stack, "SELECT id FROM {shard}.outbox").await?.len();
    ensure!(waiting == 0, "{waiting} events in outboxes");
    let mut stored: HashMap<(String, i64), i64> = HashMap::new();
    for row in everywhere(stack, "SELECT topic, partition, next_offset FROM {shard}.log_positions").await? {
        let topic = row["topic"].as_str().unwrap_or_default().to_owned();
        stored.insert((topic, row["partition"].as_i64().unwrap_or(-1)), row["next_offset"].as_i64().unwrap_or(-1));
    }
    let commands = Topic::of("accounts", Stage::Commands);
    let commands_end = tap.ends(&commands).await?;
    let of_writer = DOMAINS.map(|domain| (Topic::of(domain, Stage::Decided), decided[domain].clone()));
    for (topic, end) in of_writer.into_iter().chain([(commands, commands_end)]) {
        let place = |partition| stored.get(&(topic.0.clone(), partition)).copied().unwrap_or_default();
        let positions: Vec<i64> = (0..).zip(&end).map(|(partition, _)| place(partition)).collect();
        stands(&format!("the writer of {}", topic.0), &positions, &end)?;
    }
    Ok(ends)
}

fn stands(who: &str, at: &[i64], end: &[i64]) -> Result<()> {
    ensure!(at == end, "{who} stands at {at:?} of {end:?}");
    Ok(())
}
