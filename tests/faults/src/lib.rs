//! Pulling the plug: each test breaks one part of the running stack in the middle of its work,
//! mends it, and counts. The tests are under `tests/`; they hold the stack for themselves.

#![expect(clippy::disallowed_methods, reason = "tests make ids and times up as they go")]

pub mod metrics;
pub mod talk;
pub mod tap;
pub mod writers;

use std::time::Duration;

/// Long enough for a part to come back and the rest to catch up on a busy machine.
pub const HEALED: Duration = Duration::from_secs(90);
