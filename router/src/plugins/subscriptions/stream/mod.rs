//! Subscriptions as HTTP responses that do not end, on the graph's own path: graphql-sse in its "distinct connections
//! mode", with which queries and mutations come too, and Apollo's multipart protocol.
//!
//! What is not a subscription, and every request that asks for neither, goes down the router's pipeline as it came; only
//! the type and status of its answer are brought in line with GraphQL over HTTP.

mod accept;
mod answer;
mod event_stream;
mod framing;
mod multipart;
mod negotiate;
mod operation;
mod serve;

use std::sync::Arc;
use std::time::{Duration, Instant};

use apollo_router::Context;
use apollo_router::services::router;
use http::{HeaderMap, StatusCode, header};
use tower::{BoxError, ServiceExt as _};

use super::authority::{self, Authority};
use super::generation::{Generation, Settled};
use super::plan::{Plan, Planned, Refused};
use super::protocol::Operation;
use super::registry::REGISTRY;
use super::seats::Seats;
use super::socket::{NotOpened, Socket};
use crate::plugins::auth;
use crate::plugins::limits::{Audience, Who};
use crate::plugins::partners::{self, Call, Caller, KEY_HEADER, Outcome, Refusal};
use accept::Accepts;
use framing::Framing;
use operation::Received;

/// How long a client that found no room should stay away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Answers a request for the graph, on its way into the pipeline.
pub(super) async fn answer(
    generation: Arc<Generation>,
    pipeline: router::BoxCloneService,
    request: router::Request,
) -> Result<router::Response, BoxError> {
    let accepts = Accepts::read(request.router_request.headers());
    match accepts.framing {
        Some(framing) => answer_within(&generation, framing, &accepts, pipeline, request).await,
        None => negotiate::conform(&accepts, pipeline.oneshot(request).await?).await,
    }
}

/// The same for a client that takes a stream. A partner's call that is refused here is counted here.
async fn answer_within(
    generation: &Arc<Generation>,
    framing: &'static dyn Framing,
    accepts: &Accepts,
    pipeline: router::BoxCloneService,
    request: router::Request,
) -> Result<router::Response, BoxError> {
    let mut call = None;
    let response = run_or_follow(generation, framing, accepts, pipeline, request, &mut call).await?;
    if let Some(call) = call {
        let limited = response.response.status() == StatusCode::TOO_MANY_REQUESTS;
        call.answered(if limited { Outcome::RateLimited } else { Outcome::Refused }, None).await;
    }
    Ok(response)
}

/// Leaves the call that an operation is when nothing else has counted it.
async fn run_or_follow(
    generation: &Arc<Generation>,
    framing: &'static dyn Framing,
    accepts: &Accepts,
    pipeline: router::BoxCloneService,
    request: router::Request,
    call: &mut Option<Call>,
) -> Result<router::Response, BoxError> {
    let came = Instant::now();
    let mut received = Received::read(request).await?;
    let Some(operation) = received.operation() else {
        return pipeline.oneshot(answer::as_json(received.into_request())).await;
    };
    let by_key = received.parts.headers.contains_key(KEY_HEADER);
    if !by_key && operation.query.is_some() && may_subscribe(generation, &operation).is_none() {
        return other(framing, accepts, pipeline, received.into_request()).await;
    }
    let caller = match caller(generation, &mut received).await {
        Ok(caller) => caller,
        Err(error) => return unauthorized(error, received),
    };
    *call = caller.as_ref().and_then(|caller| generation.call(caller, &operation, came));
    let settled = match generation.settle(caller.as_deref(), operation) {
        Ok(settled) => settled,
        Err(refusal) => return refusal.response(received.context),
    };
    let Some(query) = may_subscribe(generation, &settled.operation) else {
        forget(call);
        return other(framing, accepts, pipeline, received.into_request()).await;
    };
    let audience = match (&caller, received.parts.headers.contains_key(header::AUTHORIZATION)) {
        (Some(_), _) => Audience::Partner,
        (None, true) => Audience::User,
        (None, false) => Audience::Anonymous,
    };
    let authorization = authorization(&received.parts.headers);
    let authority = match Authority::of(generation, authorization, caller).await {
        Ok(authority) => authority,
        Err(error) => return unauthorized(error, received),
    };
    let who = Who {
        caller: authority.caller.clone(),
        viewer: authority.viewer.as_ref().map(|viewer| Arc::clone(&viewer.subject)),
        address: generation.address(&received.parts.headers),
    };
    let passed = match generation.rate(&settled.operation, &who).await {
        Ok(passed) => passed,
        Err(limited) => return limited.response(received.context),
    };
    if let Err(refused) = generation.check(&settled.operation, audience) {
        return refuse(framing, &refused, received.context);
    }
    match generation.plan(query, settled.operation.operation_name.clone()).await {
        Ok(Planned::Subscription(plan)) => {
            let asked = Asked { framing, authority, plan, settled };
            let mut response = subscribe(generation, asked, received, call)?;
            passed.tell(response.response.headers_mut());
            Ok(response)
        }
        Ok(Planned::Other) => {
            forget(call);
            other(framing, accepts, pipeline, received.into_request()).await
        }
        Err(refused) => refuse(framing, &refused, received.context),
    }
}

/// It is counted elsewhere.
fn forget(call: &mut Option<Call>) {
    if let Some(call) = call.take() {
        call.forget();
    }
}

/// A subscription and who asks for it.
struct Asked {
    framing: &'static dyn Framing,
    authority: Authority,
    plan: Arc<Plan>,
    settled: Settled,
}

/// Checks who asks: a user's token, then a key. Nobody in particular without either; what nobody may do is for the
/// subgraphs to say.
async fn caller(generation: &Generation, received: &mut Received) -> Result<Option<Arc<Caller>>, authority::Error> {
    if received.parts.headers.contains_key(header::AUTHORIZATION) {
        let authorization = authorization(&received.parts.headers);
        authority::check(generation, authorization.unwrap_or_default()).await?;
    }
    if !received.parts.headers.contains_key(KEY_HEADER) {
        return Ok(None);
    }
    // Without the partners plugin no key can be good.
    let gate = generation.gate().ok_or(authority::Error::Key(Refusal::Key))?;
    let Received { parts, body, context } = received;
    partners::admit(&gate, parts, body, context).await.map_err(authority::Error::Key)
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok())
}

fn unauthorized(error: authority::Error, received: Received) -> Result<router::Response, BoxError> {
    match error {
        authority::Error::Key(refusal) => refusal.response(received.context),
        authority::Error::Token(error) => auth::refusal(error, received.into_request()),
        authority::Error::Stranger => auth::refusal(auth::Error::Invalid, received.into_request()),
    }
}

/// The text of an operation that is a subscription, or has to be read for that.
fn may_subscribe(generation: &Generation, operation: &Operation) -> Option<String> {
    let query = operation.query.as_deref()?;
    match generation.planner.known(query, operation.operation_name.as_deref()) {
        Some(Planned::Other) => None,
        _ => Some(query.to_owned()),
    }
}

/// A query or a mutation: one event and the end where the client takes nothing else.
async fn other(
    framing: &'static dyn Framing,
    accepts: &Accepts,
    pipeline: router::BoxCloneService,
    request: router::Request,
) -> Result<router::Response, BoxError> {
    if framing.carries_queries() && accepts.json.is_none() {
        return answer::framed(framing, pipeline.oneshot(answer::as_json(request)).await?).await;
    }
    negotiate::conform(accepts, pipeline.oneshot(request).await?).await
}

fn subscribe(
    generation: &Arc<Generation>,
    asked: Asked,
    received: Received,
    call: &mut Option<Call>,
) -> Result<router::Response, BoxError> {
    let Asked { framing, authority, plan, mut settled } = asked;
    let context = received.context;
    let client = &generation.config.client;
    let Some(admission) = REGISTRY.admit(client.sockets_max).filter(|_| generation.pipeline().is_some()) else {
        let refused = Refused::new("UNAVAILABLE", "no stream can be opened now");
        return answer::later(StatusCode::SERVICE_UNAVAILABLE, &refused, context);
    };
    let Some(seats) = Seats::take(authority.holders(), client) else {
        let refused = Refused::new("RATE_LIMITED", "too many streams and sockets of this user or key are open");
        return answer::later(StatusCode::TOO_MANY_REQUESTS, &refused, context);
    };
    framing.resume(&received.parts.headers, &mut settled.operation);
    let socket = Socket::new(Arc::clone(generation), framing);
    let expires_in = authority.lifetime();
    socket.admit(authority, &seats);
    match socket.open(plan, settled, call) {
        Ok(()) => {}
        Err(NotOpened::Full(refused)) => return answer::later(StatusCode::TOO_MANY_REQUESTS, &refused, context),
        Err(NotOpened::Refused(refused)) => return refuse(framing, &refused, context),
    }
    let body = serve::start(socket, framing, serve::Place { admission, seats }, expires_in);
    answer::stream(framing, body, context)
}

/// An operation that does not run.
fn refuse(framing: &'static dyn Framing, refused: &Refused, context: Context) -> Result<router::Response, BoxError> {
    let errors = refused.to_json();
    if framing.carries_queries() {
        return answer::stream(framing, bytes::Bytes::from(framing.error("", &errors)).into(), context);
    }
    answer::json(StatusCode::BAD_REQUEST, &errors, context)
}
