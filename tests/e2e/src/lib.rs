//! People who use the graph as a stranger would: through the router, with nothing but its schema.
//!
//! The tests under `tests/` mirror the graph, one file per theme; each reads as a sequence of facts.

#![expect(clippy::disallowed_methods, reason = "tests make people up as they go")]

pub mod calling;
pub mod database;
pub mod example;
pub mod line;
pub mod live;
pub mod partner;
pub mod person;
pub mod program;
pub mod redis;
pub mod router;
pub mod second_api;
pub mod transport;

pub use live::Stream;
pub use person::{Person, conversation_of, meet};
pub use transport::Transport;

use std::time::Duration;

/// Longer than anything takes that works, even beside a build.
pub const SOON: Duration = Duration::from_secs(20);
