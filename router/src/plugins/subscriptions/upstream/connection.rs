//! The operations on one socket to a subgraph, and the task that keeps the socket open for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::super::config::{UpstreamConfig, millis};
use super::super::metrics::UPSTREAM_RECONNECTS;
use super::super::protocol::{Envelope, complete, failure};
use super::Listener;
use super::wire::{Error, Wire};

/// A socket that lived this long was a good one: the next loss starts with the shortest wait again.
const STABLE: Duration = Duration::from_secs(5);

/// Operations of one socket. Its task runs while there are any, and for a while after.
pub(super) struct Connection {
    url: url::Url,
    config: UpstreamConfig,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    operations: HashMap<u64, Arc<dyn Listener>>,
    /// What the task has to send. At most one subscribe and one complete per operation.
    commands: VecDeque<Command>,
    last_id: u64,
    running: bool,
}

enum Command {
    Subscribe(u64),
    Complete(u64),
}

impl Connection {
    pub(super) fn new(url: url::Url, config: UpstreamConfig) -> Self {
        Self { url, config, state: Mutex::new(State::default()), wake: Notify::new() }
    }

    pub(super) fn subscribe(self: &Arc<Self>, listener: Arc<dyn Listener>) -> u64 {
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.operations.insert(id, listener);
        state.commands.push_back(Command::Subscribe(id));
        if !state.running {
            state.running = true;
            tokio::spawn(Arc::clone(self).run());
        }
        drop(state);
        self.wake.notify_one();
        id
    }

    pub(super) fn unsubscribe(&self, id: u64) {
        let mut state = self.state.lock();
        if state.operations.remove(&id).is_some() {
            state.commands.push_back(Command::Complete(id));
            drop(state);
            self.wake.notify_one();
        }
    }

    async fn run(self: Arc<Self>) {
        let mut losses = 0;
        let mut away_since = Instant::now();
        loop {
            let opened = Wire::open(&self.url, &self.config).await;
            let lost = match opened {
                Ok(wire) => {
                    let since = Instant::now();
                    let ended = self.serve(wire).await;
                    away_since = Instant::now();
                    if since.elapsed() >= STABLE {
                        losses = 0;
                    }
                    match ended {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if self.stopped_without_operations() {
                return;
            }
            tracing::warn!(
                subgraph.url = %self.url,
                error = &lost as &dyn std::error::Error,
                "socket to a subgraph lost"
            );
            if away_since.elapsed() >= millis(self.config.outage_max_ms) {
                self.give_up();
            }
            tokio::time::sleep(self.backoff(losses)).await;
            losses += 1;
            UPSTREAM_RECONNECTS.increment();
        }
    }

    /// Serves the operations until the socket is lost, or until there were none for a while.
    async fn serve(&self, mut wire: Wire) -> Result<(), Error> {
        wire.send_all(self.all_again()).await?;
        let mut ticks = tokio::time::interval(millis(self.config.ping_interval_ms.max(1)));
        ticks.reset();
        let silence_max = millis(self.config.ping_interval_ms + self.config.pong_timeout_ms);
        let mut heard = Instant::now();
        let mut used = Instant::now();
        loop {
            tokio::select! {
                frame = wire.receive() => {
                    heard = Instant::now();
                    if let Some(text) = frame? && self.receive(&text)? {
                        wire.send(r#"{"type":"pong"}"#.into()).await?;
                    }
                }
                () = self.wake.notified() => {
                    wire.send_all(self.messages()).await?;
                }
                _ = ticks.tick() => {
                    if heard.elapsed() > silence_max {
                        return Err(Error::Timeout);
                    }
                    wire.ping().await?;
                }
                () = tokio::time::sleep_until(used + millis(self.config.idle_timeout_ms)) => {
                    if self.stopped_without_operations() {
                        wire.close().await;
                        return Ok(());
                    }
                    used = Instant::now();
                }
            }
        }
    }

    /// Handles a message; true when it asks for a pong.
    fn receive(&self, text: &Utf8Bytes) -> Result<bool, Error> {
        let envelope: Envelope = serde_json::from_str(text).map_err(|_| Error::Protocol)?;
        let kind = envelope.kind.as_ref();
        if !matches!(kind, "next" | "error" | "complete") {
            return Ok(kind == "ping");
        }
        let id: u64 = envelope.id.and_then(|id| id.parse().ok()).ok_or(Error::Protocol)?;
        let over = kind != "next";
        let mut state = self.state.lock();
        let listener = if over { state.operations.remove(&id) } else { state.operations.get(&id).cloned() };
        drop(state);
        // An operation that we have ended may still get what was under way.
        let Some(listener) = listener else {
            return Ok(false);
        };
        let payload = envelope.payload.map(serde_json::value::RawValue::get);
        match (kind, payload) {
            ("complete", _) => listener.complete(id),
            ("next", Some(payload)) => {
                let response = bytes::Bytes::from(text.clone()).slice_ref(payload.as_bytes());
                listener.next(id, response);
            }
            ("error", Some(payload)) => listener.error(id, payload),
            _ => return Err(Error::Protocol),
        }
        Ok(false)
    }

    /// The messages for what was asked since the last call.
    fn messages(&self) -> Vec<Utf8Bytes> {
        let mut state = self.state.lock();
        let commands = std::mem::take(&mut state.commands);
        let subscribed: Vec<_> = commands
            .into_iter()
            .map(|command| match command {
                Command::Subscribe(id) => (id, state.operations.get(&id).cloned()),
                Command::Complete(id) => (id, None),
            })
            .collect();
        // Listeners take locks of their own.
        drop(state);
        subscribed
            .into_iter()
            .filter_map(|(id, listener)| match listener {
                Some(listener) => subscribe_message(id, &*listener),
                None => Some(complete(&id.to_string()).as_str().into()),
            })
            .collect()
    }

    /// The messages that start every operation on a socket that knows none.
    fn all_again(&self) -> Vec<Utf8Bytes> {
        let mut state = self.state.lock();
        state.commands.clear();
        let mut operations: Vec<_> =
            state.operations.iter().map(|(id, listener)| (*id, Arc::clone(listener))).collect();
        drop(state);
        operations.sort_unstable_by_key(|(id, _)| *id);
        operations.iter().filter_map(|(id, listener)| subscribe_message(*id, &**listener)).collect()
    }

    fn stopped_without_operations(&self) -> bool {
        let mut state = self.state.lock();
        let idle = state.operations.is_empty();
        if idle {
            state.running = false;
            state.commands.clear();
        }
        idle
    }

    /// Ends every operation: the subgraph has been away for longer than a client should be left without a word.
    fn give_up(&self) {
        let operations = std::mem::take(&mut self.state.lock().operations);
        let errors = failure("UNAVAILABLE", "a part of the graph has been away for too long");
        for (id, listener) in operations {
            listener.error(id, &errors);
        }
    }

    /// Doubles with each loss; the random half keeps routers from coming back in step.
    fn backoff(&self, losses: u32) -> Duration {
        let longest = millis(self.config.backoff_max_ms);
        let full = millis(self.config.backoff_min_ms).saturating_mul(1 << losses.min(16)).min(longest);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

fn subscribe_message(id: u64, listener: &dyn Listener) -> Option<Utf8Bytes> {
    let payload = listener.payload(id)?;
    Some(serde_json::json!({ "id": id.to_string(), "type": "subscribe", "payload": payload }).to_string().into())
}
