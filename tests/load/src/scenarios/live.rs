//! From the moment a message is due to be sent to its arrival at the other side's subscription.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use serde_json::json;
use tokio::task::JoinSet;
use velvet_e2e::Stream;
use velvet_kit::until;

use super::send::Senders;
use crate::bench::{Bench, Place};
use crate::graph::mutate;
use crate::people::People;
use crate::report::Row;
use crate::schedule::{Step, histogram, open_loop, record};

/// Nothing but what messaging has: each event is forwarded as it is.
const FORWARDED: &str = "subscription { messageEvents {
    __typename ... on MessageSent { message { id position body } }
} }";
/// With what accounts has: each event is completed by a fetch.
const COMPLETED: &str = "subscription { messageEvents {
    __typename ... on MessageSent { message { id position body sender { id displayName } } }
} }";
/// How long events are awaited after the last message was answered.
const LAST_WITHIN: Duration = Duration::from_secs(3);
const AT_ONCE: usize = 8;
/// Subscribers: the second member of each pair. The first one writes, so each event counts once.
const PAIRS_MAX: usize = 50;

/// When each message arrived, by its text.
type Arrivals = Arc<Mutex<HashMap<String, Instant>>>;

pub async fn measure(bench: &mut Bench, people: &People) -> Result<()> {
    for (what, query) in [("forwarded", FORWARDED), ("completed by a fetch", COMPLETED)] {
        let row = one(bench, people, what, query).await?;
        bench.add(row);
    }
    Ok(())
}

async fn one(bench: &Bench, people: &People, what: &str, query: &'static str) -> Result<Row> {
    let pairs = &people.pairs[..people.pairs.len().min(PAIRS_MAX)];
    let streams: Vec<Stream> = stream::iter(pairs.iter().map(|pair| pair.members[1].follow(query, json!({}))))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let arrivals = Arrivals::default();
    let mut readers = JoinSet::new();
    for stream in streams {
        readers.spawn(read(stream, Arc::clone(&arrivals)));
    }
    let senders = Senders::new(bench, pairs, Place::Router)?;
    let measured = Duration::from_secs(bench.arguments.seconds);
    let step = Step::new(bench.arguments.live_rate, measured / 5, measured);
    let sent: Mutex<Vec<(String, Instant)>> = Mutex::default();
    let before = bench.used().await;
    let outcome = open_loop(&step, |due| {
        let text = format!("{}-{what}-{}", bench.run, due.index);
        let (client, request) = senders.first_members_message(due.index, &text);
        if due.measured {
            sent.lock().unwrap_or_else(PoisonError::into_inner).push((text, due.at));
        }
        async move { mutate(&client, request, "sendMessage", "MessageSent").await }
    })
    .await;
    let sent = sent.into_inner().unwrap_or_else(PoisonError::into_inner);
    let all_here = || async {
        let arrived = lock(&arrivals);
        if sent.iter().all(|(text, _)| arrived.contains_key(text)) { Ok(()) } else { bail!("events are missing") }
    };
    // What is missing then is counted as missing.
    let _ = until("the last events", LAST_WITHIN, all_here).await;
    let uses = before.until(&bench.used().await, outcome.ended);
    readers.shutdown().await;
    let missing = sent.iter().filter(|(text, _)| !lock(&arrivals).contains_key(text)).count();
    let mut row = Row::new("event to subscriber", format!("router · {what}")).outcome(&outcome);
    row.errors = Some(outcome.errors_total() + missing as u64);
    row = row.latencies(&latencies(&sent, &lock(&arrivals))).uses(uses);
    let subscribers = pairs.len();
    Ok(row.note(format!("{subscribers} subscribers; {missing} events missing; processor time of send and event")))
}

/// Of the events that came.
fn latencies(sent: &[(String, Instant)], arrivals: &HashMap<String, Instant>) -> Histogram<u64> {
    let mut latencies = histogram();
    for (text, due) in sent {
        if let Some(arrived) = arrivals.get(text) {
            record(&mut latencies, arrived.saturating_duration_since(*due));
        }
    }
    latencies
}

async fn read(mut stream: Stream, arrivals: Arrivals) {
    while let Ok(event) = stream.next_of("MessageSent").await {
        let now = Instant::now();
        if let Some(text) = event["message"]["body"].as_str() {
            // The first time counts: twice would be a fault that other tests look for.
            lock(&arrivals).entry(text.to_owned()).or_insert(now);
        }
    }
}

fn lock(arrivals: &Arrivals) -> MutexGuard<'_, HashMap<String, Instant>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}
