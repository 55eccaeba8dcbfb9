//! Accounts: who people are, how they prove it, and what they show of themselves.
//!
//! What always holds:
//! - An email address, whatever its case, belongs to one account. The writer decides it ([`command`]).
//! - A refresh token is good once; a copied one ends its session ([`fold`]). Only hashes of tokens and
//!   passwords leave the process that saw them.
//! - Nobody under 18 has an account; of a birth date others learn the age alone.
//! - The exact point where somebody is never leaves the resolver that reads it.
//! - A partner's key is shown once; what is kept of it does not let anybody in.
//! - Signing in needs Redis and Kafka, never the database.

pub mod command;
pub mod event;
pub mod import;
pub mod model;
pub mod row;

mod activity;
mod attempts;
#[cfg(test)]
mod fixtures;
mod fold;
mod graphql;
mod hasher;
mod inbound;
mod keys;
mod operate;
mod partner_key;
mod partner_routes;
mod service;
mod settings;
mod token;
mod verification;
mod view;

pub use activity::activity;
pub use fold::{Accounts, State};
pub use keys::routes;
pub use operate::{NewPartnerKey, create_partner, create_partner_key, set_role};
pub use settings::Settings;
pub use verification::set_verification;

use futures::future::BoxFuture;
use std::sync::Arc;
use velvet_kernel::{
    api::{Api, Serve},
    config::{self, Config},
    domain::Domain,
    identity::Signer,
    project::{Projection, Shared, loops},
};

/// The domain's name: of its topics, its subgraph, its keys in Redis.
const DOMAIN_NAME: &str = "accounts";

/// The domain, as the server wires it up.
pub const DOMAIN: Domain = Domain { name: DOMAIN_NAME, sdl: graphql::sdl, serve, project, check };

fn serve(serve: &Serve) -> anyhow::Result<Api> {
    let signer = Arc::new(Signer::load(&serve.config.identity)?);
    let service = service::Service::new(serve, Arc::clone(&signer))?;
    let service = Arc::new(service);
    let mut api = graphql::subgraph(Some(Arc::clone(&service))).serve(serve);
    api.routes = api.routes.merge(routes(signer)).merge(partner_routes::routes(service));
    Ok(api)
}

#[expect(clippy::unnecessary_wraps, reason = "the shape that every domain has")]
fn project(shared: &Shared) -> anyhow::Result<Vec<BoxFuture<'static, ()>>> {
    let projection = Projection { domain: DOMAIN_NAME, fold: Arc::new(Accounts), inbound: vec![inbound::MATCHING] };
    Ok(loops(projection, shared))
}

fn check(config: &Config) -> Result<(), config::Error> {
    Settings::read(config).map(drop)
}
