//! Sockets to the subgraphs: a few per subgraph, each shared by many operations.
//!
//! A lost socket is opened again, and every operation on it goes on where it was: what its listener says to subscribe
//! with names the last position seen.

mod connection;
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

/// The sockets to one subgraph. They are opened when first used.
pub(super) struct Pool {
    connections: Vec<Arc<Connection>>,
    turn: AtomicUsize,
}

impl Pool {
    pub(super) fn new(url: &url::Url, config: &UpstreamConfig) -> Self {
        let connection = |_| Arc::new(Connection::new(url.clone(), config.clone()));
        Self {
            connections: (0..config.sockets_per_subgraph.max(1)).map(connection).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Runs an operation until its lease is dropped or it ends.
    pub(super) fn subscribe(&self, listener: Arc<dyn Listener>) -> Lease {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        let connection = Arc::clone(&self.connections[turn]);
        let id = connection.subscribe(listener);
        Lease { connection, id }
    }
}

/// An operation's place on a socket; it ends with it.
pub(super) struct Lease {
    connection: Arc<Connection>,
    pub(super) id: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.unsubscribe(self.id);
    }
}
