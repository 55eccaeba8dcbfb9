//! Messaging: conversations of two, their messages, read marks and who is typing.
//!
//! What always holds:
//!
//! - a conversation has the two partners of one match as its members, and opens by itself;
//! - positions are dense: 1, 2, 3, … in the order of the log, each given once;
//! - the same client id of one sender in one conversation is one message;
//! - nothing changes in a conversation after it was closed, except read marks; what was said stays
//!   readable to both after an unmatch, and disappears for both with a block;
//! - a read mark never moves back, and unread is the last position less one's own mark;
//! - what a fold decides follows from its state and the fact alone.

pub mod event;
mod fold;
pub mod graphql;
mod inbound;
pub mod model;
mod page;
mod read;
pub mod row;
mod typing;
mod view;

pub use fold::Messaging;
pub use view::{BLOCK_SIZE, BLOCKS_KEPT};

use serde::Deserialize;
use std::sync::Arc;
use velvet_kernel::{
    api::{Api, Serve},
    config::{self, Config},
    domain::Domain,
    project::{Projection, Shared, loops},
};

/// The domain's name: of its topics, its subgraph, its keys in Redis.
pub const NAME: &str = "messaging";

/// Messaging, as the server sees it.
pub const DOMAIN: Domain = Domain { name: NAME, sdl: graphql::sdl, serve, project, check };

/// Messaging has no settings of its own; naming any is refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

fn serve(serve: &Serve) -> anyhow::Result<Api> {
    serve.settings::<Settings>(NAME)?;
    Ok(graphql::subgraph(Some(serve)).serve(serve))
}

fn project(shared: &Shared) -> anyhow::Result<Vec<futures::future::BoxFuture<'static, ()>>> {
    shared.config.domain::<Settings>(NAME)?;
    let projection = Projection { domain: NAME, fold: Arc::new(fold::Messaging), inbound: inbound::all() };
    Ok(loops(projection, shared))
}

fn check(config: &Config) -> Result<(), config::Error> {
    config.domain::<Settings>(NAME).map(drop)
}
