//! What a client's connection, most often a socket, shares with all that sends to it: its queue, its operations, its viewer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use http::HeaderValue;
use parking_lot::Mutex;
use serde_json_bytes::Value;
use tokio::task::AbortHandle;

use super::generation::Generation;
use super::metrics::OPERATIONS;
use super::outbound::Outbound;
use super::plan::{Plan, Planned, Refused};
use super::protocol::{Close, Object, Operation, failure};
use super::request;
use super::subscription::{Start, Subscription};
use super::transport::Transport;
use super::usage::counted;
use crate::plugins::auth::Viewer;
use crate::plugins::limits::{Audience, Who};
use crate::plugins::partners::{Caller, Outcome, Refusal};

pub(super) struct Socket {
    pub(super) generation: Arc<Generation>,
    pub(super) transport: &'static dyn Transport,
    pub(super) outbound: Outbound,
    /// What stood in `x-forwarded-for` when it was opened: limits per address hold for its operations too.
    pub(super) forwarded_for: Option<HeaderValue>,
    operations: Mutex<HashMap<Box<str>, Running>>,
    serials: AtomicU64,
    viewer: Mutex<Option<Viewer>>,
    /// The partner whose socket it is.
    caller: OnceLock<Arc<Caller>>,
    /// Where it comes from, when that is configured and known.
    pub(super) address: OnceLock<Arc<str>>,
}

/// The id of the operation on a connection that carries one.
const ONLY: &str = "";

/// An operation, under the client's id.
struct Running {
    serial: u64,
    kind: Kind,
}

enum Kind {
    /// Being planned, or a query or mutation that runs. The task is not known for the moment in which it starts.
    Task(Option<AbortHandle>),
    Subscription(Arc<Subscription>),
}

impl Socket {
    pub(super) fn new(generation: Arc<Generation>, transport: &'static dyn Transport) -> Arc<Self> {
        Self::forwarded(generation, transport, None)
    }

    pub(super) fn forwarded(
        generation: Arc<Generation>,
        transport: &'static dyn Transport,
        forwarded_for: Option<HeaderValue>,
    ) -> Arc<Self> {
        let outbound = Outbound::new(generation.config.client.queue_bytes_max);
        Arc::new(Self {
            generation,
            transport,
            outbound,
            forwarded_for,
            operations: Mutex::new(HashMap::new()),
            serials: AtomicU64::new(0),
            viewer: Mutex::new(None),
            caller: OnceLock::new(),
            address: OnceLock::new(),
        })
    }

    /// The viewer's token as it is to be forwarded.
    pub(super) fn authorization(&self) -> Option<Arc<str>> {
        self.viewer.lock().as_ref().map(|viewer| Arc::clone(&viewer.authorization))
    }

    /// The partner whose socket it is.
    pub(super) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.get()
    }

    pub(super) fn admit_caller(&self, caller: Arc<Caller>) {
        self.caller.get_or_init(|| caller);
        // The key may have been revoked before the socket was known to be its caller's.
        self.recheck();
    }

    /// Ends the socket when its caller's key is in force no more.
    pub(super) fn recheck(&self) {
        if let (Some(caller), Some(gate)) = (self.caller.get(), self.generation.gate())
            && let Err(refusal) = gate.recheck(caller)
        {
            let errors = refused_by(refusal);
            for id in self.stop_operations() {
                self.outbound.push(self.transport.error(&id, &errors));
            }
            self.outbound.close_after_queue(Close::FORBIDDEN);
        }
    }

    pub(super) fn admit(&self, viewer: Viewer) {
        *self.viewer.lock() = Some(viewer);
    }

    /// Goes on with a new token of the same viewer; false when it is somebody else's. Running subscriptions are
    /// subscribed again with it, after the last event seen.
    pub(super) fn renew(&self, viewer: Viewer) -> bool {
        let mut current = self.viewer.lock();
        if current.as_ref().is_none_or(|current| current.subject != viewer.subject) {
            return false;
        }
        *current = Some(viewer);
        drop(current);
        let subscriptions: Vec<_> = self.operations.lock().values().filter_map(Running::subscription).collect();
        for subscription in subscriptions {
            subscription.attach();
        }
        true
    }

    /// Starts an operation. An error closes the socket.
    pub(super) fn subscribe(self: &Arc<Self>, id: String, operation: Operation) -> Result<(), Close> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let mut operations = self.operations.lock();
        if operations.contains_key(id.as_str()) {
            return Err(Close::DUPLICATE);
        }
        if operations.len() >= self.generation.config.client.operations_max {
            drop(operations);
            let errors = failure("RATE_LIMITED", "too many operations run on this socket");
            self.refuse_counted(&id, self.call(&operation), Outcome::RateLimited, &errors);
            return Ok(());
        }
        let call = self.call(&operation);
        let operation = match self.generation.settle(self.caller.get().map(Arc::as_ref), operation) {
            Ok(operation) => {
                // It is counted when it runs.
                if let Some(call) = call {
                    call.forget();
                }
                operation
            }
            Err(refusal) => {
                drop(operations);
                self.refuse_counted(&id, call, Outcome::Refused, &refused_by(refusal));
                return Ok(());
            }
        };
        operations.insert(id.as_str().into(), Running { serial, kind: Kind::Task(None) });
        drop(operations);
        OPERATIONS.add(1);
        let known = operation.query.as_deref().map_or(Some(Planned::Other), |query| {
            self.generation.planner.known(query, operation.operation_name.as_deref())
        });
        let socket = Arc::clone(self);
        let key: Box<str> = id.as_str().into();
        let task = tokio::spawn(socket.prepare(id, serial, operation, known));
        if let Some(running) = self.operations.lock().get_mut(&key)
            && running.serial == serial
            && let Kind::Task(handle) = &mut running.kind
        {
            *handle = Some(task.abort_handle());
        }
        Ok(())
    }

    /// Starts the one subscription of a connection.
    pub(super) fn open(self: &Arc<Self>, plan: Arc<Plan>, operation: &Operation) -> Result<(), Refused> {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        self.operations.lock().insert(ONLY.into(), Running { serial, kind: Kind::Task(None) });
        OPERATIONS.add(1);
        let started = self.start(ONLY, serial, plan, operation);
        if started.is_err() {
            self.forget(ONLY, serial);
        }
        started
    }

    /// The client wants no more of it.
    pub(super) fn complete(&self, id: &str) {
        let running = self.operations.lock().remove(id);
        if let Some(running) = running {
            running.stop();
        }
    }

    /// Takes an operation off the list; false when it is not on it any more.
    pub(super) fn forget(&self, id: &str, serial: u64) -> bool {
        let mut operations = self.operations.lock();
        let found = operations.get(id).is_some_and(|running| running.serial == serial);
        if found {
            operations.remove(id);
            OPERATIONS.add(-1);
        }
        found
    }

    /// Says the last of an operation, unless it is not on the list any more.
    pub(super) fn conclude(&self, id: &str, serial: u64, messages: impl IntoIterator<Item = Utf8Bytes>) {
        if !self.forget(id, serial) {
            return;
        }
        for message in messages {
            self.outbound.push(message);
        }
        if self.transport.one_operation() {
            self.outbound.close_after_queue(Close::COMPLETED);
        }
    }

    /// Ends all operations because the viewer's token has ended.
    pub(super) fn expire(&self) {
        let errors = failure("UNAUTHENTICATED", "the access token has expired");
        for id in self.stop_operations() {
            self.outbound.push(self.transport.failure(&id, &errors));
        }
        self.outbound.close_after_queue(Close::EXPIRED);
    }

    /// Ends all operations; nothing is sent for them.
    pub(super) fn stop_operations(&self) -> Vec<Box<str>> {
        let operations = std::mem::take(&mut *self.operations.lock());
        operations
            .into_iter()
            .map(|(id, running)| {
                running.stop();
                id
            })
            .collect()
    }

    /// Starts a subscription, or runs a query or a mutation.
    async fn prepare(self: Arc<Self>, id: String, serial: u64, operation: Operation, known: Option<Planned>) {
        let refused = match self.admit_operation(&operation, known).await {
            Ok(Planned::Subscription(plan)) => self.start(&id, serial, plan, &operation).err(),
            Ok(Planned::Other) => {
                let messages = request::run(&self, &id, &operation).await;
                return self.conclude(&id, serial, messages);
            }
            Err(refused) => Some(refused),
        };
        if let Some(refused) = refused {
            self.refuse(&id, serial, &refused);
        }
    }

    /// Counts a subscription, and plans what was not known.
    async fn admit_operation(&self, operation: &Operation, known: Option<Planned>) -> Result<Planned, Refused> {
        if !matches!(known, Some(Planned::Other))
            && let Err(limited) = self.generation.rate(operation, &self.who()).await
        {
            self.count_refused(operation, Outcome::RateLimited);
            return Err(Refused(vec![limited.to_graphql()]));
        }
        match (known, &operation.query) {
            (Some(known), _) => Ok(known),
            (None, None) => Ok(Planned::Other),
            (None, Some(query)) => {
                let planned = match self.generation.check(operation, self.audience()) {
                    Ok(()) => self.generation.plan(query.clone(), operation.operation_name.clone()).await,
                    Err(refused) => Err(refused),
                };
                planned.inspect_err(|_| self.count_refused(operation, Outcome::Refused))
            }
        }
    }

    /// Who asks, as far as limits are concerned.
    fn who(&self) -> Who {
        let viewer = self.viewer.lock().as_ref().map(|viewer| Arc::clone(&viewer.subject));
        Who { caller: self.caller.get().cloned(), viewer, address: self.address.get().cloned() }
    }

    fn audience(&self) -> Audience {
        if self.caller.get().is_some() {
            Audience::Partner
        } else if self.viewer.lock().is_some() {
            Audience::User
        } else {
            Audience::Anonymous
        }
    }

    fn start(self: &Arc<Self>, id: &str, serial: u64, plan: Arc<Plan>, operation: &Operation) -> Result<(), Refused> {
        let checked = self.generation.check(operation, self.audience());
        let coerced = checked.and_then(|()| plan.coerce(operation.variables.as_ref().unwrap_or(&Object::new())));
        let variables = coerced.inspect_err(|_| self.count_refused(operation, Outcome::Refused))?;
        let start = operation.extensions.as_ref().map(start).unwrap_or_default();
        let subscription = Subscription::new(self, id, serial, plan, variables, start);
        let mut operations = self.operations.lock();
        // The client may have lost interest while it was planned.
        let Some(running) = operations.get_mut(id).filter(|running| running.serial == serial) else {
            return Ok(());
        };
        running.kind = Kind::Subscription(Arc::clone(&subscription));
        drop(operations);
        counted(self.call(operation), Outcome::Ok, move || subscription.attach());
        Ok(())
    }

    fn refuse(&self, id: &str, serial: u64, refused: &Refused) {
        self.conclude(id, serial, [self.transport.error(id, &refused.to_json())]);
    }
}

fn refused_by(refusal: Refusal) -> String {
    serde_json::json!([refusal.to_graphql()]).to_string()
}

/// How the client wants its stream to start.
fn start(extensions: &Object) -> Start {
    Start {
        after: extensions.get("after").filter(|after| !after.is_null()).cloned(),
        announce: extensions.get("position").and_then(Value::as_bool).unwrap_or_default(),
    }
}

impl Running {
    fn subscription(&self) -> Option<Arc<Subscription>> {
        match &self.kind {
            Kind::Subscription(subscription) => Some(Arc::clone(subscription)),
            Kind::Task(_) => None,
        }
    }

    fn stop(self) {
        OPERATIONS.add(-1);
        match self.kind {
            Kind::Task(task) => {
                if let Some(task) = task {
                    task.abort();
                }
            }
            Kind::Subscription(subscription) => subscription.stop(),
        }
    }
}
