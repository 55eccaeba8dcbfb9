//! One running subscription of one client.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json_bytes::Value;

use super::event::{Event, Rendering};
use super::metrics::FORWARDED;
use super::plan::{Delivery, Plan};
use super::protocol::{self, Close, Object};
use super::shared::{Membership, Watch};
use super::socket::Socket;
use super::transport::Transport;
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
    /// An operation of its own.
    upstream: Option<Lease>,
    /// Its place among all who follow the same stream, in place of an operation of its own.
    membership: Option<Membership>,
    /// The stream that it is to join when it has come to where that one is.
    ahead: Option<Watch>,
    /// Events that wait for their execution, in order.
    waiting: VecDeque<Waiting>,
    /// Whether a task works through what waits.
    working: bool,
    over: bool,
}

/// What is still to be said of where the stream starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The client waits to be told.
    Asked,
    /// It is told if its protocol has a place for it.
    #[default]
    Unasked,
    Past,
}

impl Beginning {
    /// From an event on, the position is not told any more unless it was asked for: an event may wait for its execution,
    /// and its position must not overtake it.
    pub(super) fn pass(&mut self) {
        if *self == Self::Unasked {
            *self = Self::Past;
        }
    }
}

enum Waiting {
    Event(Bytes),
    /// The subgraph ended it with this message.
    End(Utf8Bytes),
}

/// How the client wants its stream to start.
#[derive(Default)]
pub(super) struct Start {
    /// The position to go on from.
    pub(super) after: Option<Value>,
    /// Whether to tell where the stream starts, before anything comes.
    pub(super) announce: bool,
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

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub(super) fn variables(&self) -> &Object {
        &self.variables
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn transport(&self) -> &'static dyn Transport {
        self.socket.transport
    }

    /// Queues a message for the client.
    pub(super) fn push(&self, message: Utf8Bytes) {
        self.socket.outbound.push(message);
    }

    /// Closes the client's connection.
    pub(super) fn close(&self, close: Close) {
        self.socket.outbound.close(close);
    }

    /// Subscribes at the owning subgraph, or once more with the viewer's new token.
    pub(super) fn attach(&self) {
        if self.plan.independent.is_some() {
            return self.share();
        }
        let mut state = self.state.lock();
        if !state.over {
            // Events of the old lease are no longer heard from here on, and the new one starts after the last heard.
            let replaced = self.subscribe(&mut state);
            drop(state);
            drop(replaced);
        }
    }

    /// Follows a stream with all others who do. One that comes back is brought up to them first. There is nothing to be
    /// done for a new token.
    fn share(&self) {
        let Some(myself) = self.myself.upgrade() else { return };
        let generation = &self.socket.generation;
        let mut state = self.state.lock();
        if state.over || state.membership.is_some() || state.upstream.is_some() {
            return;
        }
        if state.cursor.is_none() {
            state.membership = generation.sharing.join(generation, &myself, state.beginning);
            return;
        }
        state.ahead = generation.sharing.watch(generation, &myself);
        drop(state);
        self.join_the_others();
        let mut state = self.state.lock();
        if !state.over && state.membership.is_none() {
            let replaced = self.subscribe(&mut state);
            drop(state);
            drop(replaced);
        }
    }

    /// Leaves its own operation for the shared one, if both are at the same event and nothing of it is under way.
    pub(super) fn join_the_others(&self) {
        let Some(myself) = self.myself.upgrade() else { return };
        let mut state = self.state.lock();
        let behind = state.over || state.working || state.membership.is_some();
        let (false, Some(ahead), Some(cursor)) = (behind, &state.ahead, &state.cursor) else { return };
        let Some(membership) = ahead.join(cursor, &myself, state.beginning) else { return };
        state.membership = Some(membership);
        let left = (state.upstream.take(), state.ahead.take());
        drop(state);
        drop(left);
    }

    /// Starts an operation of its own; gives back the one that it had.
    fn subscribe(&self, state: &mut State) -> Option<Lease> {
        let pool = self.socket.generation.pool(&self.plan.primary.subgraph_name)?;
        state.upstream.replace(pool.subscribe(self.myself.upgrade()?))
    }

    /// Nothing is sent for it any more.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.over = true;
        let left = (state.upstream.take(), state.membership.take(), state.ahead.take());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(left);
        for item in waiting {
            self.socket.outbound.release(item.bytes());
        }
    }

    /// Says the last of it.
    pub(super) fn end_with(&self, message: impl FnOnce(&dyn Transport, &str) -> Utf8Bytes) {
        self.finish(message(self.socket.transport, &self.id));
    }

    fn finish(&self, message: Utf8Bytes) {
        self.socket.conclude(&self.id, self.serial, [message]);
        self.stop();
    }

    fn event(&self, id: u64, response: &Bytes) {
        let Some(event) = Event::parse(response) else {
            tracing::warn!(subgraph.name = %self.plan.primary.subgraph_name, "event does not parse");
            return;
        };
        let position = event.position();
        let mut state = self.state.lock();
        if state.over || state.upstream.as_ref().is_none_or(|lease| lease.id != id) {
            return;
        }
        // Where a resumed stream starts is known, and events may have been heard since.
        if position.cursor.is_some() && (!position.positioned || state.cursor.is_none()) {
            state.cursor = position.cursor;
        }
        if position.positioned {
            let beginning = std::mem::replace(&mut state.beginning, Beginning::Past);
            self.say_position(beginning, &event.forwarded(), event.extensions().unwrap_or("null"));
            return;
        }
        state.beginning.pass();
        // All under the lock: a client sees events in the order in which their positions were taken down.
        match self.plan.delivery {
            Delivery::Forward => {
                FORWARDED.increment();
                self.push(self.socket.transport.next(&self.id, &event.forwarded(), event.extensions()));
            }
            Delivery::Project => {
                let text = self.rendering().projected(response, &event);
                self.push(self.socket.transport.next(&self.id, &text, event.extensions()));
            }
            Delivery::Execute => self.enqueue(&mut state, Waiting::Event(response.clone())),
        }
    }

    /// Tells where the stream is, as far as the client is to know.
    pub(super) fn say_position(&self, beginning: Beginning, response: &str, extensions: &str) {
        let transport = self.socket.transport;
        match beginning {
            Beginning::Asked => self.push(transport.next(&self.id, response, Some(extensions))),
            Beginning::Unasked => {
                if let Some(message) = transport.position(extensions) {
                    self.push(message);
                }
            }
            Beginning::Past => {}
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
                        self.push(message);
                    }
                }
                Waiting::End(message) => {
                    self.socket.outbound.release(held);
                    self.finish(message);
                }
            }
        }
        self.join_the_others();
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
        let Some(event) = Event::parse(response) else {
            return self.socket.transport.error(&self.id, &protocol::failure("INTERNAL", "the event does not parse"));
        };
        let text = self.rendering().executed(response, &event).await;
        self.socket.transport.next(&self.id, &text, event.extensions())
    }

    /// In the viewer's name, unless the stream is the same for all.
    fn authorization(&self) -> Option<Arc<str>> {
        if self.plan.independent.is_some() { None } else { self.socket.authorization() }
    }

    fn rendering(&self) -> Rendering<'_> {
        Rendering {
            generation: &self.socket.generation,
            plan: &self.plan,
            variables: &self.variables,
            authorization: self.authorization(),
        }
    }
}

/// What a subgraph is subscribed with.
pub(super) fn upstream_payload(
    plan: &Plan,
    variables: &Object,
    authorization: Option<&str>,
    after: Option<&Value>,
) -> serde_json::Value {
    // `position`: say where the stream starts, so that a loss before the first event loses nothing.
    let mut extensions = serde_json::json!({ "position": true });
    if let Some(authorization) = authorization {
        extensions["authorization"] = authorization.into();
    }
    if let Some(after) = after {
        extensions["after"] = serde_json::to_value(after).unwrap_or_default();
    }
    serde_json::json!({
        "query": plan.primary.operation_document.as_serialized(),
        "operationName": plan.primary.operation_name,
        "variables": plan.primary_variables(variables),
        "extensions": extensions,
    })
}

impl Listener for Subscription {
    fn payload(&self, id: u64) -> Option<serde_json::Value> {
        let authorization = self.authorization();
        let state = self.state.lock();
        if state.over || state.upstream.as_ref().is_none_or(|lease| lease.id != id) {
            return None;
        }
        Some(upstream_payload(&self.plan, &self.variables, authorization.as_deref(), state.cursor.as_ref()))
    }

    fn next(self: Arc<Self>, id: u64, response: Bytes) {
        self.event(id, &response);
        if self.plan.independent.is_some() {
            self.join_the_others();
        }
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
