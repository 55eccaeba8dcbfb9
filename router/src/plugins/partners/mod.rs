//! `velvet.partners`: API keys, and operations that are called by id.
//!
//! Must come after `velvet.subscriptions` and `velvet.auth` in the configuration, and before `velvet.limits`: a user's
//! token is checked before a key is, and what comes after sees an operation's text, whatever the caller sent for it.
//!
//! The token that a key is exchanged for is put in behind `auth`: it comes from the accounts subgraph itself, and every
//! subgraph checks it again.

pub mod snapshot;

mod accounts;
mod ahead;
mod cached;
mod caller;
mod config;
mod endpoint;
mod first_party;
mod graph;
mod planning;
mod publish;
pub(super) mod redis;
mod refusal;
mod registry;
mod request;
mod resolve;
mod serve;
mod usage;

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use apollo_router::layers::ServiceBuilderExt as _;
use apollo_router::plugin::{Plugin, PluginInit};
use apollo_router::services::{execution, router, supergraph};
use apollo_router::{Context, Endpoint, ListenAddr, register_plugin};
use arc_swap::ArcSwapOption;
use multimap::MultiMap;
use parking_lot::Mutex;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, service_fn};
use velvet_edge::signature::Signed;

use crate::plugins::executor;
use crate::plugins::handover::Handover;
use accounts::Accounts;
pub use ahead::is_only_planned;
use caller::Keys;
pub use caller::{Caller, KEY_HEADER, Proof};
use config::PartnersConfig;
use first_party::FirstParty;
use graph::Graph;
use planning::Planning;
pub use refusal::Refusal;
use registry::Registry;
pub use request::{Meant, without_hash};
use resolve::Operations;
pub use resolve::Resolved;
pub use serve::{admit, begun, operation_id, settle, taken};
use usage::Usage;
pub use usage::{Call, Outcome, delivered, executed};

/// The gate of the live pipeline. Plugins cannot see one another; this is where the others find it.
static LIVE: LazyLock<ArcSwapOption<Gate>> = LazyLock::new(ArcSwapOption::empty);

/// The gate of the pipeline that is being put together, for a plugin that comes before this one in the configuration.
pub fn live() -> Option<Arc<Gate>> {
    LIVE.load_full()
}

/// Says who calls and what may be called. One per loaded configuration and schema; the registry is the process's.
pub struct Gate {
    config: PartnersConfig,
    registry: Arc<Registry>,
    keys: Keys,
    accounts: Accounts,
    usage: Arc<Usage>,
    first_party: FirstParty,
    graph: Graph,
    planning: Planning,
}

impl Gate {
    fn new(config: PartnersConfig, sdl: Arc<String>) -> Result<Self, BoxError> {
        if config.redis.list().is_empty() {
            return Err("velvet.partners: redis.urls names no server".into());
        }
        let registry = Registry::shared(&config.redis);
        Ok(Self {
            keys: Keys::new(Arc::clone(&registry), &config.redis),
            accounts: Accounts::new(&config)?,
            usage: Usage::shared(&config, &registry)?,
            first_party: FirstParty::load(&config.first_party)?,
            graph: Graph::new(&sdl)?,
            planning: Planning::new(sdl, config.planning.publishing_max),
            registry,
            config,
        })
    }

    /// Checks a key and the signature of the request that it came with.
    pub async fn admit(&self, key: &str, proof: &Proof, request: Signed<'_>) -> Result<Caller, Refusal> {
        self.keys.admit(key, proof, request).await
    }

    /// Whether a key that was good still is.
    pub fn recheck(&self, caller: &Caller) -> Result<(), Refusal> {
        self.keys.recheck(caller)
    }

    /// The value of an `Authorization` header in the partner's own name, for a caller that has brought no user's token.
    pub async fn authorization(&self, caller: &Caller) -> Result<Arc<str>, Refusal> {
        self.accounts.authorization(caller).await
    }

    /// A call that came then, to be counted when it is answered.
    pub fn begin(&self, caller: &Arc<Caller>, came: Instant) -> Call {
        Call::begin(&self.usage, caller, came)
    }

    /// Which operation is meant, and whether the caller may call it; without a caller, whether anybody may.
    pub fn resolve(&self, caller: Option<&Caller>, meant: Meant<'_>) -> Result<Resolved, Refusal> {
        let operations = Operations { registry: &self.registry, first_party: &self.first_party, graph: &self.graph };
        operations.resolve(caller, meant)
    }
}

struct Partners {
    gate: Arc<Gate>,
    /// Kept for as long as the pipeline.
    instruments: Mutex<Option<usage::Instruments>>,
}

#[async_trait::async_trait]
impl Plugin for Partners {
    type Config = PartnersConfig;

    async fn new(init: PluginInit<PartnersConfig>) -> Result<Self, BoxError> {
        Ok(Self { gate: Arc::new(Gate::new(init.config, init.supergraph_sdl)?), instruments: Mutex::new(None) })
    }

    fn router_service(&self, service: router::BoxService) -> router::BoxService {
        LIVE.store(Some(Arc::clone(&self.gate)));
        *self.instruments.lock() = Some(usage::observe());
        ahead::start(&self.gate);
        let inner = BoxCloneService::new(Handover::new(service));
        let gate = Arc::clone(&self.gate);
        service_fn(move |request: router::Request| serve::serve(Arc::clone(&gate), request, inner.clone())).boxed()
    }

    fn supergraph_service(&self, service: supergraph::BoxService) -> supergraph::BoxService {
        ServiceBuilder::new().map_response(usage::noted).service(service).boxed()
    }

    /// What is only to be planned ends here, with its plan in the cache.
    fn execution_service(&self, service: execution::BoxService) -> execution::BoxService {
        ServiceBuilder::new()
            .checkpoint(|request: execution::Request| {
                if ahead::is_only_planned(&request.context) {
                    executor::look_at(&request);
                    Ok(ControlFlow::Break(execution::Response::builder().context(request.context).build()?))
                } else {
                    Ok(ControlFlow::Continue(request))
                }
            })
            .service(service)
            .boxed()
    }

    fn web_endpoints(&self) -> MultiMap<ListenAddr, Endpoint> {
        let listen = ListenAddr::from(self.gate.config.listen);
        let path = &self.gate.config.path;
        let publish = Endpoint::from_router_service(path.clone(), endpoint::publish(Arc::clone(&self.gate)));
        let call = Endpoint::from_router_service(format!("{path}/{{id}}"), endpoint::call(Arc::clone(&self.gate)));
        MultiMap::from_iter([(listen.clone(), publish), (listen, call)])
    }
}

/// The partner that a request came from.
pub fn caller(context: &Context) -> Option<Arc<Caller>> {
    marked(context)
}

fn mark<T: Send + Sync + 'static>(context: &Context, mark: T) {
    context.extensions().with_lock(|extensions| extensions.insert(mark));
}

fn marked<T: Clone + Send + Sync + 'static>(context: &Context) -> Option<T> {
    context.extensions().with_lock(|extensions| extensions.get::<T>().cloned())
}

register_plugin!("velvet", "partners", Partners);
