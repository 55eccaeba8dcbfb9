//! Sockets to the subgraphs: a few per subgraph, each shared by many operations.
//!
//! A lost socket is opened again, and every operation on it goes on where it was: what its listener says to subscribe
//! with names the last position seen.

mod connection;
mod operation;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::config::UpstreamConfig;
use connection::Connection;

/// Who hears what an operation gets. `id` is the operation's on its socket: a listener that has moved on to another
/// ignores what still comes for the old one.
pub(super) trait Listener: Send + Sync {
    /// The payload to subscribe with, now. Nothing when the operation is over.
    fn payload(&self, id: u64) -> Option<serde_json::Value>;
    /// A whole GraphQL response.
    fn next(self: Arc<Self>, id: u64, response: Bytes);
    /// A list of GraphQL errors; nothing follows.
    fn error(self: Arc<Self>, id: u64, errors: &str);
    /// Nothing follows.
    fn complete(self: Arc<Self>, id: u64);
}

/// Operations on each socket, about, as long as there may be more sockets: a subgraph looks at all operations of a socket
/// whenever something happens on it.
const OPERATIONS_PER_SOCKET: usize = 128;
/// Sockets that are used however few operations there are.
const SOCKETS_AT_LEAST: usize = 4;

/// The sockets to one subgraph. They are opened when first used.
pub(super) struct Pool {
    connections: Vec<Arc<Connection>>,
    turn: AtomicUsize,
    running: Arc<AtomicUsize>,
}

impl Pool {
    pub(super) fn new(url: &url::Url, config: &UpstreamConfig) -> Self {
        let connection = |_| Arc::new(Connection::new(url.clone(), config.clone()));
        Self {
            connections: (0..config.sockets_per_subgraph.max(1)).map(connection).collect(),
            turn: AtomicUsize::new(0),
            running: Arc::default(),
        }
    }

    /// Runs an operation until its lease is dropped or it ends.
    pub(super) fn subscribe(&self, listener: Arc<dyn Listener>) -> Lease {
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        let used = used_of(self.connections.len(), running);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % used;
        let connection = Arc::clone(&self.connections[turn]);
        let id = connection.subscribe(listener);
        Lease { connection, id, running: Arc::clone(&self.running) }
    }
}

/// How many of the sockets take turns while so many operations run.
fn used_of(sockets: usize, running: usize) -> usize {
    (SOCKETS_AT_LEAST + running / OPERATIONS_PER_SOCKET).min(sockets).max(1)
}

/// An operation's place on a socket; it ends with it.
pub(super) struct Lease {
    connection: Arc<Connection>,
    pub(super) id: u64,
    running: Arc<AtomicUsize>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.unsubscribe(self.id);
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_grow_with_what_runs_up_to_their_bound() {
        assert_eq!([0, 127, 128, 10_000, 1_000_000].map(|running| used_of(1_024, running)), [4, 4, 5, 82, 1_024]);
        assert_eq!(used_of(1, 10_000), 1);
    }
}
