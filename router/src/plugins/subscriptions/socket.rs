//! What a client's connection, most often a socket, shares with all that sends to it: its queue, its operations, its viewer.

mod begin;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::authority::Authority;
use super::followed::Followed;
use super::generation::Generation;
use super::metrics::OPERATIONS;
use super::outbound::Outbound;
use super::protocol::{Close, failure};
use super::seats::{Accounts, Seats, Shares};
use super::subscription::Subscription;
use super::transport::Transport;
use crate::plugins::auth::Viewer;
use crate::plugins::partners::{Caller, Refusal};
pub(super) use begin::NotOpened;

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
    partner: OnceLock<Partner>,
    /// Where its operations are counted, besides on itself.
    accounts: OnceLock<Accounts>,
    /// Where it comes from, when that is configured and known.
    pub(super) address: OnceLock<Arc<str>>,
}

struct Partner {
    caller: Arc<Caller>,
    /// The token is the partner's own, which the router gets and replaces.
    owns_token: bool,
}

/// The id of the operation on a connection that carries one.
const ONLY: &str = "";

/// An operation, under the client's id.
struct Running {
    serial: u64,
    kind: Kind,
    _shares: Shares,
    /// Set when it is a partner's subscription.
    followed: Option<Followed>,
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
            partner: OnceLock::new(),
            accounts: OnceLock::new(),
            address: OnceLock::new(),
        })
    }

    /// The viewer's token as it is to be forwarded.
    pub(super) fn authorization(&self) -> Option<Arc<str>> {
        self.viewer.lock().as_ref().map(|viewer| Arc::clone(&viewer.authorization))
    }

    /// The partner whose socket it is.
    pub(super) fn caller(&self) -> Option<&Arc<Caller>> {
        self.partner.get().map(|partner| &partner.caller)
    }

    /// Whether the token is the partner's own.
    pub(super) fn owns_token(&self) -> bool {
        self.partner.get().is_some_and(|partner| partner.owns_token)
    }

    /// Says in whose name it acts, and where its operations are counted.
    pub(super) fn admit(&self, authority: Authority, seats: &Seats) {
        self.accounts.get_or_init(|| seats.accounts(&self.generation.config.client));
        *self.viewer.lock() = authority.viewer;
        if let Some(caller) = authority.caller {
            self.partner.get_or_init(|| Partner { caller, owns_token: authority.owns_token });
            // The key may have been revoked before the socket was known to be its caller's.
            self.recheck();
        }
    }

    /// Ends the socket when its caller's key is in force no more; false when it is.
    pub(super) fn recheck(&self) -> bool {
        let (Some(caller), Some(gate)) = (self.caller(), self.generation.gate()) else {
            return false;
        };
        let Err(refusal) = gate.recheck(caller) else {
            return false;
        };
        self.end_operations(&refused_by(refusal));
        self.outbound.close_after_queue(Close::KEY_ENDED);
        true
    }

    fn end_operations(&self, errors: &str) {
        for id in self.stop_operations() {
            self.outbound.push(self.transport.failure(&id, errors));
        }
    }

    /// An operation's place among its viewer's and its key's; nothing when they have too many.
    fn share(&self) -> Option<Shares> {
        Shares::take(self.accounts.get().map_or(&[], |accounts| accounts))
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

    /// Ends all operations because the viewer's token has ended, or the caller's key.
    pub(super) fn expire(&self) {
        if !self.recheck() {
            self.end_operations(&failure("UNAUTHENTICATED", "the access token has expired"));
            self.outbound.close_after_queue(Close::EXPIRED);
        }
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
}

fn refused_by(refusal: Refusal) -> String {
    serde_json::json!([refusal.to_graphql()]).to_string()
}

impl Running {
    fn new(serial: u64, shares: Shares) -> Self {
        Self { serial, kind: Kind::Task(None), _shares: shares, followed: None }
    }

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
