//! One operation upstream for all who follow a stream.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json_bytes::{Value, json};

use super::super::event::Event;
use super::super::generation::Generation;
use super::super::metrics::SHARED_STREAMS;
use super::super::plan::Plan;
use super::super::protocol::Object;
use super::super::subscription::{Beginning, Subscription, upstream_payload};
use super::super::upstream::{Lease, Listener};
use super::Key;
use super::group::{Ending, Group};

pub(super) struct Channel {
    pub(super) generation: Arc<Generation>,
    pub(super) key: Key,
    plan: Arc<Plan>,
    variables: Object,
    state: Mutex<State>,
    myself: Weak<Self>,
}

#[derive(Default)]
struct State {
    upstream: Option<Lease>,
    /// The last position seen.
    cursor: Option<Value>,
    /// By plan and variables.
    groups: HashMap<(usize, Box<str>), Arc<Group>>,
    /// Followers that are still behind.
    watchers: HashMap<u64, Arc<Subscription>>,
    last_number: u64,
    over: bool,
}

impl Channel {
    pub(super) fn start(
        generation: &Arc<Generation>,
        key: Key,
        plan: &Arc<Plan>,
        variables: Object,
    ) -> Option<Arc<Self>> {
        let pool = generation.pool(&plan.primary.subgraph_name)?;
        let channel = Arc::new_cyclic(|myself| Self {
            generation: Arc::clone(generation),
            key,
            plan: Arc::clone(plan),
            variables,
            state: Mutex::new(State::default()),
            myself: Weak::clone(myself),
        });
        SHARED_STREAMS.add(1);
        // Under the lock: who asks for the payload has to find the lease.
        let mut state = channel.state.lock();
        state.upstream = Some(pool.subscribe(Arc::clone(&channel) as Arc<dyn Listener>));
        drop(state);
        Some(channel)
    }

    pub(super) fn join(&self, subscription: &Arc<Subscription>, beginning: Beginning) -> Option<(Arc<Group>, u64)> {
        let mut state = self.state.lock();
        (!state.over).then(|| state.join(&self.generation, subscription, beginning))
    }

    /// As [`Self::join`], if the stream is at that position.
    pub(super) fn join_at(
        &self,
        cursor: &Value,
        subscription: &Arc<Subscription>,
        beginning: Beginning,
    ) -> Option<(Arc<Group>, u64)> {
        let mut state = self.state.lock();
        if state.over || state.cursor.as_ref() != Some(cursor) {
            return None;
        }
        Some(state.join(&self.generation, subscription, beginning))
    }

    /// Is told of each event, to join when the stream is where it is.
    pub(super) fn watch(&self, subscription: &Arc<Subscription>) -> Option<u64> {
        let mut state = self.state.lock();
        if state.over {
            return None;
        }
        let number = state.next_number();
        state.watchers.insert(number, Arc::clone(subscription));
        Some(number)
    }

    pub(super) fn unwatch(&self, number: u64) {
        let watcher = self.state.lock().watchers.remove(&number);
        drop(watcher);
    }

    /// The lease of a channel that ends now because nobody is left.
    pub(super) fn end_if_empty(&self) -> Option<Lease> {
        let mut state = self.state.lock();
        state.groups.retain(|_, group| !group.is_empty());
        if state.over || !state.groups.is_empty() || !state.watchers.is_empty() {
            return None;
        }
        state.over = true;
        state.upstream.take()
    }

    fn end(&self, id: u64, ending: &Ending) {
        let mut state = self.state.lock();
        if state.over || state.upstream.as_ref().is_none_or(|lease| lease.id != id) {
            return;
        }
        state.over = true;
        let upstream = state.upstream.take();
        let groups = std::mem::take(&mut state.groups);
        let watchers = std::mem::take(&mut state.watchers);
        drop(state);
        drop((upstream, watchers));
        if let Some(myself) = self.myself.upgrade() {
            self.generation.sharing.remove(&myself);
        }
        for group in groups.into_values() {
            group.end(ending.clone());
        }
    }

    /// Gives an event to all groups. Those that were behind and have come to where this one is are given back.
    fn event(&self, id: u64, response: &Bytes) -> Vec<Arc<Subscription>> {
        let Some(event) = Event::parse(response) else {
            tracing::warn!(subgraph.name = %self.plan.primary.subgraph_name, "event does not parse");
            return Vec::new();
        };
        let position = event.position();
        let mut state = self.state.lock();
        if state.over || state.upstream.as_ref().is_none_or(|lease| lease.id != id) {
            return Vec::new();
        }
        if position.cursor.is_some() {
            state.cursor = position.cursor;
        }
        if position.positioned {
            if let Some(cursor) = &state.cursor {
                let said = Positioned::at(cursor);
                state.groups.values().for_each(|group| group.say_position(&said));
            }
        } else {
            // All under the lock: events come in the order in which their positions were taken down.
            state.groups.values().for_each(|group| group.event(response, &event));
        }
        state.watchers.values().cloned().collect()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        SHARED_STREAMS.add(-1);
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn join(
        &mut self,
        generation: &Arc<Generation>,
        subscription: &Arc<Subscription>,
        beginning: Beginning,
    ) -> (Arc<Group>, u64) {
        let number = self.next_number();
        let (plan, variables) = (subscription.plan(), subscription.variables());
        // The group holds the plan, so that its address stands for no other one.
        let key = (Arc::as_ptr(plan).addr(), serde_json::to_string(variables).unwrap_or_default().into());
        let group =
            self.groups.entry(key).or_insert_with(|| Group::new(generation, Arc::clone(plan), variables.clone()));
        group.join(number, subscription, beginning, self.cursor.as_ref().map(Positioned::at));
        (Arc::clone(group), number)
    }
}

/// What says where a stream is.
pub(super) struct Positioned {
    pub(super) extensions: String,
    pub(super) response: String,
}

impl Positioned {
    fn at(cursor: &Value) -> Self {
        let extensions = json!({ "cursor": cursor, "positioned": true });
        let response = json!({ "data": null, "extensions": extensions }).to_string();
        Self { extensions: extensions.to_string(), response }
    }
}

impl Listener for Channel {
    fn payload(&self, id: u64) -> Option<serde_json::Value> {
        let state = self.state.lock();
        if state.over || state.upstream.as_ref().is_none_or(|lease| lease.id != id) {
            return None;
        }
        Some(upstream_payload(&self.plan, &self.variables, None, state.cursor.as_ref()))
    }

    fn next(self: Arc<Self>, id: u64, response: Bytes) {
        for behind in self.event(id, &response) {
            behind.join_the_others();
        }
    }

    fn error(self: Arc<Self>, id: u64, errors: &str) {
        self.end(id, &Ending::Error(errors.into()));
    }

    fn complete(self: Arc<Self>, id: u64) {
        self.end(id, &Ending::Complete);
    }
}
