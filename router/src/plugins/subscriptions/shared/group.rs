//! One execution and one message per event for all who asked the same of a stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use parking_lot::Mutex;

use super::super::event::{Event, Rendering};
use super::super::generation::Generation;
use super::super::metrics::FORWARDED;
use super::super::plan::{Delivery, Plan};
use super::super::protocol::{Close, Object};
use super::super::subscription::{Beginning, Subscription};
use super::channel::Positioned;

pub(super) struct Group {
    generation: Arc<Generation>,
    plan: Arc<Plan>,
    variables: Object,
    state: Mutex<State>,
    myself: Weak<Self>,
}

#[derive(Default)]
struct State {
    /// In the order in which they came.
    members: BTreeMap<u64, Member>,
    /// How many events there have been.
    events: u64,
    /// Events that wait for their execution, in order.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Whether a task works through what waits.
    working: bool,
}

struct Member {
    subscription: Arc<Subscription>,
    /// The number of the last event that came before it did.
    after: u64,
    beginning: Beginning,
}

enum Waiting {
    Event(u64, Bytes),
    End(Ending),
}

/// How a stream ends.
#[derive(Clone)]
pub(super) enum Ending {
    /// With a list of GraphQL errors.
    Error(Arc<str>),
    Complete,
}

impl Group {
    pub(super) fn new(generation: &Arc<Generation>, plan: Arc<Plan>, variables: Object) -> Arc<Self> {
        Arc::new_cyclic(|myself| Self {
            generation: Arc::clone(generation),
            plan,
            variables,
            state: Mutex::new(State::default()),
            myself: Weak::clone(myself),
        })
    }

    /// Takes a member in, who gets what comes from now on; it is told where that is, when it is known.
    pub(super) fn join(
        &self,
        number: u64,
        subscription: &Arc<Subscription>,
        beginning: Beginning,
        now: Option<Positioned>,
    ) {
        let mut state = self.state.lock();
        let mut member = Member { subscription: Arc::clone(subscription), after: state.events, beginning };
        if let Some(now) = now {
            member.say_position(&now);
        }
        state.members.insert(number, member);
    }

    /// Nothing is sent to the member any more.
    pub(super) fn leave(&self, number: u64) {
        let mut state = self.state.lock();
        let member = state.members.remove(&number);
        if state.members.is_empty() {
            state.waiting = VecDeque::new();
            state.waiting_bytes = 0;
        }
        drop(state);
        drop(member);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().members.is_empty()
    }

    pub(super) fn say_position(&self, said: &Positioned) {
        self.state.lock().members.values_mut().for_each(|member| member.say_position(said));
    }

    pub(super) fn event(&self, response: &Bytes, event: &Event) {
        let mut state = self.state.lock();
        state.events += 1;
        let number = state.events;
        for member in state.members.values_mut() {
            member.beginning.pass();
        }
        match self.plan.delivery {
            Delivery::Forward => {
                FORWARDED.increment();
                state.send(number, &event.forwarded(), event.extensions());
            }
            Delivery::Project => {
                let text = self.rendering().projected(response, event);
                state.send(number, &text, event.extensions());
            }
            Delivery::Execute => self.enqueue(&mut state, number, response),
        }
    }

    /// The stream is over; what waits goes first.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.state.lock();
        if state.working {
            state.waiting.push_back(Waiting::End(ending));
        } else {
            drop(state);
            self.finish(&ending);
        }
    }

    fn finish(&self, ending: &Ending) {
        let members = std::mem::take(&mut self.state.lock().members);
        for member in members.into_values() {
            member.subscription.end_with(|transport, id| match ending {
                Ending::Error(errors) => transport.error(id, errors),
                Ending::Complete => transport.complete(id),
            });
        }
    }

    fn rendering(&self) -> Rendering<'_> {
        Rendering { generation: &self.generation, plan: &self.plan, variables: &self.variables, authorization: None }
    }

    /// When more waits than one client's queue may hold, the subgraphs are slower than the events: all come back later.
    fn enqueue(&self, state: &mut State, number: u64, response: &Bytes) {
        let Some(myself) = self.myself.upgrade() else { return };
        let bytes_max = self.generation.config.client.queue_bytes_max;
        if state.waiting_bytes > 0 && state.waiting_bytes + response.len() > bytes_max {
            state.members.values().for_each(|member| member.subscription.close(Close::SLOW));
            return;
        }
        state.waiting_bytes += response.len();
        state.waiting.push_back(Waiting::Event(number, response.clone()));
        if !state.working {
            state.working = true;
            tokio::spawn(myself.work());
        }
    }

    async fn work(self: Arc<Self>) {
        while let Some(item) = self.take_waiting() {
            match item {
                Waiting::Event(number, response) => self.execute(number, &response).await,
                Waiting::End(ending) => self.finish(&ending),
            }
        }
    }

    fn take_waiting(&self) -> Option<Waiting> {
        let mut state = self.state.lock();
        let item = state.waiting.pop_front();
        state.working = item.is_some();
        item
    }

    async fn execute(&self, number: u64, response: &Bytes) {
        // It parsed when it was queued.
        let Some(event) = Event::parse(response) else { return };
        let text = self.rendering().executed(response, &event).await;
        let mut state = self.state.lock();
        state.waiting_bytes = state.waiting_bytes.saturating_sub(response.len());
        state.send(number, &text, event.extensions());
    }
}

impl State {
    /// Queues a response for each member whose it is.
    fn send(&self, number: u64, response: &str, extensions: Option<&str>) {
        let mut messages = Messages { response, extensions, made: Vec::new() };
        for member in self.members.values().filter(|member| member.after < number) {
            member.subscription.push(messages.of(&member.subscription));
        }
    }
}

impl Member {
    fn say_position(&mut self, said: &Positioned) {
        self.subscription.say_position(self.beginning, &said.response, &said.extensions);
        self.beginning = Beginning::Past;
    }
}

/// A response as messages. Those that are the same byte for byte are made once and share their bytes: all of one protocol
/// over HTTP, and on sockets those of one id after another.
struct Messages<'r> {
    response: &'r str,
    extensions: Option<&'r str>,
    /// The last one made for each protocol.
    made: Vec<(&'static str, Arc<Subscription>, Utf8Bytes)>,
}

impl Messages<'_> {
    fn of(&mut self, subscription: &Arc<Subscription>) -> Utf8Bytes {
        let (transport, id) = (subscription.transport(), subscription.id());
        let known = self.made.iter_mut().find(|(protocol, ..)| *protocol == transport.name());
        if let Some((_, first, message)) = &known
            && first.id() == id
        {
            return message.clone();
        }
        let message = transport.next(id, self.response, self.extensions);
        let made = (transport.name(), Arc::clone(subscription), message.clone());
        match known {
            Some(known) => *known = made,
            None => self.made.push(made),
        }
        message
    }
}
