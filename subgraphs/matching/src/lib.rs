//! Matching: who is shown to whom, what they say of each other, and what comes of it.
//!
//! - A pair has at most one match, ever: the second like makes it, whoever was first, and once it has
//!   ended by unmatching or a block it does not come back.
//! - A pass before the match replaces a like; after the match it changes nothing.
//! - Nobody is shown whom they have swiped, or who is blocked either way, or who does not want them.
//! - The deck is read from Redis alone, in a bounded number of round trips that does not depend on
//!   how many people there are: see [`deck`].
//!
//! Facts of a pair go under `<smaller id>:<larger id>`; accounts' users come in under their own id.

pub mod deck;
pub mod event;
pub mod fold;
mod graphql;
mod inbound;
pub mod model;
pub mod quota;
mod view;

use model::Settings;
use std::sync::Arc;
use velvet_kernel::{
    api::{Api, Serve},
    config::{self, Config},
    domain::Domain,
    project::{self, Projection, Shared},
};

/// The domain's name: of its topics, its subgraph and its keys.
const DOMAIN_NAME: &str = "matching";

/// The domain, for the server.
pub const DOMAIN: Domain = Domain { name: DOMAIN_NAME, sdl: graphql::sdl, serve, project, check };

fn serve(serve: &Serve) -> anyhow::Result<Api> {
    let settings = settings(&serve.config)?;
    Ok(graphql::subgraph(serve, settings).serve(serve))
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of every domain's")]
fn project(shared: &Shared) -> anyhow::Result<Vec<futures::future::BoxFuture<'static, ()>>> {
    let inbound = vec![inbound::ACCOUNTS, inbound::MESSAGING];
    let projection = Projection { domain: DOMAIN_NAME, fold: Arc::new(fold::Matching), inbound };
    Ok(project::loops(projection, shared))
}

fn check(config: &Config) -> Result<(), config::Error> {
    settings(config).map(drop)
}

fn settings(config: &Config) -> Result<Settings, config::Error> {
    config.domain(DOMAIN_NAME)
}
