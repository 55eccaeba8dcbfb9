//! What belongs to one loaded configuration and schema: the planner, the captured services, the sockets to subgraphs.
//!
//! A client's socket keeps the generation that it was opened in, so that its streams go on with the schema that they
//! were planned for. When another goes live, the sockets of the old one are closed over a window of time.

mod asking;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;
use apollo_federation::Supergraph;
use apollo_router::services::{router, subgraph};
use http::{HeaderMap, Uri};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tower::BoxError;

use super::config::{SubgraphConfig, SubscriptionsConfig, millis};
use super::execute::SubgraphCall;
use super::flights::Flights;
use super::metrics::{self, Instruments};
use super::plan::{Planned, Planner, Refused};
use super::protocol::{Object, Operation};
use super::registry::REGISTRY;
use super::shared::Sharing;
use super::upstream::Pool;
use crate::plugins::auth::{self, Verifier};
use crate::plugins::limits::{self, Asked, Audience, Limited, Passed, Who};
use crate::plugins::partners::{self, Caller, Gate, Meant, Refusal, Resolved, without_hash};
pub(super) use asking::Asking;

/// How often a retiring generation looks for sockets that came in while it went.
const RETIRE_CHECK: Duration = Duration::from_secs(1);

/// Numbers the generations of the process.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// The one whose pipeline was put together last.
static LIVE: Mutex<Option<Arc<Generation>>> = Mutex::new(None);

/// The generation that new sockets belong to.
pub(super) fn live() -> Option<Arc<Generation>> {
    LIVE.lock().clone()
}

pub(super) struct Generation {
    pub(super) number: u64,
    pub(super) config: SubscriptionsConfig,
    pub(super) planner: Planner,
    /// All types that data may be of, also those that clients do not see.
    pub(super) schema: Valid<Schema>,
    /// Bounds the events that are executed at once.
    pub(super) events: Semaphore,
    /// Bounds the subscriptions that are started at once.
    pub(super) starts: Semaphore,
    pub(super) sharing: Sharing,
    flights: Flights,
    subgraphs: HashMap<String, Subgraph>,
    captured: Mutex<Captured>,
}

/// An operation as it is to be run.
pub(super) struct Settled {
    pub(super) operation: Operation,
    /// What it was called by.
    pub(super) id: Option<Arc<str>>,
}

struct Subgraph {
    uri: Uri,
    pool: Pool,
}

/// What the pipeline's hooks hand over. It holds the pipeline, which holds the plugin: see [`Generation::release`].
#[derive(Default)]
struct Captured {
    pipeline: Option<router::BoxCloneService>,
    subgraphs: HashMap<String, subgraph::BoxCloneService>,
    verifier: Option<Arc<Verifier>>,
    gate: Option<Arc<Gate>>,
    limits: Option<Arc<limits::Gate>>,
    instruments: Option<Instruments>,
}

impl Generation {
    pub(super) fn new(config: SubscriptionsConfig, sdl: &str) -> Result<Arc<Self>, BoxError> {
        let supergraph = Supergraph::new_with_router_specs(sdl)?;
        let schema = supergraph.schema.schema().clone();
        let plans_max = NonZeroUsize::new(config.execution.plans_max).unwrap_or(NonZeroUsize::MIN);
        let planner = Planner::new(&supergraph, plans_max, config.execution.planning_max.max(1))?;
        Ok(Arc::new(Self {
            number: COUNT.fetch_add(1, Ordering::Relaxed),
            subgraphs: subgraphs(&schema, &config)?,
            events: Semaphore::new(config.execution.events_max.max(1)),
            starts: Semaphore::new(config.execution.starts_max.max(1)),
            sharing: Sharing::default(),
            flights: Flights::default(),
            planner,
            schema,
            config,
            captured: Mutex::new(Captured::default()),
        }))
    }

    pub(super) fn capture_subgraph(&self, name: &str, service: subgraph::BoxCloneService) {
        self.captured.lock().subgraphs.insert(name.to_owned(), service);
    }

    /// Called when the pipeline is complete: from now on this is the generation that new sockets belong to.
    pub(super) fn go_live(self: &Arc<Self>, pipeline: router::BoxCloneService) {
        let mut captured = self.captured.lock();
        captured.pipeline = Some(pipeline);
        captured.verifier = auth::live();
        captured.gate = partners::live();
        captured.limits = limits::live();
        captured.instruments = Some(metrics::observe());
        drop(captured);
        let previous = LIVE.lock().replace(Arc::clone(self));
        if let Some(previous) = previous.filter(|previous| previous.number != self.number) {
            tokio::spawn(previous.retire());
        }
    }

    /// The router's whole pipeline, for a query or a mutation. Nothing once the generation is gone.
    pub(super) fn pipeline(&self) -> Option<router::BoxCloneService> {
        self.captured.lock().pipeline.clone()
    }

    pub(super) fn verifier(&self) -> Option<Arc<Verifier>> {
        self.captured.lock().verifier.clone()
    }

    /// Who may call what by id; nothing without the partners plugin.
    pub(super) fn gate(&self) -> Option<Arc<Gate>> {
        self.captured.lock().gate.clone()
    }

    pub(super) fn pool(&self, subgraph: &str) -> Option<&Pool> {
        self.subgraphs.get(subgraph).map(|subgraph| &subgraph.pool)
    }

    pub(super) fn addresses(&self) -> HashMap<String, Uri> {
        self.subgraphs.iter().map(|(name, subgraph)| (name.clone(), subgraph.uri.clone())).collect()
    }

    /// The operation with its text in it, when it is called by an id and the caller may call it.
    pub(super) fn settle(&self, caller: Option<&Caller>, mut operation: Operation) -> Result<Settled, Refusal> {
        let Some(gate) = self.gate() else {
            return Ok(Settled { operation, id: None });
        };
        if let Some(caller) = caller {
            gate.recheck(caller)?;
        }
        let extensions = operation.extensions.as_ref();
        let meant = Meant::of(operation.query.as_deref(), operation.document_id.as_deref(), extensions)?;
        let id: Option<Arc<str>> = meant.document_id.or(meant.hash).map(Arc::from);
        if let Resolved::Registered { text, .. } = gate.resolve(caller, meant)? {
            operation.query = Some(text.to_string());
            operation.document_id = id.as_deref().map(str::to_owned);
            if let Some(extensions) = &mut operation.extensions {
                without_hash(extensions);
            }
        }
        Ok(Settled { operation, id })
    }

    /// Holds an operation against the limits of its audience, before it is planned and each time that it starts: a plan
    /// is kept, variables are not. Queries and mutations are checked by the pipeline. What it costs by estimate.
    pub(super) fn check(&self, operation: &Operation, audience: Audience) -> Result<u64, Refused> {
        let limits = self.captured.lock().limits.clone();
        let (Some(limits), Some(query)) = (limits, operation.query.as_deref()) else { return Ok(0) };
        let none = Object::new();
        let variables = operation.variables.as_ref().unwrap_or(&none);
        let asked = Asked { query, operation_name: operation.operation_name.as_deref(), variables };
        limits.check(asked, audience).map_err(|refusal| Refused(vec![refusal.to_graphql()]))
    }

    /// Counts a subscription that is about to start. Queries and mutations are counted by the pipeline.
    pub(super) async fn rate(&self, operation: &Operation, who: &Who) -> Result<Passed, Limited> {
        let limits = self.captured.lock().limits.clone();
        let (Some(limits), Some(query)) = (limits, operation.query.as_deref()) else { return Ok(Passed::default()) };
        let none = Object::new();
        let variables = operation.variables.as_ref().unwrap_or(&none);
        let asked = Asked { query, operation_name: operation.operation_name.as_deref(), variables };
        limits.rate(asked, operation.document_id.as_deref(), who).await
    }

    /// Where a request comes from, when that is configured and known.
    pub(super) fn address(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        self.captured.lock().limits.clone()?.address(headers)
    }

    /// Plans an operation. Bounded, since planners may be busy with others' operations.
    pub(super) async fn plan(&self, query: String, operation_name: Option<String>) -> Result<Planned, Refused> {
        let limit = millis(self.config.execution.request_timeout_ms);
        match tokio::time::timeout(limit, self.planner.plan(query, operation_name)).await {
            Ok(planned) => planned,
            Err(_) => Err(Refused::new("UNAVAILABLE", "the operation cannot be planned now")),
        }
    }

    async fn retire(self: Arc<Self>) {
        let window = millis(self.config.drain.retire_window_ms);
        // Requests that the old pipeline already has may still become sockets.
        tokio::time::sleep(RETIRE_CHECK.min(window)).await;
        loop {
            let sockets = REGISTRY.of_generation(self.number);
            let Ok(count) = u32::try_from(sockets.len()) else { return };
            if count == 0 {
                break;
            }
            for socket in sockets {
                tokio::time::sleep(window / count).await;
                socket.outbound.close(super::protocol::Close::GOING_AWAY);
            }
            tokio::time::sleep(RETIRE_CHECK).await;
        }
        self.release();
    }

    /// Lets go of the pipeline, which would otherwise keep itself alive through us.
    fn release(&self) {
        *self.captured.lock() = Captured::default();
    }

    fn call_service(&self, call: &SubgraphCall) -> Option<(subgraph::BoxCloneService, Uri)> {
        let service = self.captured.lock().subgraphs.get(call.subgraph).cloned()?;
        let uri = self.subgraphs.get(call.subgraph)?.uri.clone();
        Some((service, uri))
    }
}

/// Where the subgraphs are: the schema's addresses unless the configuration says otherwise.
fn subgraphs(schema: &Schema, config: &SubscriptionsConfig) -> Result<HashMap<String, Subgraph>, BoxError> {
    let Some(ExtendedType::Enum(graphs)) = schema.types.get("join__Graph") else {
        return Err("the schema is not a supergraph".into());
    };
    let defaults = SubgraphConfig::default();
    let mut subgraphs = HashMap::new();
    for value in graphs.values.values() {
        let argument = |name| {
            let graph = value.directives.get("join__graph")?;
            graph.specified_argument_by_name(name)?.as_str()
        };
        let (Some(name), Some(url)) = (argument("name"), argument("url")) else {
            continue;
        };
        let configured = config.subgraphs.get(name).unwrap_or(&defaults);
        let url = configured.url.as_deref().unwrap_or(url);
        let uri = url.parse().map_err(|_| format!("subgraph {name}: {url} is not a URL"))?;
        let ws_url = ws_url(url, configured).ok_or_else(|| format!("subgraph {name}: no WebSocket URL in {url}"))?;
        subgraphs.insert(name.to_owned(), Subgraph { uri, pool: Pool::new(&ws_url, &config.upstream) });
    }
    if let Some(unknown) = config.subgraphs.keys().find(|name| !subgraphs.contains_key(*name)) {
        return Err(format!("subgraph {unknown} is configured and not in the schema").into());
    }
    Ok(subgraphs)
}

fn ws_url(url: &str, configured: &SubgraphConfig) -> Option<url::Url> {
    if let Some(ws_url) = &configured.ws_url {
        return url::Url::parse(ws_url).ok();
    }
    let mut derived = url::Url::parse(url).ok()?;
    let scheme = if derived.scheme() == "https" { "wss" } else { "ws" };
    derived.set_scheme(scheme).ok()?;
    let path = derived.path().strip_suffix("/graphql")?.to_owned();
    derived.set_path(&format!("{path}/ws"));
    Some(derived)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subgraphs_socket_is_beside_its_endpoint() {
        let derived = |url| ws_url(url, &SubgraphConfig::default()).map(|url| url.to_string());
        assert_eq!(derived("http://a:1/matching/graphql").as_deref(), Some("ws://a:1/matching/ws"));
        assert_eq!(derived("https://a/graphql").as_deref(), Some("wss://a/ws"));
        assert_eq!(derived("http://a/other"), None);
        let configured = SubgraphConfig { ws_url: Some("ws://b/x".to_owned()), url: None };
        assert_eq!(ws_url("http://a/other", &configured).unwrap().as_str(), "ws://b/x");
    }
}
