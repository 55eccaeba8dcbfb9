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
use std::time::Duration;

use apollo_router::Context;
use apollo_router::services::router;
use http::{HeaderMap, StatusCode, header};
use tower::{BoxError, ServiceExt as _};

use super::generation::Generation;
use super::plan::{Plan, Planned, Refused};
use super::protocol::Operation;
use super::registry::{REGISTRY, Seat};
use super::socket::Socket;
use crate::plugins::auth::{self, Viewer};
use crate::plugins::limits::{Audience, Who};
use crate::plugins::partners::KEY_HEADER;
use accept::Accepts;
use framing::Framing;

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

/// The same for a client that takes a stream.
async fn answer_within(
    generation: &Arc<Generation>,
    framing: &'static dyn Framing,
    accepts: &Accepts,
    pipeline: router::BoxCloneService,
    request: router::Request,
) -> Result<router::Response, BoxError> {
    if request.router_request.headers().contains_key(KEY_HEADER) {
        // A partner's streams come over the socket.
        return other(framing, accepts, pipeline, request).await;
    }
    let (request, operation) = operation::read(request).await?;
    let Some(operation) = operation else {
        return pipeline.oneshot(answer::as_json(request)).await;
    };
    let Some(query) = may_subscribe(generation, &operation) else {
        return other(framing, accepts, pipeline, request).await;
    };
    let viewer = match viewer(generation, request.router_request.headers()).await {
        Ok(viewer) => viewer,
        Err(error) => return auth::refusal(error, request),
    };
    let who = Who {
        caller: None,
        viewer: viewer.as_ref().map(|viewer| Arc::clone(&viewer.subject)),
        address: generation.address(request.router_request.headers()),
    };
    let passed = match generation.rate(&operation, &who).await {
        Ok(passed) => passed,
        Err(limited) => return limited.response(request.context),
    };
    let audience = if viewer.is_some() { Audience::User } else { Audience::Anonymous };
    if let Err(refused) = generation.check(&operation, audience) {
        return refuse(framing, &refused, request.context);
    }
    match generation.plan(query, operation.operation_name.clone()).await {
        Ok(Planned::Subscription(plan)) => {
            let operation = match generation.settle(None, operation) {
                Ok(operation) => operation,
                Err(refusal) => return refusal.response(request.context),
            };
            let asked = Asked { framing, viewer, plan, operation };
            let mut response = subscribe(generation, asked, request)?;
            passed.tell(response.response.headers_mut());
            Ok(response)
        }
        Ok(Planned::Other) => other(framing, accepts, pipeline, request).await,
        Err(refused) => refuse(framing, &refused, request.context),
    }
}

/// A subscription and who asks for it.
struct Asked {
    framing: &'static dyn Framing,
    viewer: Option<Viewer>,
    plan: Arc<Plan>,
    operation: Operation,
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

/// Who asks. Nobody in particular without a token; what nobody may do is for the subgraphs to say.
async fn viewer(generation: &Generation, headers: &HeaderMap) -> Result<Option<Viewer>, auth::Error> {
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let authorization = authorization.to_str().map_err(|_| auth::Error::Invalid)?;
    // Without the auth plugin no token can be good.
    let verifier = generation.verifier().ok_or(auth::Error::Invalid)?;
    verifier.check(authorization).await.map(Some)
}

fn subscribe(
    generation: &Arc<Generation>,
    asked: Asked,
    request: router::Request,
) -> Result<router::Response, BoxError> {
    let Asked { framing, viewer, plan, mut operation } = asked;
    let context = request.context;
    let client = &generation.config.client;
    let Some(admission) = REGISTRY.admit(client.sockets_max).filter(|_| generation.pipeline().is_some()) else {
        let refused = Refused::new("UNAVAILABLE", "no stream can be opened now");
        return answer::later(StatusCode::SERVICE_UNAVAILABLE, &refused, context);
    };
    let seat = match seat(viewer.as_ref(), client.sockets_per_viewer_max) {
        Ok(seat) => seat,
        Err(refused) => return answer::later(StatusCode::TOO_MANY_REQUESTS, &refused, context),
    };
    framing.resume(request.router_request.headers(), &mut operation);
    let socket = Socket::new(Arc::clone(generation), framing);
    let expires_in = viewer.as_ref().map(Viewer::lifetime);
    if let Some(viewer) = viewer {
        socket.admit(viewer);
    }
    if let Err(refused) = socket.open(plan, &operation) {
        return refuse(framing, &refused, context);
    }
    let body = serve::start(socket, framing, serve::Place { admission, seat }, expires_in);
    answer::stream(framing, body, context)
}

/// A viewer's streams and sockets are counted together.
fn seat(viewer: Option<&Viewer>, seats_max: usize) -> Result<Option<Seat>, Refused> {
    let Some(viewer) = viewer else { return Ok(None) };
    match REGISTRY.seat(&viewer.subject, seats_max) {
        Some(seat) => Ok(Some(seat)),
        None => Err(Refused::new("RATE_LIMITED", "too many streams and sockets of this user are open")),
    }
}

/// An operation that does not run.
fn refuse(framing: &'static dyn Framing, refused: &Refused, context: Context) -> Result<router::Response, BoxError> {
    let errors = refused.to_json();
    if framing.carries_queries() {
        return answer::stream(framing, bytes::Bytes::from(framing.error("", &errors)).into(), context);
    }
    answer::json(StatusCode::BAD_REQUEST, &errors, context)
}
