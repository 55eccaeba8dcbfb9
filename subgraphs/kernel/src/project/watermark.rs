//! How far each partition has been folded: kept in Redis, announced on a channel, awaited in memory.

use super::Error;
use crate::{
    log::{Receipt, Recorded},
    store::{Call, Script, Signal, Store},
};
use std::{collections::HashMap, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// While somebody waits, look at the stored value this often, in case an announcement was lost.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// After Redis failed, try again this soon.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// KEYS: watermark. ARGV: next offset, channel.
static ADVANCE: Script = Script::new(
    r"
local at = tonumber(redis.call('GET', KEYS[1]) or '-1')
if tonumber(ARGV[1]) > at then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('SPUBLISH', ARGV[2], ARGV[1])
return 1
",
);

fn key(domain: &str, partition: i32) -> String {
    format!("{domain}:watermark:{{{domain}.{partition}}}")
}

fn channel(domain: &str, partition: i32) -> String {
    format!("{domain}:passed:{{{domain}.{partition}}}")
}

/// Says that these events have been folded.
pub(super) async fn advance(store: &Store, domain: &str, events: &[Recorded]) -> Result<(), Error> {
    let mut next: HashMap<i32, i64> = HashMap::new();
    for event in events {
        next.insert(event.partition, event.offset + 1);
    }
    let calls: Vec<Call> = next
        .into_iter()
        .map(|(partition, next)| {
            Call::script(&ADVANCE, [key(domain, partition)]).arg(next).arg(channel(domain, partition))
        })
        .collect();
    store.run(&calls).await?;
    Ok(())
}

/// The fold did not pass a receipt in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLate;

/// The watermarks that this process follows.
///
/// Offsets only grow, whatever happens to Redis, so the largest value that was ever announced
/// holds: what it covers was folded, and a rebuild restores it before anything else is folded.
#[derive(Debug)]
pub struct Watermarks(HashMap<(&'static str, i32), watch::Sender<i64>>);

impl Watermarks {
    /// Follows all partitions of these domains.
    pub fn follow(store: &Store, domains: &[&'static str], partitions: i32, stop: &CancellationToken) -> Self {
        let mut marks = HashMap::new();
        for domain in domains {
            for partition in 0..partitions {
                let sender = watch::Sender::new(-1);
                let follow = follow_one(store.clone(), domain, partition, sender.clone());
                let stop = stop.clone();
                tokio::spawn(async move { stop.run_until_cancelled(follow).await });
                marks.insert((*domain, partition), sender);
            }
        }
        Self(marks)
    }

    /// Waits until the fold has passed a receipt.
    pub async fn passed(&self, domain: &'static str, receipt: Receipt, deadline: Instant) -> Result<(), TooLate> {
        let mut mark = self.0.get(&(domain, receipt.partition)).ok_or(TooLate)?.subscribe();
        match tokio::time::timeout_at(deadline, mark.wait_for(|next| *next > receipt.offset)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(TooLate),
        }
    }
}

async fn follow_one(store: Store, domain: &'static str, partition: i32, mark: watch::Sender<i64>) {
    let raise = |next: i64| {
        mark.send_if_modified(|at| {
            let higher = next > *at;
            if higher {
                *at = next;
            }
            higher
        });
    };
    let mut listener = loop {
        match store.hub().listen(&channel(domain, partition)).await {
            Ok(listener) => break listener,
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    };
    let mut look = true;
    loop {
        if look && let Ok(Some(next)) = store.ask::<Option<i64>>(Call::command_on("GET", key(domain, partition))).await
        {
            raise(next);
        }
        look = match tokio::time::timeout(LOOK_PAUSE, listener.next()).await {
            Ok(Signal::Message(message)) => {
                if let Some(next) = std::str::from_utf8(&message).ok().and_then(|text| text.parse().ok()) {
                    raise(next);
                }
                false
            }
            Ok(Signal::Gap) => true,
            Err(_) => mark.receiver_count() > 0,
        };
    }
}
