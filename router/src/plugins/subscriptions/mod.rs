//! `velvet.subscriptions`: graphql-transport-ws on the router's own port, and streams as HTTP responses on the graph's
//! own path.
//!
//! Must come right after `velvet.drain` in the configuration: what it captures of the pipeline then contains the others.

mod authority;
mod config;
mod endpoint;
mod event;
mod execute;
#[cfg(test)]
mod fixture;
mod flights;
mod followed;
mod generation;
mod metrics;
mod outbound;
mod plan;
mod project;
mod protocol;
mod registry;
mod request;
mod seats;
mod session;
mod shared;
mod socket;
mod stream;
mod subscription;
mod transport;
mod upstream;
mod usage;

use std::collections::HashMap;
use std::sync::Arc;

use apollo_router::plugin::{Plugin, PluginInit};
use apollo_router::services::{router, subgraph};
use apollo_router::{Endpoint, ListenAddr, register_plugin};
use http::Uri;
use multimap::MultiMap;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt as _, service_fn};

use crate::plugins::handover::Handover;
use config::SubscriptionsConfig;
use generation::Generation;
pub(crate) use registry::{drained, recheck_callers};

/// The live pipeline as a whole, for a plugin that makes requests of its own.
pub(crate) fn pipeline() -> Option<router::BoxCloneService> {
    generation::live()?.pipeline()
}

/// Answers a request that came to an address of another plugin as if it had come to the graph's own, streams included.
/// Nothing when there is no live pipeline.
pub(crate) async fn answer(request: router::Request) -> Option<Result<router::Response, BoxError>> {
    let generation = generation::live()?;
    let pipeline = generation.pipeline()?;
    Some(stream::answer(generation, pipeline, request).await)
}

/// Where the subgraphs are, by their names. Nothing when there is no live pipeline.
pub(crate) fn addresses() -> Option<HashMap<String, Uri>> {
    Some(generation::live()?.addresses())
}

/// Plans a subscription that has not been asked for yet; false when the text is none.
pub(crate) async fn plan_ahead(text: &str) -> bool {
    let Some(generation) = generation::live() else {
        return false;
    };
    let planned = match generation.planner.known(text, None) {
        Some(planned) => Ok(planned),
        None => generation.planner.plan(text.to_owned(), None).await,
    };
    matches!(planned, Ok(plan::Planned::Subscription(_)))
}

struct Subscriptions {
    generation: Arc<Generation>,
}

#[async_trait::async_trait]
impl Plugin for Subscriptions {
    type Config = SubscriptionsConfig;

    async fn new(init: PluginInit<SubscriptionsConfig>) -> Result<Self, BoxError> {
        Ok(Self { generation: Generation::new(init.config, &init.supergraph_sdl)? })
    }

    /// Called once per pipeline, when its plugins are active.
    fn router_service(&self, service: router::BoxService) -> router::BoxService {
        let service = Handover::new(service);
        let pipeline = BoxCloneService::new(service);
        self.generation.go_live(pipeline.clone());
        let generation = Arc::clone(&self.generation);
        service_fn(move |request| stream::answer(Arc::clone(&generation), pipeline.clone(), request)).boxed()
    }

    /// Called once per pipeline and subgraph.
    fn subgraph_service(&self, name: &str, service: subgraph::BoxService) -> subgraph::BoxService {
        let service = Handover::new(service);
        self.generation.capture_subgraph(name, BoxCloneService::new(service.clone()));
        service.boxed()
    }

    fn web_endpoints(&self) -> MultiMap<ListenAddr, Endpoint> {
        let config = &self.generation.config;
        let service = endpoint::service(Arc::clone(&self.generation));
        let endpoint = Endpoint::from_router_service(config.path.clone(), service);
        MultiMap::from_iter([(config.listen.into(), endpoint)])
    }
}

register_plugin!("velvet", "subscriptions", Subscriptions);
