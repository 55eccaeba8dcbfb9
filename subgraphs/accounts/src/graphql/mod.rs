//! The subgraph: what of accounts is in the graph.

mod account;
mod input;
mod loader;
mod mutation;
mod partners;
mod query;
mod session;
mod user;

pub(crate) use partners::Place;

use crate::{DOMAIN_NAME, service::Service};
use async_graphql::{EmptySubscription, Schema};
use loader::UserLoader;
use mutation::Mutation;
use query::Query;
use std::sync::Arc;
use velvet_kernel::{
    api::{KnownOperations, Subgraph},
    fault::Fault,
};

/// The deepest operation: the usual introspection query takes 15 levels, our own types far fewer.
const DEPTH_MAX: usize = 16;
/// The most fields of an operation.
const COMPLEXITY_MAX: usize = 2_000;

/// The subgraph; without a service it only describes itself.
pub(crate) fn subgraph(service: Option<Arc<Service>>) -> Subgraph<Query, Mutation, EmptySubscription> {
    let mut schema = Schema::build(Query, Mutation, EmptySubscription)
        .extension(KnownOperations::default())
        .enable_federation()
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX);
    if let Some(service) = &service {
        schema = schema.data(Arc::clone(service));
    }
    let decorate = move |request: async_graphql::Request| match &service {
        Some(service) => request.data(UserLoader::new(service.serve.store.clone())),
        None => request,
    };
    Subgraph { name: DOMAIN_NAME, schema: schema.finish(), decorate: Arc::new(decorate) }
}

/// The subgraph's schema, as composition reads it.
pub(crate) fn sdl() -> String {
    subgraph(None).sdl()
}

fn service<'a>(ctx: &async_graphql::Context<'a>) -> Result<&'a Service, Fault> {
    ctx.data_opt::<Arc<Service>>().map(Arc::as_ref).ok_or_else(Fault::internal)
}

#[cfg(test)]
mod tests;
