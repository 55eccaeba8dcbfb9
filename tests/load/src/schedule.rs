//! Load that does not wait for answers.
//!
//! Requests are due at a constant rate, whatever became of those before. A latency counts from the
//! moment at which the request was due, not from when it was sent, so a server (or this program)
//! that stalls shows in every request that was due meanwhile: no coordinated omission.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Requests that are open at once, at most; further ones wait, and their latency grows meanwhile.
const IN_FLIGHT_MAX: usize = 1_024;
/// How long answers are awaited after the last request was due; the rest counts as unanswered.
const DRAIN: Duration = Duration::from_secs(3);
/// The first request is due this long after the start, so that the clock's thread is there in time.
const LEAD: Duration = Duration::from_millis(5);
/// Latencies are kept with three digits, from a microsecond to a minute.
const LATENCY_MAX_US: u64 = 60_000_000;

/// One request's outcome: what went wrong, in a few words that are the same for the same cause.
pub type Answer = Result<(), String>;

/// A constant rate over a time.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub rate_per_second: f64,
    /// At the same rate, but not counted.
    pub warm_up: Duration,
    pub measured: Duration,
}

/// What a step came to, without its warm-up.
#[derive(Debug)]
pub struct Outcome {
    pub offered_per_second: f64,
    pub achieved_per_second: f64,
    /// Of the requests that were answered well, and, at their age, of those that were never answered.
    pub latencies: Histogram<u64>,
    pub answered: u64,
    /// What went wrong and how often; unanswered requests included.
    pub errors: BTreeMap<String, u64>,
    /// All that ended, warm-up and errors included: what processor time divides by.
    pub ended: u64,
}

/// When each request is due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    rate_per_second: f64,
    warm_up: u64,
    count: u64,
}

/// A request that is due.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    pub index: u64,
    /// What its latency counts from.
    pub at: Instant,
    /// Whether it counts at all; the warm-up does not.
    pub measured: bool,
}

struct Tally {
    latencies: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    answered: u64,
    ended: u64,
    /// Of the measured ones, those whose end is not known yet.
    open: BTreeMap<u64, Instant>,
    last: Instant,
}

impl Step {
    pub fn new(rate_per_second: f64, warm_up: Duration, measured: Duration) -> Self {
        Self { rate_per_second, warm_up, measured }
    }
}

impl Outcome {
    pub fn errors_total(&self) -> u64 {
        self.errors.values().sum()
    }

    pub fn p99_ms(&self) -> f64 {
        quantile_ms(&self.latencies, 0.99).unwrap_or_default()
    }

    /// Whether the rate was kept up: nearly all of it answered, well, and in bounded time.
    pub fn holds(&self, p99_max: Duration) -> bool {
        let measured = self.answered + self.errors_total();
        let few_errors = self.errors_total() * 1_000 <= measured;
        let in_time = self.p99_ms() <= p99_max.as_secs_f64() * 1_000.0;
        self.answered > 0 && few_errors && in_time && self.achieved_per_second >= 0.95 * self.offered_per_second
    }
}

impl Schedule {
    fn new(start: Instant, step: &Step) -> Self {
        let rate_per_second = step.rate_per_second.max(0.1);
        let during = |time: Duration| whole(time.as_secs_f64() * rate_per_second);
        let warm_up = during(step.warm_up);
        Self { start, rate_per_second, warm_up, count: warm_up + during(step.measured).max(1) }
    }

    fn at(&self, index: u64) -> Instant {
        self.start + Duration::from_secs_f64(exact(index) / self.rate_per_second)
    }

    /// Says each request when it is due; a late one at once, with the time at which it was due.
    fn tick(&self, due: &mpsc::UnboundedSender<Due>) {
        for index in 0..self.count {
            let at = self.at(index);
            // A thread of its own, as the kernel's timer is twenty times finer than the runtime's.
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if due.send(Due { index, at, measured: index >= self.warm_up }).is_err() {
                return;
            }
        }
    }
}

impl Tally {
    fn new(schedule: &Schedule) -> Self {
        let open = (schedule.warm_up..schedule.count).map(|index| (index, schedule.at(index))).collect();
        Self {
            latencies: histogram(),
            errors: BTreeMap::new(),
            answered: 0,
            ended: 0,
            open,
            last: schedule.at(schedule.count),
        }
    }

    fn note(&mut self, index: u64, answer: Answer, now: Instant) {
        self.ended += 1;
        // Nothing is open of the warm-up.
        let Some(due) = self.open.remove(&index) else {
            return;
        };
        self.last = self.last.max(now);
        match answer {
            Ok(()) => {
                self.answered += 1;
                record(&mut self.latencies, now.saturating_duration_since(due));
            }
            Err(what) => *self.errors.entry(what).or_default() += 1,
        }
    }

    fn close(mut self, schedule: &Schedule, now: Instant) -> Outcome {
        for due in std::mem::take(&mut self.open).into_values() {
            self.last = self.last.max(now);
            record(&mut self.latencies, now.saturating_duration_since(due));
            *self.errors.entry("unanswered".to_owned()).or_default() += 1;
        }
        let took = self.last.saturating_duration_since(schedule.at(schedule.warm_up));
        Outcome {
            offered_per_second: schedule.rate_per_second,
            achieved_per_second: exact(self.answered) / took.as_secs_f64().max(1e-9),
            latencies: self.latencies,
            answered: self.answered,
            errors: self.errors,
            ended: self.ended,
        }
    }
}

/// Sends at a constant rate.
pub async fn open_loop<S, F>(step: &Step, send: S) -> Outcome
where
    S: Fn(Due) -> F,
    F: Future<Output = Answer> + Send + 'static,
{
    let schedule = Schedule::new(Instant::now() + LEAD, step);
    let (sender, mut due) = mpsc::unbounded_channel();
    let clock = std::thread::spawn(move || schedule.tick(&sender));
    let tally = Arc::new(Mutex::new(Tally::new(&schedule)));
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut tasks = JoinSet::new();
    let sending = async {
        while let Some(request) = due.recv().await {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let (answer, tally) = (send(request), Arc::clone(&tally));
            tasks.spawn(async move {
                let answer = answer.await;
                tally.lock().unwrap_or_else(PoisonError::into_inner).note(request.index, answer, Instant::now());
                drop(slot);
            });
            // What has ended needs no room.
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    };
    let cutoff = tokio::time::Instant::from_std(schedule.at(schedule.count) + DRAIN);
    // Past the cutoff the rest counts as unanswered.
    let _ = tokio::time::timeout_at(cutoff, sending).await;
    tasks.shutdown().await;
    drop(due);
    // It has ended, as nothing is due after the cutoff.
    let _ = clock.join();
    let empty = Tally::new(&schedule);
    let tally = std::mem::replace(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner), empty);
    tally.close(&schedule, Instant::now())
}

/// As fast as `workers` that wait for each answer can: a first idea of what a server takes. Answers per second.
pub async fn closed_loop<S, F>(workers: u64, time: Duration, send: S) -> f64
where
    S: Fn(u64) -> F,
    F: Future<Output = Answer>,
{
    let started = Instant::now();
    let work = (0..workers).map(|worker| {
        let send = &send;
        async move {
            let (mut answered, mut index) = (0_u64, worker);
            while let Some(left) = time.checked_sub(started.elapsed()) {
                match tokio::time::timeout(left, send(index)).await {
                    Ok(Ok(())) => answered += 1,
                    // A refusal that comes at once must not become a busy loop.
                    Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(_) => break,
                }
                index += workers;
            }
            answered
        }
    });
    let answered: u64 = futures::future::join_all(work).await.into_iter().sum();
    exact(answered) / started.elapsed().as_secs_f64()
}

/// An empty histogram of microseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).unwrap_or_else(|_| unreachable!("the bounds are constants"))
}

/// Counts a latency; what is out of the histogram's range counts as its end.
pub fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    latencies.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US));
}

/// In milliseconds; none of nothing.
pub fn quantile_ms(latencies: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!latencies.is_empty()).then(|| exact(latencies.value_at_quantile(quantile)) / 1_000.0)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^53")]
pub fn exact(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative and far below 2^53")]
pub fn whole(count: f64) -> u64 {
    count.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(rate_per_second: f64, warm_up_ms: u64, measured_ms: u64) -> Step {
        Step::new(rate_per_second, Duration::from_millis(warm_up_ms), Duration::from_millis(measured_ms))
    }

    #[test]
    fn requests_are_due_at_a_constant_rate() {
        let start = Instant::now();
        let schedule = Schedule::new(start, &step(200.0, 500, 1_000));
        assert_eq!((schedule.warm_up, schedule.count), (100, 300));
        assert_eq!(schedule.at(0), start);
        assert_eq!(schedule.at(299), start + Duration::from_millis(1_495));
    }

    #[test]
    fn a_latency_counts_from_when_the_request_was_due() {
        let start = Instant::now();
        let schedule = Schedule::new(start, &step(10.0, 0, 1_000));
        let mut tally = Tally::new(&schedule);
        // All wait for a server that answers nothing before the end: the first was due a second ago.
        for index in 0..10 {
            tally.note(index, Ok(()), start + Duration::from_secs(1));
        }
        let outcome = tally.close(&schedule, start + Duration::from_secs(1));
        assert_eq!((outcome.answered, outcome.errors_total()), (10, 0));
        assert!(outcome.latencies.min().abs_diff(100_000) <= 100);
        assert!(outcome.latencies.max().abs_diff(1_000_000) <= 1_000);
        assert!(quantile_ms(&outcome.latencies, 0.5).is_some_and(|p50| (p50 - 500.0).abs() <= 1.0));
    }

    #[test]
    fn what_was_never_answered_is_an_error_and_as_late_as_it_is() {
        let start = Instant::now();
        let schedule = Schedule::new(start, &step(10.0, 0, 1_000));
        let mut tally = Tally::new(&schedule);
        tally.note(0, Ok(()), start + Duration::from_millis(1));
        tally.note(1, Err("refused".to_owned()), start + Duration::from_millis(102));
        let outcome = tally.close(&schedule, start + Duration::from_secs(4));
        assert_eq!(outcome.errors, BTreeMap::from([("refused".to_owned(), 1), ("unanswered".to_owned(), 8)]));
        assert!(outcome.p99_ms() > 3_000.0);
        assert!(!outcome.holds(Duration::from_mins(1)));
    }

    #[test]
    fn the_warm_up_is_not_counted() {
        let start = Instant::now();
        let schedule = Schedule::new(start, &step(10.0, 500, 500));
        let mut tally = Tally::new(&schedule);
        for index in 0..5 {
            tally.note(index, Err("cold".to_owned()), start + Duration::from_secs(9));
        }
        for index in 5..10 {
            tally.note(index, Ok(()), schedule.at(index) + Duration::from_millis(2));
        }
        let outcome = tally.close(&schedule, start + Duration::from_secs(10));
        assert_eq!((outcome.answered, outcome.errors_total(), outcome.ended), (5, 0, 10));
        assert!(outcome.p99_ms() < 3.0);
        assert!(outcome.holds(Duration::from_millis(100)));
    }

    #[tokio::test]
    async fn a_server_that_takes_one_at_a_time_shows_in_those_that_wait() {
        // 20 requests, due 5 ms apart, of 20 ms each, one after the other: the last is due after 95 ms and
        // ends after 400 ms at the earliest. A closed loop would call all of them 20 ms.
        let server = Arc::new(tokio::sync::Mutex::new(()));
        let outcome = open_loop(&step(200.0, 0, 100), |_| {
            let server = Arc::clone(&server);
            async move {
                let _turn = server.lock().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(())
            }
        })
        .await;
        assert_eq!((outcome.answered, outcome.errors_total()), (20, 0));
        assert!(outcome.latencies.max() >= 300_000, "{}", outcome.latencies.max());
        assert!(outcome.achieved_per_second <= 50.0, "{}", outcome.achieved_per_second);
    }
}
