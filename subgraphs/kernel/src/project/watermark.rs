//! How far each partition has been folded: kept in Redis, announced on a channel, awaited in memory.
//!
//! An announcement brings the outcomes of what was folded along, so that whoever waits for one need not read it.

use super::Error;
use crate::{
    log::{Receipt, Recorded},
    store::{Call, Script, Signal, Store},
};
use dashmap::DashMap;
use std::{collections::HashMap, fmt::Write as _, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// While somebody waits, look at the stored value this often, in case an announcement was lost.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// After Redis failed, try again this soon.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Outcomes that one announcement brings along, in bytes at most; who misses one reads it.
const OUTCOMES_SIZE_MAX: usize = 32 * 1024;

/// KEYS: watermark. ARGV: next offset, channel, outcomes. These go by themselves, and first: a process of an older
/// version, which knows only offsets, passes over them.
static ADVANCE: Script = Script::new(
    r"
local at = tonumber(redis.call('GET', KEYS[1]) or '-1')
if tonumber(ARGV[1]) > at then redis.call('SET', KEYS[1], ARGV[1]) end
if ARGV[3] ~= '' then redis.call('SPUBLISH', ARGV[2], ARGV[3]) end
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

/// Says that these events have been folded, and what has come of them as far as it is known here.
pub(super) async fn advance<'a>(
    store: &Store,
    domain: &str,
    events: &'a [Recorded],
    outcome_of: impl Fn(&'a Recorded) -> Option<&'a str>,
) -> Result<(), Error> {
    let mut passed: HashMap<i32, (i64, Outcomes)> = HashMap::new();
    for event in events {
        let (next, outcomes) = passed.entry(event.partition).or_default();
        *next = event.offset + 1;
        if let Some(outcome) = outcome_of(event) {
            outcomes.add(event.id, outcome);
        }
    }
    let calls: Vec<Call> = passed
        .into_iter()
        .map(|(partition, (next, outcomes))| {
            Call::script(&ADVANCE, [key(domain, partition)]).arg(next).arg(channel(domain, partition)).arg(outcomes.0)
        })
        .collect();
    store.run(&calls).await?;
    Ok(())
}

/// Outcomes as they are announced: an event's id and its outcome in JSON, each behind the end of a line.
#[derive(Debug, Default)]
struct Outcomes(String);

impl Outcomes {
    fn add(&mut self, id: Uuid, outcome: &str) {
        if self.0.len() + outcome.len() <= OUTCOMES_SIZE_MAX {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "\n{id} {outcome}");
        }
    }

    fn read(text: &str) -> impl Iterator<Item = (Uuid, &str)> {
        text.split('\n').filter_map(|line| {
            let (id, outcome) = line.split_once(' ')?;
            Some((Uuid::try_parse(id).ok()?, outcome))
        })
    }
}

/// The fold did not pass a receipt in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLate;

/// The watermarks that this process follows.
///
/// Offsets only grow, whatever happens to Redis, so the largest value that was ever announced
/// holds: what it covers was folded, and a rebuild restores it before anything else is folded.
#[derive(Debug)]
pub struct Watermarks {
    marks: HashMap<(&'static str, i32), watch::Sender<i64>>,
    expected: Arc<Expected>,
}

/// The events whose outcomes somebody of this process waits for, and those outcomes that have been announced.
type Expected = DashMap<Uuid, Option<Box<str>>>;

/// Somebody's wait for the outcome of an event.
#[derive(Debug)]
pub struct Expectation {
    id: Uuid,
    expected: Arc<Expected>,
}

impl Expectation {
    /// The outcome, if it has been announced since the wait began. Who has been told that the event was passed and
    /// finds nothing here reads it.
    pub fn outcome(&self) -> Option<Box<str>> {
        self.expected.get_mut(&self.id).and_then(|mut outcome| outcome.take())
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        self.expected.remove(&self.id);
    }
}

impl Watermarks {
    /// Follows all partitions of these domains.
    pub fn follow(store: &Store, domains: &[&'static str], partitions: i32, stop: &CancellationToken) -> Self {
        let mut marks = HashMap::new();
        let expected = Arc::new(Expected::default());
        for domain in domains {
            for partition in 0..partitions {
                let sender = watch::Sender::new(-1);
                let follow = follow_one(store.clone(), domain, partition, sender.clone(), Arc::clone(&expected));
                let stop = stop.clone();
                tokio::spawn(async move { stop.run_until_cancelled(follow).await });
                marks.insert((*domain, partition), sender);
            }
        }
        Self { marks, expected }
    }

    /// Has the outcome of an event kept when it is announced: to be called before the event is appended.
    pub fn expect(&self, id: Uuid) -> Expectation {
        self.expected.insert(id, None);
        Expectation { id, expected: Arc::clone(&self.expected) }
    }

    /// Waits until the fold has passed a receipt.
    pub async fn passed(&self, domain: &'static str, receipt: Receipt, deadline: Instant) -> Result<(), TooLate> {
        let mut mark = self.marks.get(&(domain, receipt.partition)).ok_or(TooLate)?.subscribe();
        match tokio::time::timeout_at(deadline, mark.wait_for(|next| *next > receipt.offset)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(TooLate),
        }
    }
}

async fn follow_one(
    store: Store,
    domain: &'static str,
    partition: i32,
    mark: watch::Sender<i64>,
    expected: Arc<Expected>,
) {
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
                let text = std::str::from_utf8(&message).unwrap_or_default();
                for (id, outcome) in Outcomes::read(text) {
                    if let Some(mut place) = expected.get_mut(&id) {
                        *place = Some(outcome.into());
                    }
                }
                if let Ok(next) = text.parse() {
                    raise(next);
                }
                false
            }
            Ok(Signal::Gap) => true,
            Err(_) => mark.receiver_count() > 0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_as_they_were_announced() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut outcomes = Outcomes::default();
        outcomes.add(one, r#"{"type":"sent"}"#);
        outcomes.add(two, "null");
        let read: Vec<_> = Outcomes::read(&outcomes.0).collect();
        assert_eq!(read, [(one, r#"{"type":"sent"}"#), (two, "null")]);
        assert!(outcomes.0.parse::<i64>().is_err(), "nobody takes it for an offset");
        assert_eq!(Outcomes::read("8").count(), 0);
    }

    #[test]
    fn what_does_not_fit_is_left_to_be_read() {
        let mut outcomes = Outcomes::default();
        outcomes.add(Uuid::nil(), &"x".repeat(OUTCOMES_SIZE_MAX + 1));
        outcomes.add(Uuid::max(), "null");
        assert_eq!(Outcomes::read(&outcomes.0).collect::<Vec<_>>(), [(Uuid::max(), "null")]);
    }

    #[test]
    fn an_outcome_is_kept_for_as_long_as_somebody_waits() {
        let marks = Watermarks { marks: HashMap::new(), expected: Arc::default() };
        let id = Uuid::from_u128(1);
        let expectation = marks.expect(id);
        assert_eq!(expectation.outcome(), None);
        *marks.expected.get_mut(&id).unwrap() = Some("null".into());
        assert_eq!(expectation.outcome().as_deref(), Some("null"));
        drop(expectation);
        assert!(marks.expected.is_empty());
    }
}
