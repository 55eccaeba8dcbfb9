//! The subgraph of messaging.

mod change;
mod conversation;
mod loader;
mod message;
mod mutation;
mod payload;
mod query;
mod subscription;
#[cfg(test)]
mod tests;

use crate::NAME;
use async_graphql::{Request, Schema};
use loader::Loaders;
use mutation::Mutation;
use query::Query;
use std::sync::Arc;
use subscription::Subscription;
use velvet_kernel::{
    api::{Decorate, KnownOperations, Serve, Subgraph},
    command::Intake,
};

/// The deepest operation: a page of conversations with their messages' reactions has ten levels.
const DEPTH_MAX: usize = 12;
/// Fields of one operation, entities' and introspection's included.
const COMPLEXITY_MAX: usize = 2_000;

/// What resolvers work with.
pub struct Context {
    /// Redis, the log, live streams, the time.
    pub serve: Serve,
    /// The way into messaging's log.
    pub intake: Intake,
}

/// The subgraph; without parts to work with only its schema can be read.
pub fn subgraph(serve: Option<&Serve>) -> Subgraph<Query, Mutation, Subscription> {
    let mut schema = Schema::build(Query, Mutation, Subscription)
        .extension(KnownOperations::default())
        .enable_federation()
        .enable_subscription_in_federation()
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX);
    let mut decorate: Decorate = Arc::new(|request: Request| request);
    if let Some(serve) = serve {
        schema = schema.data(Context { serve: serve.clone(), intake: serve.intake(NAME) });
        let serve = serve.clone();
        decorate = Arc::new(move |request: Request| request.data(Loaders::new(&serve)));
    }
    Subgraph { name: NAME, schema: schema.finish(), decorate }
}

/// The schema in the language that composition reads.
pub fn sdl() -> String {
    subgraph(None).sdl()
}
