//! Pulling the plug: each test breaks one part of the running stack in the middle of its work,
//! mends it, and counts. The tests are under `tests/`; they hold the stack for themselves.
//!
//! [`run`] does so by a seed: virtual people use the graph ([`person`], [`follow`]) while a nemesis breaks
//! what it likes ([`nemesis`]); then [`checker`] compares what clients were told ([`history`]) with what the
//! log ([`tap`]), PostgreSQL ([`stored`]) and Redis ([`views`]) hold.

#![expect(clippy::disallowed_methods, reason = "tests make ids and times up as they go")]

pub mod ask;
pub mod checker;
pub mod evidence;
pub mod follow;
pub mod front;
pub mod graph;
pub mod history;
pub mod metrics;
pub mod nemesis;
pub mod person;
pub mod quiet;
pub mod random;
pub mod roll;
pub mod run;
pub mod stored;
pub mod talk;
pub mod tap;
pub mod views;
pub mod writers;

use std::time::Duration;

/// Long enough for a part to come back and the rest to catch up on a busy machine.
pub const HEALED: Duration = Duration::from_secs(90);
