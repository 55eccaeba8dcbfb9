//! All clients together: how many stand, who was lost and why, what they hear.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::{Address, Connection, Wanted, cursor_of, listen, source_of, subscribe};
use super::wave::Wave;
use crate::bench::say;
use crate::population::Members;
use crate::schedule::{histogram, record};

/// A client that is refused waits this long, and each time twice as long, up to the second.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How long a client waits for its connection, upgrade included. The router's queue of connections that are not yet
/// accepted is short (128), and the kernel tries a connection that found it full again after up to a minute.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Looks for whether all stand.
const LOOK: Duration = Duration::from_millis(20);

/// Clients of one server, each with so many streams of one operation.
pub struct Fleet {
    crew: Arc<Crew>,
    tasks: JoinSet<()>,
    /// How often all have been opened.
    generation: u32,
}

/// What the clients share.
struct Crew {
    address: Address,
    members: Members,
    query: &'static str,
    streams: u32,
    patience: Duration,
    /// Where each client's streams stand, for its return.
    cursors: Vec<Mutex<Box<str>>>,
    wave: RwLock<Option<Arc<Wave>>>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    standing: AtomicU32,
    /// Those that were let go after they stood.
    lost: AtomicU32,
    retried: AtomicU32,
    /// Why clients were refused or lost.
    causes: Mutex<BTreeMap<String, u64>>,
    /// From the moment at which a client wanted to be there to the moment at which its streams stood. There until all
    /// stand; whoever is let go meanwhile comes back.
    opening: Mutex<Option<Histogram<u64>>>,
}

/// How an opening went.
#[derive(Debug)]
pub struct Opening {
    pub took: Duration,
    pub latencies: Histogram<u64>,
    pub standing: u32,
    pub retried: u32,
    pub lost: u32,
    pub causes: BTreeMap<String, u64>,
}

impl Fleet {
    /// For up to `most` clients; nobody is connected yet. Client `n` is member `n` modulo their number.
    pub fn new(
        url: &str,
        members: &Members,
        query: &'static str,
        streams: u32,
        most: u32,
        patience: Duration,
    ) -> Result<Self> {
        let crew = Crew {
            address: Address::parse(url)?,
            members: Arc::clone(members),
            query,
            streams,
            patience,
            cursors: (0..most).map(|_| Mutex::default()).collect(),
            wave: RwLock::default(),
            tally: Tally::default(),
        };
        Ok(Self { crew: Arc::new(crew), tasks: JoinSet::new(), generation: 0 })
    }

    /// Opens the clients of these numbers, `at_once` at a time, and waits until they stand, or for as long as it may take.
    pub async fn open(&mut self, clients: std::ops::Range<u32>, at_once: u32, within: Duration) -> Result<Opening> {
        let tally = &self.crew.tally;
        let wanted = tally.standing.load(Ordering::Relaxed) + (clients.end - clients.start);
        let (retried, lost) = (tally.retried.load(Ordering::Relaxed), self.lost());
        lock(&tally.causes).clear();
        *lock(&tally.opening) = Some(histogram());
        let started = Instant::now();
        let gate = Arc::new(Semaphore::new(at_once as usize));
        for index in clients {
            let (crew, gate, generation) = (Arc::clone(&self.crew), Arc::clone(&gate), self.generation);
            self.tasks.spawn(async move { crew.serve(index, generation, &gate).await });
        }
        while tally.standing.load(Ordering::Relaxed) < wanted && started.elapsed() < within {
            tokio::time::sleep(LOOK).await;
        }
        let opening = Opening {
            took: started.elapsed(),
            latencies: lock(&tally.opening).take().unwrap_or_else(histogram),
            standing: tally.standing.load(Ordering::Relaxed),
            retried: tally.retried.load(Ordering::Relaxed) - retried,
            lost: self.lost() - lost,
            causes: lock(&tally.causes).clone(),
        };
        if opening.standing < wanted {
            let (standing, causes) = (opening.standing, &opening.causes);
            bail!("{standing} of {wanted} clients stand after {} s: {causes:?}", within.as_secs());
        }
        Ok(opening)
    }

    /// Has all go away at once; their cursors stay.
    pub async fn drop_all(&mut self) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        self.crew.tally.standing.store(0, Ordering::Relaxed);
        self.generation += 1;
    }

    /// Waits until all have noticed that the server has gone.
    pub async fn wait_until_lost(&mut self, within: Duration) -> Result<()> {
        let all_lost = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(within, all_lost).await.context("some clients did not notice that the server has gone")?;
        self.drop_all().await;
        Ok(())
    }

    /// What they listen for from now on.
    pub fn listen_for(&self, wave: Option<Arc<Wave>>) {
        *self.crew.wave.write().unwrap_or_else(PoisonError::into_inner) = wave;
    }

    /// Those that the server has let go since the beginning.
    pub fn lost(&self) -> u32 {
        self.crew.tally.lost.load(Ordering::Relaxed)
    }

    /// Why clients were refused or lost since the last opening began.
    pub fn causes(&self) -> BTreeMap<String, u64> {
        lock(&self.crew.tally.causes).clone()
    }
}

impl Crew {
    async fn serve(&self, index: u32, generation: u32, gate: &Semaphore) {
        loop {
            let wanted_at = Instant::now();
            let mut connection = {
                let Ok(_turn) = gate.acquire().await else { return };
                // Boxed: opening needs far more room than what comes after it.
                Box::pin(self.open(index, generation)).await
            };
            if let Some(latencies) = lock(&self.tally.opening).as_mut() {
                record(latencies, wanted_at.elapsed());
            }
            self.tally.standing.fetch_add(1, Ordering::Relaxed);
            let cause = listen(&mut connection, |text| self.hear(index, text)).await;
            self.tally.standing.fetch_sub(1, Ordering::Relaxed);
            self.tally.lost.fetch_add(1, Ordering::Relaxed);
            self.note(cause);
            if lock(&self.tally.opening).is_none() {
                return;
            }
        }
    }

    /// Tries until it stands; whoever opens gives up for all.
    async fn open(&self, index: u32, generation: u32) -> Connection {
        let mut pause = PAUSE_MIN;
        loop {
            let tried = tokio::time::timeout(self.patience, self.connect(index, generation)).await;
            match tried.context("not served in time").and_then(|connection| connection) {
                Ok(connection) => return connection,
                Err(cause) => self.note(cause.to_string()),
            }
            self.tally.retried.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self, index: u32, generation: u32) -> Result<Connection> {
        let connecting = self.address.connect(source_of(index, generation), None);
        let connected = tokio::time::timeout(CONNECT_PATIENCE, connecting).await;
        let mut connection = connected.context("not connected in time")??;
        let member = &self.members[index as usize % self.members.len()];
        let after = lock(&self.cursors[index as usize]).clone();
        let after = Some(&*after).filter(|after| !after.is_empty());
        let wanted = Wanted { token: &member.token, query: self.query, streams: self.streams, after };
        subscribe(&mut connection, wanted, |text| self.hear(index, text)).await?;
        Ok(connection)
    }

    fn hear(&self, index: u32, text: &str) {
        let now = Instant::now();
        let positioned = text.contains("\"positioned\":true");
        if let Some(cursor) = cursor_of(text) {
            let mut known = lock(&self.cursors[index as usize]);
            // Where a resumed stream starts says nothing of how far another one of the same client is.
            if !positioned || known.is_empty() {
                *known = cursor.into();
            }
        }
        if !positioned && let Some(wave) = &*self.wave.read().unwrap_or_else(PoisonError::into_inner) {
            wave.hear(text, now);
        }
    }

    fn note(&self, cause: String) {
        let mut causes = lock(&self.tally.causes);
        if !causes.contains_key(&cause) {
            say(&format!("a client was refused or let go: {cause}"));
        }
        *causes.entry(cause).or_default() += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
