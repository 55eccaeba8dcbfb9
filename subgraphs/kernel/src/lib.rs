//! The kernel: what every domain needs, and no domain itself.
//!
//! - [`log`]: Kafka. Facts, decided events and commands, as `CloudEvents`, with receipts.
//! - [`fold`]: the rule of a domain: (state, fact) → (state, effects). Pure.
//! - [`project`]: runs folds in log order, keeps Redis in step, has it rebuilt when it was lost.
//! - [`store`]: Redis. Views that are merged by version, in batches of one round trip.
//! - [`live`]: inboxes, channels and cursors behind GraphQL subscriptions.
//! - [`command`]: appending a fact or command and waiting for what it came to.
//! - [`api`]: a subgraph's HTTP and WebSocket routes.
//! - [`process`]: what every process does at its start and its end.
//! - [`identity`], [`fault`], [`graph`], [`config`], [`telemetry`], [`time`], [`id`]: shared words.
//!
//! An API crate uses [`api`], [`store`] and [`command`]; it never links the database's library.

pub mod api;
pub mod command;
pub mod config;
pub mod domain;
pub mod fault;
pub mod fold;
pub mod graph;
pub mod id;
pub mod identity;
pub mod live;
pub mod log;
pub mod planted;
pub mod process;
pub mod project;
pub mod store;
pub mod telemetry;
pub mod time;
