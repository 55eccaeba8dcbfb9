//! `velvet.limits`: what an operation may hold and cost, before it is planned, and how many requests there may be at once.
//!
//! How often callers may ask is held against the same operations, see `rate`.
//!
//! Must come in the configuration after the plugins that find out who asks. The text is checked before the router parses
//! it; one that is named by its hash is checked when the router has found it.

mod cache;
mod config;
mod gate;
mod in_flight;
mod metrics;
mod rate;
mod request;

use std::sync::Arc;

use apollo_router::graphql;
use apollo_router::plugin::{Plugin, PluginInit};
use apollo_router::services::{router, supergraph};
use apollo_router::{Context, Extensions, register_plugin};
use http::{HeaderValue, StatusCode, header};
use serde_json_bytes::{Value, json};
use tower::{BoxError, ServiceExt as _, service_fn};
use velvet_edge::limits::{Code, Refusal};

pub use config::Audience;
use config::LimitsConfig;
use gate::Admitted;
pub use gate::{Asked, Gate, live};
use in_flight::Permit;
use rate::Call;
pub use rate::{Limited, Passed, Who};
pub use request::came_from;

use crate::plugins::executor::{self, Offered};
use crate::plugins::handover::Handover;
use crate::plugins::partners;

/// When a refused request may come again, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

struct Limits {
    gate: Arc<Gate>,
    requests_in_flight_max: usize,
}

/// What the two hooks know of one request.
struct Known(Arc<Admitted>);

/// The client wants to be told what its operation costs.
struct TellCost;

/// Who sent an operation by its hash: what it costs is counted when its text is found.
#[derive(Clone)]
struct Owing(Who);

/// What a response has cost.
struct Measured(u64);

/// What a request costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// By its operation.
    pub estimated: u64,
    /// By its response, once there is one that was measured.
    pub actual: Option<u64>,
}

/// What a request that was let through costs.
pub fn cost(context: &apollo_router::Context) -> Option<Cost> {
    context.extensions().with_lock(|known| {
        let estimated = known.get::<Known>()?.0.estimated;
        Some(Cost { estimated, actual: known.get::<Measured>().map(|measured| measured.0) })
    })
}

#[async_trait::async_trait]
impl Plugin for Limits {
    type Config = LimitsConfig;

    async fn new(init: PluginInit<LimitsConfig>) -> Result<Self, BoxError> {
        let requests_in_flight_max = init.config.requests_in_flight_max;
        Ok(Self { gate: Arc::new(Gate::new(&init.config, &init.supergraph_sdl)?), requests_in_flight_max })
    }

    fn router_service(&self, service: router::BoxService) -> router::BoxService {
        self.gate.go_live();
        let (gate, requests_max) = (Arc::clone(&self.gate), self.requests_in_flight_max);
        let inner = router::BoxCloneService::new(Handover::new(service));
        service_fn(move |request: router::Request| serve(Arc::clone(&gate), requests_max, inner.clone(), request))
            .boxed()
    }

    fn supergraph_service(&self, service: supergraph::BoxService) -> supergraph::BoxService {
        let gate = Arc::clone(&self.gate);
        let inner = Handover::new(service);
        service_fn(move |request: supergraph::Request| {
            let (gate, inner) = (Arc::clone(&gate), inner.clone());
            async move {
                match readmit(&gate, &request) {
                    Ok(None) => {}
                    Ok(Some(owed)) => {
                        if let Err(limited) = count_owed(&gate, &request.context, &owed).await {
                            return limited_in_graph(&limited, request);
                        }
                    }
                    Err(refusal) => return refused_in_graph(refusal, request),
                }
                Ok(measured(&gate, inner.oneshot(request).await?))
            }
        })
        .boxed()
    }
}

async fn serve(
    gate: Arc<Gate>,
    requests_max: usize,
    inner: router::BoxCloneService,
    request: router::Request,
) -> Result<router::Response, BoxError> {
    let context = request.context.clone();
    let who = request::who(&gate, &context, request.router_request.headers());
    let admitted = admit(&gate, &who, request).await?;
    let permit = match &admitted {
        Ok(_) => match in_flight::enter(requests_max) {
            None => {
                metrics::refused(Code::Overloaded);
                return refused(Refusal::new(Code::Overloaded), context);
            }
            permit => permit,
        },
        Err(_) => None,
    };
    // What a bound refuses counts as well.
    let passed = match count(&gate, &context, &who).await {
        Ok(passed) => passed,
        Err(limited) => return limited.response(context),
    };
    let mut response = match admitted {
        Ok(request) => held(inner.oneshot(request).await?, permit),
        Err(refusal) => refused(refusal, context)?,
    };
    passed.tell(response.response.headers_mut());
    Ok(response)
}

/// Counts a request and, as far as it is known, what it costs.
async fn count(gate: &Gate, context: &Context, who: &Who) -> Result<Passed, Limited> {
    if partners::is_only_planned(context) {
        return Ok(Passed::default());
    }
    let admitted = known(context);
    if admitted.is_none() {
        context.extensions().with_lock(|known| known.insert(Owing(who.clone())));
    }
    let id = partners::operation_id(context);
    gate.rates.admit(who, &Call { id: id.as_deref(), ..call(1, admitted.as_deref()) }).await
}

/// Counts what an operation costs that has been counted as a request.
async fn count_owed(gate: &Gate, context: &Context, admitted: &Admitted) -> Result<(), Limited> {
    match context.extensions().with_lock(Extensions::remove::<Owing>) {
        Some(Owing(who)) => gate.rates.admit(&who, &call(0, Some(admitted))).await.map(drop),
        None => Ok(()),
    }
}

fn call(requests: u64, admitted: Option<&Admitted>) -> Call<'_> {
    Call {
        requests,
        cost: admitted.map_or(0, |admitted| admitted.estimated),
        name: admitted.and_then(Admitted::name),
        text: admitted.map(|admitted| &*admitted.query),
        id: None,
    }
}

/// Checks a request before the router reads it.
async fn admit(gate: &Gate, who: &Who, request: router::Request) -> Result<Result<router::Request, Refusal>, BoxError> {
    let audience = who.audience();
    if let Some(offered) = executor::offered(&request.context)
        && request::fits(request.router_request.body(), gate.bounds(audience).body_bytes)
    {
        return Ok(admit_offered(gate, audience, &offered, request));
    }
    let context = request.context;
    let (parts, body) = request.router_request.into_parts();
    let refuse = |refusal: Refusal| {
        metrics::refused(refusal.code);
        Ok(Err(refusal))
    };
    let body = match request::read(body, gate.bounds(audience).body_bytes).await? {
        Ok(body) => body,
        Err(refusal) => return refuse(refusal),
    };
    let operation = match request::operation(&parts, &body) {
        Ok(operation) => operation.unwrap_or_default(),
        Err(refusal) => return refuse(refusal),
    };
    if let Some(query) = &operation.query {
        let variables = operation.variables.unwrap_or_default();
        let asked = Asked { query, operation_name: operation.operation_name.as_deref(), variables: &variables };
        match gate.admit(asked, audience) {
            Ok(Some(admitted)) => {
                context.extensions().with_lock(|known| known.insert(Known(Arc::new(admitted))));
            }
            Ok(None) => {}
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    if request::wants_cost(&parts.headers, &operation.extensions.unwrap_or_default()) {
        context.extensions().with_lock(|known| known.insert(TellCost));
    }
    let request = http::Request::from_parts(parts, router::body::from_bytes(body));
    Ok(Ok((request, context).into()))
}

/// Checks a request whose operation has been read already.
fn admit_offered(
    gate: &Gate,
    audience: Audience,
    offered: &Offered,
    request: router::Request,
) -> Result<router::Request, Refusal> {
    let operation_name = offered.operation_name.as_deref();
    let asked = Asked { query: &offered.text, operation_name, variables: &offered.variables };
    let admitted = gate.admit(asked, audience)?;
    let tells = request::wants_cost(request.router_request.headers(), &offered.extensions);
    request.context.extensions().with_lock(|known| {
        if let Some(admitted) = admitted {
            known.insert(Known(Arc::new(admitted)));
        }
        if tells {
            known.insert(TellCost);
        }
    });
    Ok(request)
}

/// Checks a request whose text the router had to find; nothing for any other.
fn readmit(gate: &Gate, request: &supergraph::Request) -> Result<Option<Arc<Admitted>>, Refusal> {
    let body = request.supergraph_request.body();
    let Some(query) = body.query.as_deref() else { return Ok(None) };
    let known = known(&request.context);
    if known.is_some_and(|admitted| *admitted.query == *query) {
        return Ok(None);
    }
    let asked = Asked { query, operation_name: body.operation_name.as_deref(), variables: &body.variables };
    let who = request::who(gate, &request.context, request.supergraph_request.headers());
    let Some(admitted) = gate.admit(asked, who.audience())?.map(Arc::new) else { return Ok(None) };
    request.context.extensions().with_lock(|known| known.insert(Known(Arc::clone(&admitted))));
    Ok(Some(admitted))
}

fn known(context: &Context) -> Option<Arc<Admitted>> {
    context.extensions().with_lock(|known| known.get::<Known>().map(|known| Arc::clone(&known.0)))
}

/// Measures a response, and tells the client if it wants to know. What comes later of a deferred one is not measured.
fn measured(gate: &Arc<Gate>, response: supergraph::Response) -> supergraph::Response {
    let Some(admitted) = known(&response.context) else { return response };
    let tell = response.context.extensions().with_lock(|known| known.contains_key::<TellCost>());
    let (gate, context) = (Arc::clone(gate), response.context.clone());
    response.map_stream(move |mut part: graphql::Response| {
        if part.path.is_none()
            && let Some(data) = &part.data
            && let Some(actual) = gate.measure(&admitted, data)
        {
            context.extensions().with_lock(|known| known.insert(Measured(actual)));
            if tell {
                part.extensions.insert("cost", told(admitted.estimated, actual));
            }
        }
        part
    })
}

/// Measures the `data` of a response that did not come from the graph's own service, unless it is known already what it
/// has cost. Gives what the client wants to be told.
pub fn measure(gate: &Gate, context: &Context, cost: Option<u64>, data: &[u8]) -> Option<Value> {
    let admitted = known(context)?;
    let actual = match cost {
        Some(cost) => gate.note(cost),
        None => gate.measure(&admitted, &serde_json::from_slice(data).ok()?)?,
    };
    context.extensions().with_lock(|known| {
        known.insert(Measured(actual));
        known.contains_key::<TellCost>().then(|| told(admitted.estimated, actual))
    })
}

fn told(estimated: u64, actual: u64) -> Value {
    json!({ "estimated": estimated, "actual": actual })
}

/// A request counts until the last byte of its response is handed over.
fn held(mut response: router::Response, permit: Option<Permit>) -> router::Response {
    if let Some(permit) = permit {
        response.response = response.response.map(|body| router::Body::new(permit.held_by(body)));
    }
    response
}

/// Not 413 for a long body: Apollo Router puts an answer of its own in the place of every 413.
fn status(code: Code) -> StatusCode {
    match code {
        Code::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn refused(refusal: Refusal, context: Context) -> Result<router::Response, BoxError> {
    let body = json!({ "errors": [refusal.to_graphql()] });
    let mut response = http::Response::builder()
        .status(status(refusal.code))
        .header(header::CONTENT_TYPE, "application/json")
        .body(router::body::from_bytes(serde_json::to_vec(&body)?))?;
    if refusal.code == Code::Overloaded {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    router::Response::http_response_builder().context(context).response(response).build()
}

fn refused_in_graph(refusal: Refusal, request: supergraph::Request) -> Result<supergraph::Response, BoxError> {
    let error: graphql::Error = serde_json_bytes::from_value(refusal.to_graphql())?;
    supergraph::Response::error_builder()
        .error(error)
        .status_code(status(refusal.code))
        .context(request.context)
        .build()
}

fn limited_in_graph(limited: &Limited, request: supergraph::Request) -> Result<supergraph::Response, BoxError> {
    let error: graphql::Error = serde_json_bytes::from_value(limited.to_graphql())?;
    let mut response = supergraph::Response::error_builder()
        .error(error)
        .status_code(StatusCode::TOO_MANY_REQUESTS)
        .context(request.context)
        .build()?;
    limited.tell(response.response.headers_mut());
    Ok(response)
}

register_plugin!("velvet", "limits", Limits);
