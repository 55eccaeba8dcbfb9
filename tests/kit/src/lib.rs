//! Starts and stops the whole of Velvet on one machine: PostgreSQL with its replica, Redis, Kafka,
//! the writer, the API and the router, all on loopback, with their state in one folder.
//!
//! `velvet-stack` (behind `dev/up`, `dev/down`, `dev/test` and `dev/bench`) owns the processes.
//! Tests do not: they reach the running stack through [`Handle::from_env`], which can also stop,
//! kill, pause and restart any part of it, and speak to the graph through [`client`].
//!
//! Invariants: everything binds 127.0.0.1; every wait has a bound and ends in an error that names
//! what was waited for and shows the log's tail; only processes that a stack started are ever
//! signalled; a state folder belongs to one stack at a time.

#![expect(clippy::disallowed_methods, reason = "the kit stands outside the code that must be the same on every run")]

pub mod backup;
pub mod balancer;
pub mod binaries;
pub mod client;
pub mod config;
pub mod control;
pub mod database;
pub mod disks;
pub mod golden;
pub mod handle;
pub mod info;
pub mod links;
pub mod options;
pub mod pids;
pub mod poll;
pub mod population;
pub mod ports;
pub mod process;
pub mod progress;
pub mod roll;
pub mod servers;
pub mod stack;
pub mod state;
pub mod supervisor;
pub mod wiring;

pub use control::Action;
pub use database::Database;
pub use handle::Handle;
pub use info::StackInfo;
pub use options::{Profile, RedisLayout, StackOptions};
pub use poll::until;
pub use ports::PortChoice;
pub use stack::Stack;
