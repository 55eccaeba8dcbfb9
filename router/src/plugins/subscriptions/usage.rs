//! Counting what partners call over sockets and streams. Queries and mutations are counted in the pipeline.

use std::sync::Arc;
use std::time::Instant;

use super::generation::Generation;
use super::protocol::Operation;
use super::socket::Socket;
use crate::plugins::limits::Cost;
use crate::plugins::partners::{Call, Caller, Meant, Outcome};

impl Generation {
    /// The call that a partner's operation is, which came then.
    pub(super) fn call(&self, caller: &Arc<Caller>, operation: &Operation, came: Instant) -> Option<Call> {
        let mut call = self.gate()?.begin(caller, came);
        let extensions = operation.extensions.as_ref();
        if let Ok(meant) = Meant::of(operation.query.as_deref(), operation.document_id.as_deref(), extensions) {
            call.means(meant);
        }
        Some(call)
    }
}

impl Socket {
    /// The call that an operation is; nothing when it came without a key.
    pub(super) fn call(&self, operation: &Operation) -> Option<Call> {
        self.generation.call(self.caller()?, operation, Instant::now())
    }

    /// Tells of a refusal, once it is counted.
    pub(super) fn refuse_counted(self: &Arc<Self>, id: &str, call: Option<Call>, outcome: Outcome, errors: &str) {
        let (socket, message) = (Arc::clone(self), self.transport.error(id, errors));
        counted(call, outcome, None, move || socket.outbound.push(message));
    }
}

/// Counts a call with its estimated cost, then answers it; without a call, at once.
pub(super) fn counted(
    call: Option<Call>,
    outcome: Outcome,
    estimated: Option<u64>,
    answer: impl FnOnce() + Send + 'static,
) {
    let cost = estimated.map(|estimated| Cost { estimated, actual: None });
    match call {
        None => answer(),
        Some(call) => drop(tokio::spawn(async move {
            call.answered(outcome, cost).await;
            answer();
        })),
    }
}
