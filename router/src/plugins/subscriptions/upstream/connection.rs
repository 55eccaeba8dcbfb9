//! The operations on one socket to a subgraph, and the task that keeps the socket open for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng as _;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::super::config::{UpstreamConfig, millis};
use super::super::metrics::UPSTREAM_RECONNECTS;
use super::super::protocol::{Envelope, complete, failure, pong};
use super::Listener;
use super::operation::{Heard, Operation};
use super::wire::{self, Error, Reader, Writer};

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
    operations: HashMap<u64, Operation>,
    /// What the task has to send on an open socket: at most one subscribe and one complete per operation, and a pong
    /// per ping. A new socket starts with all operations anyway.
    commands: VecDeque<Command>,
    open: bool,
    last_id: u64,
    running: bool,
}

impl State {
    fn command(&mut self, command: Command) {
        if self.open {
            self.commands.push_back(command);
        }
    }

    fn shut(&mut self) {
        self.open = false;
        self.commands = VecDeque::new();
    }
}

enum Command {
    Subscribe(u64),
    Complete(u64),
    Pong,
}

/// A command on its way to the socket.
enum Wanted {
    Subscribe(u64, Arc<dyn Listener>),
    Text(Utf8Bytes),
}

impl Connection {
    pub(super) fn new(url: url::Url, config: UpstreamConfig) -> Self {
        Self { url, config, state: Mutex::new(State::default()), wake: Notify::new() }
    }

    pub(super) fn subscribe(self: &Arc<Self>, listener: Arc<dyn Listener>) -> u64 {
        let mut state = self.state.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.operations.insert(id, Operation::new(listener));
        state.command(Command::Subscribe(id));
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
            state.command(Command::Complete(id));
            drop(state);
            self.wake.notify_one();
        }
    }

    async fn run(self: Arc<Self>) {
        let mut losses = 0;
        let mut away_since = Instant::now();
        loop {
            let opened = wire::open(&self.url, &self.config).await;
            let lost = match opened {
                Ok((writer, reader)) => {
                    let since = Instant::now();
                    let ended = self.serve(writer, reader).await;
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
    async fn serve(self: &Arc<Self>, writer: Writer, reader: Reader) -> Result<(), Error> {
        let heard = Mutex::new(Instant::now());
        let ended = tokio::select! {
            // What has arrived is read before anybody looks at the clock.
            biased;
            error = self.read(reader, &heard) => Err(error),
            ended = self.write(writer, &heard) => ended,
        };
        match ended {
            // By now another task may already serve new operations.
            Ok(writer) => {
                writer.close().await;
                Ok(())
            }
            Err(error) => {
                self.state.lock().shut();
                Err(error)
            }
        }
    }

    async fn read(self: &Arc<Self>, mut reader: Reader, heard: &Mutex<Instant>) -> Error {
        loop {
            let received = reader.receive().await.and_then(|text| {
                *heard.lock() = Instant::now();
                text.map_or(Ok(()), |text| self.receive(&text))
            });
            if let Err(error) = received {
                return error;
            }
        }
    }

    /// Gives the writer back when there were no operations for a while.
    async fn write(&self, mut writer: Writer, heard: &Mutex<Instant>) -> Result<Writer, Error> {
        writer.send(self.all_again()).await?;
        let mut ticks = tokio::time::interval(millis(self.config.ping_interval_ms.max(1)));
        ticks.reset();
        let silence_max = millis(self.config.ping_interval_ms + self.config.pong_timeout_ms);
        let idle_max = millis(self.config.idle_timeout_ms);
        let mut used = Instant::now();
        loop {
            tokio::select! {
                () = self.wake.notified() => writer.send(self.messages()).await?,
                _ = ticks.tick() => {
                    if heard.lock().elapsed() > silence_max {
                        return Err(Error::Timeout);
                    }
                    writer.ping().await?;
                }
                () = tokio::time::sleep_until(used + idle_max) => {
                    if self.stopped_without_operations() {
                        return Ok(writer);
                    }
                    used = Instant::now();
                }
            }
        }
    }

    fn receive(self: &Arc<Self>, text: &Utf8Bytes) -> Result<(), Error> {
        let envelope: Envelope = serde_json::from_str(text).map_err(|_| Error::Protocol)?;
        let kind = envelope.kind.as_ref();
        match kind {
            "next" | "error" | "complete" => {}
            "ping" => {
                self.state.lock().command(Command::Pong);
                self.wake.notify_one();
                return Ok(());
            }
            _ => return Ok(()),
        }
        let id: u64 = envelope.id.and_then(|id| id.parse().ok()).ok_or(Error::Protocol)?;
        let payload = envelope.payload.map(RawValue::get);
        let mut state = self.state.lock();
        // An operation that we have ended may still get what was under way.
        let Some(operation) = state.operations.get_mut(&id) else {
            return Ok(());
        };
        match operation.hear(kind, payload, millis(self.config.outage_max_ms)) {
            Heard::Told => {}
            Heard::Kept => return Ok(()),
            Heard::Refused(times) => {
                tokio::spawn(Arc::clone(self).ask_again(id, operation.asked, times));
                return Ok(());
            }
        }
        let listener = Arc::clone(&operation.listener);
        if kind != "next" {
            state.operations.remove(&id);
        }
        drop(state);
        match (kind, payload) {
            ("complete", _) => listener.complete(id),
            ("next", Some(payload)) => {
                let response = bytes::Bytes::from(text.clone()).slice_ref(payload.as_bytes());
                listener.next(id, response);
            }
            ("error", Some(payload)) => listener.error(id, payload),
            _ => return Err(Error::Protocol),
        }
        Ok(())
    }

    /// Asks once more, after a while, for an operation that was asked for so often: unless it is over by then, or a new
    /// socket has asked for it.
    async fn ask_again(self: Arc<Self>, id: u64, asked: u32, refusals: u32) {
        tokio::time::sleep(self.backoff(refusals)).await;
        let mut state = self.state.lock();
        if state.operations.get(&id).is_some_and(|operation| operation.asked == asked) {
            state.command(Command::Subscribe(id));
            drop(state);
            self.wake.notify_one();
        }
    }

    /// The messages for what was asked since the last call.
    fn messages(&self) -> Vec<Utf8Bytes> {
        let mut state = self.state.lock();
        let commands = std::mem::take(&mut state.commands);
        // Listeners take locks of their own.
        let wanted = commands.into_iter().filter_map(|command| match command {
            Command::Subscribe(id) => {
                let operation = state.operations.get_mut(&id)?;
                operation.ask();
                Some(Wanted::Subscribe(id, Arc::clone(&operation.listener)))
            }
            Command::Complete(id) => Some(Wanted::Text(complete(&id.to_string()).as_str().into())),
            Command::Pong => Some(Wanted::Text(pong().as_str().into())),
        });
        let wanted: Vec<_> = wanted.collect();
        drop(state);
        let message = |wanted| match wanted {
            Wanted::Subscribe(id, listener) => subscribe_message(id, &*listener),
            Wanted::Text(text) => Some(text),
        };
        wanted.into_iter().filter_map(message).collect()
    }

    /// The messages that start every operation on a socket that knows none.
    fn all_again(&self) -> Vec<Utf8Bytes> {
        let mut state = self.state.lock();
        state.open = true;
        let again = state.operations.iter_mut().map(|(id, operation)| {
            operation.ask();
            (*id, Arc::clone(&operation.listener))
        });
        let mut operations: Vec<_> = again.collect();
        drop(state);
        operations.sort_unstable_by_key(|(id, _)| *id);
        operations.iter().filter_map(|(id, listener)| subscribe_message(*id, &**listener)).collect()
    }

    fn stopped_without_operations(&self) -> bool {
        let mut state = self.state.lock();
        let idle = state.operations.is_empty();
        if idle {
            state.running = false;
            state.shut();
        }
        idle
    }

    /// Ends every operation: the subgraph has been away for longer than a client should be left without a word.
    fn give_up(&self) {
        let operations = std::mem::take(&mut self.state.lock().operations);
        let errors = failure("UNAVAILABLE", "a part of the graph has been away for too long");
        for (id, operation) in operations {
            operation.listener.error(id, &errors);
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
