//! What a domain's crate exports: one value that the server binary wires up.

use crate::{
    api::{Api, Serve},
    project::Shared,
};
use futures::future::BoxFuture;

/// A domain, as the server sees it.
#[derive(Clone, Copy)]
pub struct Domain {
    /// Its name: of its topics, its subgraph, its keys in Redis.
    pub name: &'static str,
    /// Its subgraph's schema, as `schema/<name>.graphql` has it.
    pub sdl: fn() -> String,
    /// Its API.
    pub serve: fn(&Serve) -> anyhow::Result<Api>,
    /// The loops of its projector.
    pub project: fn(&Shared) -> anyhow::Result<Vec<BoxFuture<'static, ()>>>,
    /// Refuses settings that it does not know.
    pub check: fn(&crate::config::Config) -> Result<(), crate::config::Error>,
}
