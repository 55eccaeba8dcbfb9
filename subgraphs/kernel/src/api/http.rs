//! The routes of a subgraph.

use super::{
    Serve,
    socket::{self, Patience},
};
use crate::{fault::Fault, graph::annotations, identity::Caller, live::Streams, telemetry};
use async_graphql::{Data, Executor, ObjectType, Request, Response, SDLExportOptions, Schema, SubscriptionType};
use async_graphql_axum::{GraphQLRequest, GraphQLResponse};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State, WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response as HttpResponse},
    routing::{get, post},
};
use futures::StreamExt as _;
use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::PrometheusHandle;
use std::{sync::Arc, time::Duration};
use tracing::Instrument as _;

/// The router pings its upstream sockets; one that says nothing for this long is gone.
const PATIENCE: Patience = Patience { init: Duration::from_secs(10), silence: Duration::from_mins(1) };
/// A request whose parts all have their own bounds should never come near this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Small buffers: an idle socket should cost little.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024;

/// Puts what lives for one request, such as its loaders, beside it.
pub type Decorate = Arc<dyn Fn(Request) -> Request + Send + Sync>;

/// A domain's schema on its way to be served.
pub struct Subgraph<Q, M, S> {
    /// The domain's name.
    pub name: &'static str,
    /// Its schema.
    pub schema: Schema<Q, M, S>,
    /// What each request gets.
    pub decorate: Decorate,
}

/// A subgraph that is ready to be served.
pub struct Api {
    /// The domain's name.
    pub name: &'static str,
    /// Its routes.
    pub routes: Router,
}

impl<Q, M, S> Subgraph<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    /// The schema in the language that composition reads.
    pub fn sdl(&self) -> String {
        let options = SDLExportOptions::new().federation().sorted_fields().sorted_arguments().sorted_enum_items();
        let mut sdl = self.schema.sdl_with_options(options);
        annotations::link(&mut sdl);
        sdl
    }

    /// Its routes: `/<name>/graphql` and `/<name>/ws`.
    pub fn serve(self, serve: &Serve) -> Api {
        let executor = Decorated { schema: self.schema, decorate: self.decorate };
        let state = Endpoint {
            name: self.name,
            executor: Streams { inner: executor, verifier: Arc::clone(&serve.verifier) },
            serve: serve.clone(),
            meters: Meters::of(self.name),
        };
        let routes = Router::new()
            .route(&format!("/{}/graphql", self.name), post(execute::<Q, M, S>))
            .route(&format!("/{}/ws", self.name), get(upgrade::<Q, M, S>))
            .layer(DefaultBodyLimit::max(serve.config.api.body_size_max_bytes))
            .with_state(Arc::new(state));
        Api { name: self.name, routes }
    }
}

/// A schema that gives each request its loaders.
struct Decorated<Q, M, S> {
    schema: Schema<Q, M, S>,
    decorate: Decorate,
}

impl<Q, M, S> Clone for Decorated<Q, M, S> {
    fn clone(&self) -> Self {
        Self { schema: self.schema.clone(), decorate: Arc::clone(&self.decorate) }
    }
}

impl<Q, M, S> Executor for Decorated<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    async fn execute(&self, request: Request) -> Response {
        self.schema.execute((self.decorate)(request)).await
    }

    fn execute_stream(
        &self,
        request: Request,
        session: Option<Arc<Data>>,
    ) -> futures::stream::BoxStream<'static, Response> {
        let request = (self.decorate)(request);
        self.schema.execute_stream_with_session_data(request, session.unwrap_or_default())
    }
}

/// Where a request comes from, as far as it is known: what limits per address count by.
///
/// It is the last hop of `x-forwarded-for`, which the ingress in front of the router adds and the router hands on; what
/// a client wrote there itself stands before it and is not read. Without an ingress there is none to trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAddress(pub Option<String>);

/// No address in text is longer.
const ADDRESS_LENGTH_MAX: usize = 64;

impl ClientAddress {
    fn of(headers: &HeaderMap) -> Self {
        let hops = headers.get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
        let last = hops.and_then(|hops| hops.rsplit(',').next()).map(str::trim);
        Self(last.filter(|hop| !hop.is_empty() && hop.len() <= ADDRESS_LENGTH_MAX).map(str::to_owned))
    }
}

/// A request that is being answered, for as long as it is.
struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn begin(count: &'a Gauge) -> Self {
        count.increment(1);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// What is counted of each request of a subgraph; looked up once, as a name and a label cost more than the count.
struct Meters {
    in_flight: Gauge,
    seconds: Histogram,
    errors: Counter,
}

impl Meters {
    fn of(subgraph: &'static str) -> Self {
        Self {
            in_flight: metrics::gauge!("velvet_requests_in_flight", "subgraph" => subgraph),
            seconds: metrics::histogram!("velvet_request_seconds", "subgraph" => subgraph),
            errors: metrics::counter!("velvet_request_errors_total", "subgraph" => subgraph),
        }
    }
}

struct Endpoint<Q, M, S> {
    name: &'static str,
    executor: Streams<Decorated<Q, M, S>>,
    serve: Serve,
    meters: Meters,
}

impl<Q, M, S> Endpoint<Q, M, S> {
    async fn caller(&self, authorization: Option<&str>) -> Caller {
        let caller = self.serve.verifier.caller(authorization).await;
        if let (Caller::Viewer(viewer), Some(activity)) = (&caller, &self.serve.activity) {
            activity.seen(viewer.id);
        }
        caller
    }
}

async fn execute<Q, M, S>(
    State(endpoint): State<Arc<Endpoint<Q, M, S>>>,
    headers: HeaderMap,
    request: GraphQLRequest,
) -> GraphQLResponse
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    let _in_flight = InFlight::begin(&endpoint.meters.in_flight);
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let caller = endpoint.caller(text(AUTHORIZATION.as_str())).await;
    if caller == Caller::Refused {
        return refused(Fault::unauthenticated()).into();
    }
    let span = tracing::info_span!("subgraph.request", subgraph = endpoint.name);
    telemetry::follow(&span, text("traceparent"));
    let started = std::time::Instant::now();
    let work =
        endpoint.executor.execute(request.into_inner().data(caller).data(ClientAddress::of(&headers))).instrument(span);
    let response = tokio::time::timeout(REQUEST_TIMEOUT, work).await.unwrap_or_else(|_| refused(Fault::unavailable()));
    endpoint.meters.seconds.record(started.elapsed().as_secs_f64());
    if response.is_err() {
        endpoint.meters.errors.increment(1);
    }
    response.into()
}

fn refused(fault: Fault) -> Response {
    let error = async_graphql::Error::from(fault).into_server_error(async_graphql::Pos::default());
    Response::from_errors(vec![error])
}

async fn upgrade<Q, M, S>(
    State(endpoint): State<Arc<Endpoint<Q, M, S>>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> HttpResponse
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    let from_header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let address = ClientAddress::of(&headers);
    let size_max = endpoint.serve.config.api.body_size_max_bytes;
    let upgrade = upgrade.protocols([socket::PROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return (StatusCode::BAD_REQUEST, format!("this socket speaks {}", socket::PROTOCOL)).into_response();
    }
    upgrade
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        .write_buffer_size(SOCKET_BUFFER_BYTES)
        .max_message_size(size_max)
        .max_frame_size(size_max)
        .on_upgrade(move |upgraded| {
            let executor = endpoint.executor.clone();
            let begin = move |payload| session(endpoint, from_header, address, payload);
            socket::serve(upgraded.split(), executor, PATIENCE, begin)
        })
}

/// Other routers give the token once, when a socket opens.
async fn session<Q, M, S>(
    endpoint: Arc<Endpoint<Q, M, S>>,
    from_header: Option<String>,
    address: ClientAddress,
    payload: serde_json::Value,
) -> async_graphql::Result<Data> {
    let from_payload = ["authorization", "Authorization"]
        .iter()
        .find_map(|name| payload.get(name).and_then(serde_json::Value::as_str));
    let caller = endpoint.caller(from_payload.or(from_header.as_deref())).await;
    if caller == Caller::Refused {
        return Err(Fault::unauthenticated().into());
    }
    let mut data = Data::default();
    data.insert(caller);
    data.insert(address);
    Ok(data)
}

/// `/health` (the process lives), `/ready` (it can work) and `/metrics`.
pub fn health_routes<F, R>(metrics: PrometheusHandle, ready: F) -> Router
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<(), String>> + Send + 'static,
{
    Router::new()
        .route("/health", get(|| async { Json(serde_json::json!({ "status": "up" })) }))
        .route(
            "/ready",
            get(move || {
                let ready = ready.clone();
                async move {
                    match ready().await {
                        Ok(()) => Json(serde_json::json!({ "status": "ready" })).into_response(),
                        Err(reason) => {
                            let body = Json(serde_json::json!({ "status": "waiting", "reason": reason }));
                            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
                        }
                    }
                }
            }),
        )
        .route("/metrics", get(move || async move { metrics.render() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(hops: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for hop in hops {
            headers.append("x-forwarded-for", axum::http::HeaderValue::from_static(hop));
        }
        ClientAddress::of(&headers).0
    }

    #[test]
    fn a_request_comes_from_where_the_ingress_says() {
        assert_eq!(address(&["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(address(&["forged, 198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(address(&["forged", "forged, 2001:db8::7 "]).as_deref(), Some("2001:db8::7"));
        assert_eq!((address(&[]), address(&[""]), address(&["a, "])), (None, None, None));
    }
}
