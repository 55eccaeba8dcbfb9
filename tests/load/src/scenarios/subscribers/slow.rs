//! Readers that are slower than their events: bounded in memory, told by a close code, and no harm to the others.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::events::Events;
use super::{QUERY, Reach};
use crate::bench::{Bench, counter, say};
use crate::live::client::{Address, Connection, Wanted, subscribe};
use crate::live::fleet::Fleet;
use crate::plan::Subscribers;
use crate::process::resident_bytes;
use crate::report::Row;
use crate::schedule::{Step, exact, open_loop};

/// The smallest that the kernel gives, so that events wait in the router and not on the way.
const RECEIVE_BYTES: u32 = 4_096;
/// As long as a message may be.
const TEXT_LENGTH: usize = 2_000;
/// After the last event a reader goes on for as long as its connection may still say why it ends.
const END_WITHIN: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);
/// Half of what the router gives a closing socket.
const OTHERS_WITHIN: Duration = Duration::from_millis(1_500);
/// Nobody else's address.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 200, 1);
const KIB: f64 = 1_024.0;

pub async fn measure(
    bench: &mut Bench,
    name: &str,
    plan: &Subscribers,
    events: &Events,
    reach: Reach,
    fleet: &Fleet,
) -> Result<()> {
    let readers = open(bench, events).await?;
    let count = readers.len();
    say(&format!("{name}: {count} slow readers"));
    let closed_before = slow_closes(bench).await;
    let ends: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    // Who was found slow has the close frame behind megabytes of the kernel's, and a grace period to come to it.
    let hurry = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for reader in readers {
        let (ends, hurry, pace) = (Arc::clone(&ends), Arc::clone(&hurry), plan.slow_bytes_per_second);
        tasks.spawn(async move {
            let end = read_slowly(reader, pace, &hurry).await;
            *ends.lock().unwrap_or_else(PoisonError::into_inner).entry(end).or_default() += 1;
        });
    }
    let pid = bench.pids.get("router").copied().context("the router's process")?;
    let before = resident_bytes(pid).unwrap_or_default();
    let stop = AtomicBool::new(false);
    let found = found_slow(bench, closed_before, count, &hurry, &stop);
    let (peak, (), (row, ())) = tokio::join!(peak(pid, &stop), found, async {
        let both = tokio::join!(
            events.wave(bench, name, "events, beside slow readers", plan, reach, fleet),
            flood(plan, events)
        );
        // Who was closed as slow has read the rest by then.
        let _ = tokio::time::timeout(END_WITHIN, async { while tasks.join_next().await.is_some() {} }).await;
        stop.store(true, Ordering::Relaxed);
        both
    });
    bench.add(row?);
    let open = tasks.len();
    tasks.shutdown().await;
    let closed = slow_closes(bench).await - closed_before;
    let ends = ends.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let each = (peak - before).max(0.0) / exact(count as u64);
    let mut row = Row::new(name, "slow readers, router's peak for each").value(each / KIB, "KiB");
    row.error_kinds.clone_from(&ends);
    let ends: Vec<String> = ends.iter().map(|(end, count)| format!("{count} × {end}")).collect();
    let told = if ends.is_empty() { "nobody was closed".to_owned() } else { ends.join(", ") };
    bench.add(row.note(told).note(format!("the router found {closed} slow; {open} of {count} still open at the end")));
    Ok(())
}

/// Their streams stand when this returns.
async fn open(bench: &Bench, events: &Events) -> Result<Vec<Connection>> {
    let address = Address::parse(&bench.handle.info.ws_url)?;
    let members = events.slow_conversations.iter().flat_map(|conversation| conversation.members);
    let opening = members.map(|member| {
        let address = address.clone();
        async move {
            let mut connection = address.connect(SOURCE, Some(RECEIVE_BYTES)).await?;
            let token = &events.slow[member].token;
            subscribe(&mut connection, Wanted { token, query: QUERY, streams: 1, after: None }, |_| ()).await?;
            anyhow::Ok(connection)
        }
    });
    try_join_all(opening).await.context("opening slow readers")
}

/// Long messages to the slow readers, for as long as the others get theirs.
async fn flood(plan: &Subscribers, events: &Events) {
    let conversations = &events.slow_conversations;
    let rate = plan.slow_events_per_second * exact(conversations.len() as u64);
    let step = Step::new(rate, Duration::ZERO, Duration::from_secs(plan.seconds));
    let text = "x".repeat(TEXT_LENGTH);
    // What did not go out is seen by the readers.
    let _ = open_loop(&step, |due| {
        let conversation = &conversations[usize::try_from(due.index).unwrap_or_default() % conversations.len()];
        events.append(conversation, &events.slow[conversation.members[0]], &text)
    })
    .await;
}

/// Lets the readers hurry when the router has found all of them slow, or some and a while ago.
async fn found_slow(bench: &Bench, before: f64, readers: usize, hurry: &AtomicBool, stop: &AtomicBool) {
    let mut first = None;
    while !stop.load(Ordering::Relaxed) {
        let found = slow_closes(bench).await - before;
        if found >= 1.0 {
            first.get_or_insert_with(Instant::now);
        }
        let waited = first.is_some_and(|first: Instant| first.elapsed() >= OTHERS_WITHIN);
        if waited || found >= exact(readers as u64) {
            hurry.store(true, Ordering::Relaxed);
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Reads no faster than this until it has to hurry, answers pings when it comes to them; how it ended.
async fn read_slowly(mut connection: Connection, bytes_per_second: u32, hurry: &AtomicBool) -> String {
    loop {
        let started = Instant::now();
        let bytes = match connection.next().await {
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(1_005, |frame| u16::from(frame.code));
                let _ = connection.next().await;
                return format!("code {code}");
            }
            Some(Ok(message)) => message.len(),
            Some(Err(_)) | None => return "code 1006".to_owned(),
        };
        if hurry.load(Ordering::Relaxed) {
            continue;
        }
        let pace = exact(bytes as u64) / f64::from(bytes_per_second);
        tokio::time::sleep(Duration::from_secs_f64(pace).saturating_sub(started.elapsed())).await;
    }
}

/// The most that a process has held.
async fn peak(pid: u32, stop: &AtomicBool) -> f64 {
    let mut most = 0.0_f64;
    while !stop.load(Ordering::Relaxed) {
        most = most.max(resident_bytes(pid).unwrap_or_default());
        tokio::time::sleep(LOOK).await;
    }
    most
}

async fn slow_closes(bench: &Bench) -> f64 {
    bench.router_metrics().await.map(|text| counter(&text, "velvet_router_sockets_slow_total", "")).unwrap_or_default()
}
