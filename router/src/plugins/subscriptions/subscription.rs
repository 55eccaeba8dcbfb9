//! One running subscription of one client.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json_bytes::Value;

use super::execute::{Execution, apply_rewrites};
use super::generation::Asking;
use super::metrics::{EXECUTED, FORWARDED, PROJECTED};
use super::plan::{Delivery, Plan};
use super::project::project;
use super::protocol::{self, Object};
use super::socket::Socket;
use super::upstream::{Lease, Listener};

pub(super) struct Subscription {
    socket: Arc<Socket>,
    /// The client's id of it.
    id: Box<str>,
    /// Tells it from another one that the same id was given to later.
    serial: u64,
    plan: Arc<Plan>,
    variables: Object,
    state: Mutex<State>,
    myself: Weak<Self>,
}

#[derive(Default)]
struct State {
    /// The last position seen, at first the client's own.
    cursor: Option<Value>,
    beginning: Beginning,
    upstream: Option<Lease>,
    /// Events that wait for their execution, in order.
    waiting: VecDeque<Waiting>,
    /// Whether a task works through what waits.
    working: bool,
    over: bool,
}

/// What is still to be said of where the stream starts.
#[derive(Default, PartialEq)]
enum Beginning {
    /// The client waits to be told.
    Asked,
    /// It is told if its protocol has a place for it.
    #[default]
    Unasked,
    Past,
}

enum Waiting {
    Event(Bytes),
    /// The subgraph ended it with this message.
    End(Utf8Bytes),
}

/// The parts of an event, not yet read.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
}

/// How the client wants its stream to start.
#[derive(Default)]
pub(super) struct Start {
    /// The position to go on from.
    pub(super) after: Option<Value>,
    /// Whether to tell where the stream starts, before anything comes.
    pub(super) announce: bool,
}

/// What of an event's extensions is for us.
#[derive(Default, Deserialize)]
struct Position {
    /// Where the stream is with this event.
    #[serde(default)]
    cursor: Option<Value>,
    /// Not an event: it says where a stream starts.
    #[serde(default)]
    positioned: bool,
}

impl Subscription {
    pub(super) fn new(
        socket: &Arc<Socket>,
        id: &str,
        serial: u64,
        plan: Arc<Plan>,
        variables: Object,
        start: Start,
    ) -> Arc<Self> {
        let beginning = if start.announce { Beginning::Asked } else { Beginning::Unasked };
        Arc::new_cyclic(|myself| Self {
            socket: Arc::clone(socket),
            id: id.into(),
            serial,
            plan,
            variables,
            state: Mutex::new(State { cursor: start.after, beginning, ..State::default() }),
            myself: Weak::clone(myself),
        })
    }

    /// Subscribes at the owning subgraph, or once more with the viewer's new token.
    pub(super) fn attach(&self) {
        let pool = self.socket.generation.pool(&self.plan.primary.subgraph_name);
        let (Some(pool), Some(listener)) = (pool, self.myself.upgrade()) else {
            return;
        };
        let mut state = self.state.lock();
        if !state.over {
            // Events of the old lease are no longer heard from here on, and the new one starts after the last heard.
            let replaced = state.upstream.replace(pool.subscribe(listener));
            drop(state);
            drop(replaced);
        }
    }

    /// Nothing is sent for it any more.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.over = true;
        let upstream = state.upstream.take();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(upstream);
        for item in waiting {
            self.socket.outbound.release(item.bytes());
        }
    }

    fn finish(&self, message: Utf8Bytes) {
        self.socket.conclude(&self.id, self.serial, [message]);
        self.stop();
    }

    fn event(&self, id: u64, response: &Bytes) {
        let Ok(event) = serde_json::from_slice::<Event>(response) else {
            tracing::warn!(subgraph.name = %self.plan.primary.subgraph_name, "event does not parse");
            return;
        };
        let position: Position =
            event.extensions.and_then(|extensions| serde_json::from_str(extensions.get()).ok()).unwrap_or_default();
        let mut state = self.state.lock();
        if state.over || state.upstream.as_ref().is_none_or(|lease| lease.id != id) {
            return;
        }
        // Where a resumed stream starts is known, and events may have been heard since.
        if position.cursor.is_some() && (!position.positioned || state.cursor.is_none()) {
            state.cursor = position.cursor;
        }
        if position.positioned {
            match std::mem::replace(&mut state.beginning, Beginning::Past) {
                Beginning::Asked => self.forward(response, &event),
                Beginning::Unasked => self.say_position(&event),
                Beginning::Past => {}
            }
            return;
        }
        // From now on an event may wait for its execution, and its position must not overtake it.
        if state.beginning == Beginning::Unasked {
            state.beginning = Beginning::Past;
        }
        // All under the lock: a client sees events in the order in which their positions were taken down.
        match self.plan.delivery {
            Delivery::Forward => {
                FORWARDED.increment();
                self.forward(response, &event);
            }
            Delivery::Project => {
                PROJECTED.increment();
                let (data, mut errors) = self.read(response, &event);
                let message = self.message(&data, &mut errors, event.extensions);
                self.socket.outbound.push(message);
            }
            Delivery::Execute => self.enqueue(&mut state, Waiting::Event(response.clone())),
        }
    }

    /// Sends a response as it came.
    fn forward(&self, response: &Bytes, event: &Event) {
        let text = std::str::from_utf8(response).unwrap_or("null");
        let message = self.socket.transport.next(&self.id, text, event.extensions.map(RawValue::get));
        self.socket.outbound.push(message);
    }

    fn say_position(&self, event: &Event) {
        let message = event.extensions.and_then(|extensions| self.socket.transport.position(extensions.get()));
        if let Some(message) = message {
            self.socket.outbound.push(message);
        }
    }

    /// The subgraph ended it; what waits goes first.
    fn end(&self, id: u64, message: Utf8Bytes) {
        let mut state = self.state.lock();
        if state.over || state.upstream.as_ref().is_none_or(|lease| lease.id != id) {
            return;
        }
        if state.working {
            self.enqueue(&mut state, Waiting::End(message));
        } else {
            drop(state);
            self.finish(message);
        }
    }

    fn enqueue(&self, state: &mut State, item: Waiting) {
        let Some(myself) = self.myself.upgrade() else { return };
        if !self.socket.outbound.hold(item.bytes()) {
            return;
        }
        state.waiting.push_back(item);
        // A task only while there is work: an idle subscription has none.
        if !state.working {
            state.working = true;
            tokio::spawn(myself.work());
        }
    }

    async fn work(self: Arc<Self>) {
        while let Some(item) = self.take_waiting() {
            let held = item.bytes();
            match item {
                Waiting::Event(response) => {
                    let message = self.executed(&response).await;
                    self.socket.outbound.release(held);
                    if !self.state.lock().over {
                        self.socket.outbound.push(message);
                    }
                }
                Waiting::End(message) => {
                    self.socket.outbound.release(held);
                    self.finish(message);
                }
            }
        }
    }

    /// What waits longest; when nothing does, the working is over.
    fn take_waiting(&self) -> Option<Waiting> {
        let mut state = self.state.lock();
        let item = state.waiting.pop_front();
        state.working = item.is_some();
        item
    }

    async fn executed(&self, response: &Bytes) -> Utf8Bytes {
        // It parsed when it was queued.
        let Ok(event) = serde_json::from_slice::<Event>(response) else {
            return self.socket.transport.error(&self.id, &protocol::failure("INTERNAL", "the event does not parse"));
        };
        EXECUTED.increment();
        let (mut data, mut errors) = self.read(response, &event);
        let generation = &self.socket.generation;
        if let (Some(rest), false) = (self.plan.rest.as_deref(), data.is_null()) {
            // Never closed.
            let _permit = generation.events.acquire().await;
            let asking = Asking { generation, authorization: self.socket.authorization() };
            let execution = Execution { schema: &generation.schema, variables: &self.variables, subgraphs: &asking };
            data = execution.run(rest, data, &mut errors).await;
        }
        self.message(&data, &mut errors, event.extensions)
    }

    /// An event's data and errors. Strings in them share the event's bytes.
    fn read(&self, response: &Bytes, event: &Event) -> (Value, Vec<Value>) {
        let read = |raw: &RawValue| Value::from_bytes(response.slice_ref(raw.get().as_bytes())).unwrap_or_default();
        let mut data = event.data.map(read).unwrap_or_default();
        apply_rewrites(&self.socket.generation.schema, &mut data, &self.plan.primary.output_rewrites);
        let errors = match event.errors.map(read) {
            Some(Value::Array(errors)) => errors,
            _ => Vec::new(),
        };
        (data, errors)
    }

    fn message(&self, data: &Value, errors: &mut Vec<Value>, extensions: Option<&RawValue>) -> Utf8Bytes {
        let data = project(&self.plan, &self.variables, data, errors);
        let mut response = format!(r#"{{"data":{data}"#);
        if !errors.is_empty() {
            response.push_str(r#","errors":"#);
            response.push_str(&Value::Array(std::mem::take(errors)).to_string());
        }
        if let Some(extensions) = extensions {
            response.push_str(r#","extensions":"#);
            response.push_str(extensions.get());
        }
        response.push('}');
        self.socket.transport.next(&self.id, &response, extensions.map(RawValue::get))
    }
}

impl Listener for Subscription {
    fn payload(&self, id: u64) -> Option<serde_json::Value> {
        let primary = &self.plan.primary;
        let variables: Object = primary
            .variable_usages
            .iter()
            .filter_map(|name| self.variables.get_key_value(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let state = self.state.lock();
        if state.over || state.upstream.as_ref().is_none_or(|lease| lease.id != id) {
            return None;
        }
        // `position`: say where the stream starts, so that a loss before the first event loses nothing.
        let mut extensions = serde_json::json!({ "position": true });
        if let Some(authorization) = self.socket.authorization() {
            extensions["authorization"] = (*authorization).into();
        }
        if let Some(cursor) = &state.cursor {
            extensions["after"] = serde_json::to_value(cursor).unwrap_or_default();
        }
        Some(serde_json::json!({
            "query": primary.operation_document.as_serialized(),
            "operationName": primary.operation_name,
            "variables": variables,
            "extensions": extensions,
        }))
    }

    fn next(self: Arc<Self>, id: u64, response: Bytes) {
        self.event(id, &response);
    }

    fn error(self: Arc<Self>, id: u64, errors: &str) {
        self.end(id, self.socket.transport.error(&self.id, errors));
    }

    fn complete(self: Arc<Self>, id: u64) {
        self.end(id, self.socket.transport.complete(&self.id));
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Self::Event(response) => response.len(),
            Self::End(message) => message.len(),
        }
    }
}
