//! Native plugins of Apollo Router, one directory each. They register themselves; `router.yaml` turns them on.

pub mod auth;
mod counter;
pub mod drain;
pub mod executor;
mod handover;
pub mod limits;
pub mod partners;
pub mod playground;
mod recent;
pub mod subscriptions;

/// How long a connection to a subgraph is kept without use: the same as `traffic_shaping` says for Apollo Router, and
/// shorter than a subgraph that is to end leaves it open.
const UNUSED_MAX: std::time::Duration = std::time::Duration::from_secs(5);
