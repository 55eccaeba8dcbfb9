//! Who is active: at most once a minute per user, noted in the background.
//!
//! It is allowed to lose a note under load, as the next request makes another.

use crate::{DOMAIN_NAME, event::Fact};
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use std::{collections::HashMap, iter, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use velvet_kernel::{
    api::{Activity, Serve},
    id::UserId,
    log::{Log, NewEvent, Stage, Topic},
    time::{Clock, derived_id},
};

/// A user is noted no more often than this.
const PAUSE: TimeDelta = TimeDelta::seconds(60);
/// Users that are remembered as noted; about 4 MB.
const REMEMBERED_MAX: usize = 100_000;
/// Notes that wait for the log.
const QUEUE_MAX: usize = 4_096;
/// Nobody waits for a note, so they are gathered for so long: what a batch costs all who read it is paid once for many.
const GATHERING: Duration = Duration::from_secs(1);

/// What notes the users that this process serves.
pub fn activity(serve: &Serve) -> Arc<dyn Activity> {
    let (queue, notes) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(append(serve.log.clone(), notes));
    Arc::new(Recent { clock: Arc::clone(&serve.clock), noted: Mutex::default(), queue })
}

struct Recent {
    clock: Arc<dyn Clock>,
    noted: Mutex<HashMap<UserId, DateTime<Utc>>>,
    queue: mpsc::Sender<(UserId, DateTime<Utc>)>,
}

impl Activity for Recent {
    fn seen(&self, user: UserId) {
        let now = self.clock.now();
        if self.is_due(user, now) && self.queue.try_send((user, now)).is_err() {
            dropped(1);
        }
    }
}

impl Recent {
    fn is_due(&self, user: UserId, now: DateTime<Utc>) -> bool {
        let mut noted = self.noted.lock();
        if noted.get(&user).is_some_and(|at| now - *at < PAUSE) {
            return false;
        }
        if noted.len() >= REMEMBERED_MAX {
            noted.retain(|_, at| now - *at < PAUSE);
        }
        if noted.len() >= REMEMBERED_MAX {
            dropped(1);
            return false;
        }
        noted.insert(user, now);
        true
    }
}

fn dropped(count: u64) {
    metrics::counter!("velvet_activity_dropped_total").increment(count);
}

async fn append(log: Log, mut notes: mpsc::Receiver<(UserId, DateTime<Utc>)>) {
    let intake = Topic::of(DOMAIN_NAME, Stage::Intake);
    while let Some(first) = notes.recv().await {
        tokio::time::sleep(GATHERING).await;
        let gathered = iter::once(first).chain(iter::from_fn(|| notes.try_recv().ok())).take(QUEUE_MAX);
        let events: Vec<NewEvent> = gathered.map(|(user, at)| note(user, at)).collect();
        if let Err(error) = log.append_all(events.iter().map(|event| (&intake, event))).await {
            tracing::warn!(%error, "activity.append_failed");
            dropped(events.len() as u64);
        }
    }
}

/// The id follows from the minute, so that the notes of several processes are one.
fn note(user: UserId, at: DateTime<Utc>) -> NewEvent {
    let user = user.to_string();
    let minute = (at.timestamp() / PAUSE.num_seconds()).to_string();
    Fact::Active.event(derived_id(&[DOMAIN_NAME, "active", &user, &minute]), user, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;
    use velvet_kernel::time::FixedClock;

    fn user(n: u128) -> UserId {
        UserId(Uuid::from_u128(n))
    }

    fn recent(queue_max: usize) -> (FixedClock, Recent, mpsc::Receiver<(UserId, DateTime<Utc>)>) {
        let clock = FixedClock::at(DateTime::UNIX_EPOCH);
        let (queue, notes) = mpsc::channel(queue_max);
        (clock.clone(), Recent { clock: Arc::new(clock), noted: Mutex::default(), queue }, notes)
    }

    #[test]
    fn a_user_is_noted_once_a_minute() {
        let (clock, recent, mut notes) = recent(8);
        for seconds in [0, 59, 1, 59, 1] {
            clock.advance(TimeDelta::seconds(seconds));
            recent.seen(user(1));
        }
        recent.seen(user(2));
        let who_and_when: Vec<_> =
            std::iter::from_fn(|| notes.try_recv().ok()).map(|(who, at)| (who, at.timestamp())).collect();
        assert_eq!(who_and_when, [(user(1), 0), (user(1), 60), (user(1), 120), (user(2), 120)]);
    }

    #[test]
    fn a_full_queue_drops_and_does_not_wait() {
        let (_, recent, mut notes) = recent(1);
        recent.seen(user(1));
        recent.seen(user(2));
        assert_eq!(notes.try_recv().map(|(who, _)| who), Ok(user(1)));
        assert!(notes.try_recv().is_err());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (clock, recent, _notes) = recent(1);
        for n in 0..REMEMBERED_MAX as u128 {
            recent.is_due(user(n), clock.now());
        }
        assert!(!recent.is_due(user(u128::MAX), clock.now()));
        clock.advance(PAUSE);
        assert!(recent.is_due(user(u128::MAX), clock.now()));
        assert_eq!(recent.noted.lock().len(), 1);
    }

    #[test]
    fn notes_of_one_minute_are_one() {
        let at = |second| note(user(1), DateTime::from_timestamp(second, 0).unwrap()).id;
        assert_eq!(at(60), at(119));
        assert_ne!(at(60), at(120));
    }
}
