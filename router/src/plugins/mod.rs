//! Native plugins of Apollo Router, one directory each. They register themselves; `router.yaml` turns them on.

pub mod auth;
mod counter;
pub mod executor;
mod handover;
pub mod limits;
pub mod partners;
pub mod playground;
mod recent;
pub mod subscriptions;
