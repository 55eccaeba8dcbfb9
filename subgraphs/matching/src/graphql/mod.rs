//! The subgraph of matching.

mod card;
mod load;
mod matches;
mod mutation;
mod payload;
mod query;
mod subscription;

use crate::{DOMAIN_NAME, event::Fact, model::Settings};
use async_graphql::{Context, ID, Schema, SchemaBuilder, SimpleObject};
use load::MatchLoader;
use std::sync::Arc;
use uuid::Uuid;
use velvet_kernel::{
    api::{KnownOperations, Serve, Subgraph},
    command::Intake,
    fault::Fault,
    log::NewEvent,
};

/// Nested fields of a query: as deep as any sensible one, with room for introspection.
const DEPTH_MAX: usize = 16;
/// Fields of a query, all levels together.
const COMPLEXITY_MAX: usize = 2_000;
/// The longest idempotency key, in characters.
const IDEMPOTENCY_KEY_LENGTH_MAX: usize = 128;

/// A user, as accounts has them.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(unresolvable)]
pub struct User {
    /// The user's id.
    id: ID,
}

/// A conversation, as messaging has it.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(unresolvable)]
pub struct Conversation {
    /// The conversation's id.
    id: ID,
}

/// What resolvers work with.
#[derive(Clone)]
struct Api {
    serve: Serve,
    intake: Intake,
    settings: Settings,
}

impl Api {
    fn of<'a>(ctx: &Context<'a>) -> Result<&'a Self, Fault> {
        ctx.data_opt::<Self>().ok_or_else(Fault::internal)
    }

    /// A fact of the API, from now.
    fn fact(&self, id: Uuid, key: impl Into<String>, fact: &Fact) -> NewEvent {
        NewEvent::new(id, fact.kind(), key, self.serve.clock.now(), fact)
    }
}

type MatchingSchema = Schema<query::Query, mutation::Mutation, subscription::Subscription>;

fn schema() -> SchemaBuilder<query::Query, mutation::Mutation, subscription::Subscription> {
    Schema::build(query::Query, mutation::Mutation, subscription::Subscription)
        .extension(KnownOperations::default())
        .enable_federation()
        .enable_subscription_in_federation()
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX)
}

/// The subgraph, ready to be served.
pub fn subgraph(
    serve: &Serve,
    settings: Settings,
) -> Subgraph<query::Query, mutation::Mutation, subscription::Subscription> {
    let api = Api { serve: serve.clone(), intake: serve.intake(DOMAIN_NAME), settings };
    let store = serve.store.clone();
    Subgraph {
        name: DOMAIN_NAME,
        schema: schema().data(api).finish(),
        decorate: Arc::new(move |request| request.data(MatchLoader::new(store.clone()))),
    }
}

/// The subgraph's schema, as composition reads it.
pub fn sdl() -> String {
    let schema: MatchingSchema = schema().finish();
    Subgraph { name: DOMAIN_NAME, schema, decorate: Arc::new(|request| request) }.sdl()
}

#[cfg(test)]
mod tests;
