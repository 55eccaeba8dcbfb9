//! `velvet.executor`: runs operations whose plan is known, in the place of Apollo Router's own execution.
//!
//! Must be the last plugin in the configuration: who asks, what may be asked and how often has been settled when a request
//! comes here, and Apollo Router's own part of the pipeline is all that it passes by.
//!
//! An operation is planned by Apollo Router, once for each schema: when it is registered, or when it is first called. The
//! plan is taken from the pipeline and turned into a [`program`]. From then on fetches go straight to the subgraphs, what
//! they say is kept as bytes with an index over them ([`tree`]), and the answer is written out of these bytes.
//!
//! Only what is plain is done here. Another kind of plan, variables that need a second look, an error of a subgraph, a
//! value that is not as the schema says: all of that is Apollo Router's, which gets what subgraphs have said so far
//! ([`record`]). So its rules for nulls and errors are not written a second time.

mod answer;
mod client;
mod config;
mod entities;
mod metrics;
mod program;
mod programs;
mod record;
mod run;
mod service;
mod tree;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apollo_compiler::ast::OperationType;
use apollo_federation::{ApiSchemaOptions, Supergraph};
use apollo_router::plugin::{Plugin, PluginInit};
use apollo_router::services::{execution, router, subgraph};
use apollo_router::tracer::TraceId;
use apollo_router::{Context, register_plugin};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use parking_lot::Mutex;
use serde_json_bytes::{ByteString, Map, Value};
use tower::{BoxError, ServiceExt as _};
use velvet_edge::cost::Weights;

use crate::plugins::{limits, partners, subscriptions};
use client::Client;
use config::{ExecutorConfig, Operations};
use program::{Known, Program, Types};
use programs::{Key, Programs, TEXT_BYTES_MAX};
use run::Surroundings;

/// A JSON object.
type Object = Map<ByteString, Value>;

/// What Apollo Router's telemetry looks for.
const OPERATION_NAME: &str = "apollo::supergraph::operation_name";
const OPERATION_KIND: &str = "apollo::supergraph::operation_kind";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const VARY: HeaderValue = HeaderValue::from_static("origin");

/// An operation that is settled, as far as it is needed to run it.
pub struct Offered {
    /// Its text.
    pub text: Arc<str>,
    /// Which operation of the text is meant.
    pub operation_name: Option<Arc<str>>,
    /// The variables, by name.
    pub variables: Object,
    /// Whatever else client and router have agreed on.
    pub extensions: Object,
}

impl Offered {
    fn key(&self) -> Key {
        Key { text: Arc::clone(&self.text), operation_name: self.operation_name.clone() }
    }
}

/// Says which registered operation a request means, for those who come after.
pub fn offer(context: &Context, offered: Offered) {
    context.extensions().with_lock(|known| known.insert(Arc::new(offered)));
}

/// The registered operation that a request means, when that has been settled.
pub fn offered(context: &Context) -> Option<Arc<Offered>> {
    context.extensions().with_lock(|known| known.get::<Arc<Offered>>().cloned())
}

/// The plan of this request is wanted.
#[derive(Clone)]
struct Wanted {
    executor: Arc<Executor>,
    key: Key,
}

/// Takes the plan of a request, if it is wanted.
pub fn look_at(request: &execution::Request) {
    let wanted = request.context.extensions().with_lock(apollo_router::Extensions::remove::<Wanted>);
    let Some(Wanted { executor, key }) = wanted else { return };
    if executor.programs.get(&key).is_some() {
        return;
    }
    executor.programs.put(&key, Known::Pending);
    let plan = Arc::clone(&request.query_plan);
    tokio::task::spawn_blocking(move || {
        let types = &executor.types;
        let known = match Program::of(types, &key.text, key.operation_name.as_deref(), &plan) {
            Ok(program) => Known::Program(Arc::new(program)),
            Err(unfit) => {
                tracing::debug!(reason = unfit.0, "an operation is left to Apollo Router");
                Known::Unfit
            }
        };
        executor.programs.put(&key, known);
    });
}

/// Runs operations. One per loaded configuration and schema.
struct Executor {
    operations: Operations,
    propagated: Vec<HeaderName>,
    timeout: Duration,
    types: Arc<Types>,
    programs: Programs,
    /// What is known only when the whole pipeline is.
    live: OnceLock<Option<Live>>,
}

struct Live {
    surroundings: Surroundings,
    limits: Option<Arc<limits::Gate>>,
}

impl Executor {
    fn new(config: &ExecutorConfig, sdl: &str) -> Result<Self, BoxError> {
        let supergraph = Supergraph::new_with_router_specs(sdl)?;
        let api = supergraph.to_api_schema(ApiSchemaOptions::default())?;
        let schema = supergraph.schema.schema();
        let types = Types { api: api.schema().clone(), supergraph: schema.clone(), weights: Weights::of(schema)? };
        let propagated = config.propagate.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
        Ok(Self {
            operations: config.operations,
            propagated,
            timeout: Duration::from_millis(config.timeout_ms),
            types: Arc::new(types),
            programs: Programs::new(config.operations_max.get()),
            live: OnceLock::new(),
        })
    }

    fn live(&self) -> Option<&Live> {
        let live = self.live.get_or_init(|| {
            // Without TLS, as between the router and subgraphs of one network.
            let subgraphs = subscriptions::addresses()?;
            if subgraphs.values().any(|uri| uri.scheme_str() != Some("http")) {
                tracing::warn!("subgraphs are not asked over plain HTTP; all operations are Apollo Router's");
                return None;
            }
            let surroundings =
                Surroundings { types: Arc::clone(&self.types), client: Client::new(self.timeout), subgraphs };
            Some(Live { surroundings, limits: limits::live() })
        });
        live.as_ref()
    }

    /// The answer to a request; nothing when it is Apollo Router's. What has been said to an execution that was begun is
    /// in the context then.
    async fn answer(
        self: &Arc<Self>,
        context: &Context,
        headers: &HeaderMap,
        offered: &Offered,
    ) -> Option<Result<router::Response, BoxError>> {
        if offered.text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let key = offered.key();
        let program = match self.programs.get(&key) {
            Some(Known::Program(program)) => program,
            Some(_) => return None,
            None => {
                let wanted = Wanted { executor: Arc::clone(self), key };
                context.extensions().with_lock(|known| known.insert(wanted));
                return None;
            }
        };
        let live = self.live()?;
        // What is recorded shows all of its steps, which are Apollo Router's.
        let is_traced = TraceId::maybe_new().is_some();
        if partners::is_only_planned(context) || is_traced || !accepts_json(headers) {
            return None;
        }
        if !program.takes(&self.types, &offered.variables) {
            return None;
        }
        let form = program.shape.form(&self.types, &offered.variables)?;
        let asking = client::headers(&self.propagated, headers);
        let written = run::run(&live.surroundings, &program, &form, &offered.variables, &asking).await;
        let written = match written {
            Ok(written) => written,
            Err(given_up) => {
                tracing::debug!(reason = given_up.why.0, "an execution is handed over");
                metrics::HANDED_OVER.increment();
                given_up.record.keep(context);
                return None;
            }
        };
        metrics::RUN.increment();
        let cost = form.base_cost.map(|base| base.saturating_add(written.cost));
        let told = live.limits.as_ref().and_then(|gate| limits::measure(gate, context, cost, &written.data));
        partners::executed(context);
        Some(respond(context, &program, &written.data, told.as_ref()))
    }
}

/// As Apollo Router would.
fn respond(
    context: &Context,
    program: &Program,
    data: &[u8],
    told: Option<&Value>,
) -> Result<router::Response, BoxError> {
    let kind = if program.kind == OperationType::Mutation { "mutation" } else { "query" };
    context.insert(OPERATION_KIND, kind.to_owned())?;
    context.insert(OPERATION_NAME, program.name.as_deref().map(str::to_owned))?;
    let mut body = Vec::with_capacity(data.len() + 64);
    body.extend_from_slice(br#"{"data":"#);
    body.extend_from_slice(data);
    if let Some(told) = told {
        body.extend_from_slice(br#","extensions":{"cost":"#);
        serde_json::to_writer(&mut body, told)?;
        body.push(b'}');
    }
    body.push(b'}');
    let mut response = http::Response::new(router::body::from_bytes(body));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response.headers_mut().insert(header::VARY, VARY);
    router::Response::http_response_builder().context(context.clone()).response(response).build()
}

/// False as well for what has to be looked at more closely.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let types = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut essences = types.filter_map(|ty| ty.split(';').next()).map(str::trim);
    essences.any(|ty| matches!(ty, "*/*" | "application/json" | "application/graphql-response+json"))
}

struct ExecutorPlugin {
    /// Nothing when all operations are Apollo Router's.
    executor: Option<Arc<Executor>>,
    /// Kept for as long as the pipeline.
    instruments: Mutex<Option<metrics::Instruments>>,
}

#[async_trait::async_trait]
impl Plugin for ExecutorPlugin {
    type Config = ExecutorConfig;

    async fn new(init: PluginInit<ExecutorConfig>) -> Result<Self, BoxError> {
        let executor = match init.config.operations {
            Operations::Apollo => None,
            _ => Some(Arc::new(Executor::new(&init.config, &init.supergraph_sdl)?)),
        };
        Ok(Self { executor, instruments: Mutex::new(None) })
    }

    fn router_service(&self, service: router::BoxService) -> router::BoxService {
        *self.instruments.lock() = Some(metrics::observe());
        match &self.executor {
            Some(executor) => service::Front::new(Arc::clone(executor), service).boxed(),
            None => service,
        }
    }

    fn execution_service(&self, service: execution::BoxService) -> execution::BoxService {
        match &self.executor {
            Some(_) => service
                .map_request(|request: execution::Request| {
                    look_at(&request);
                    request
                })
                .boxed(),
            None => service,
        }
    }

    fn subgraph_service(&self, name: &str, service: subgraph::BoxService) -> subgraph::BoxService {
        match &self.executor {
            Some(_) => service::Replaying::new(name, service).boxed(),
            None => service,
        }
    }
}

register_plugin!("velvet", "executor", ExecutorPlugin);
