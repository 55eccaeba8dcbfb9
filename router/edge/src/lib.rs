//! What the router decides about an operation without asking anybody: pure rules, no I/O, no router.

pub mod cost;
pub mod limits;
pub mod protocol;
