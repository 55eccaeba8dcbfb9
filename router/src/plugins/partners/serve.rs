//! The plugin's place in the pipeline: from what a caller sends to what is run for it.

use std::sync::Arc;
use std::time::Instant;

use apollo_compiler::ast::OperationType;
use apollo_router::services::router;
use apollo_router::{Context, Extensions};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use tower::{BoxError, ServiceExt as _};
use velvet_edge::signature::Signed;

use super::caller::{Caller, KEY_HEADER, Proof};
use super::config::Mode;
use super::refusal::Refusal;
use super::request::{Asked, Meant, may_name_an_id};
use super::resolve::Resolved;
use super::usage::Call;
use super::{Gate, cached, mark, marked};
use crate::plugins::executor;

/// The operation of a request is settled already: what is in it is to be run.
#[derive(Clone)]
struct Settled;

/// The address that a request came to, before it was rewritten for the pipeline.
#[derive(Clone)]
pub(super) struct CameTo(pub(super) Arc<str>);

/// The id that a registered operation was called by.
#[derive(Clone)]
struct OperationId(Option<Arc<str>>);

/// The id that a request's registered operation was called by; nothing for one that was sent as a text.
pub fn operation_id(context: &Context) -> Option<Arc<str>> {
    marked::<OperationId>(context)?.0
}

fn called_by(context: &Context, id: Option<&str>) {
    mark(context, OperationId(id.map(Into::into)));
}

/// Says that a request's operation has been resolved, for whom, and by which id it was called; for requests that other
/// plugins make.
pub fn settle(context: &Context, caller: Option<&Arc<Caller>>, id: Option<&str>) {
    mark(context, Settled);
    called_by(context, id);
    if let Some(caller) = caller {
        mark(context, Arc::clone(caller));
    }
}

/// Says which call a request is, for requests that other plugins make: it is counted when it is answered.
pub fn begun(context: &Context, call: Call) {
    mark(context, call);
}

/// The call that a request is and that is not counted yet; whoever takes it counts it.
pub fn taken(context: &Context) -> Option<Call> {
    context.extensions().with_lock(Extensions::remove::<Call>)
}

/// The caller's key has been checked already, and taken out.
#[derive(Clone)]
struct Admitted(Arc<Caller>);

/// A request for the rest of the pipeline.
struct Prepared {
    request: http::Request<router::Body>,
    /// Set when the answer may be kept by the caller: it then gets a tag to ask with again.
    kept: Option<cached::Kept>,
}

pub(super) async fn serve(
    gate: Arc<Gate>,
    request: router::Request,
    inner: router::BoxCloneService,
) -> Result<router::Response, BoxError> {
    let router::Request { router_request, context, .. } = request;
    if marked::<Settled>(&context).is_some() {
        let call = taken(&context);
        return counted(call, inner.oneshot((router_request, context).into()).await?).await;
    }
    let (parts, body) = router_request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut call = None;
    let response = match prepare(&gate, parts, body, &context, &mut call).await? {
        Err(refusal) => refusal.response(context)?,
        Ok(Prepared { request, kept }) => {
            let response = inner.oneshot((request, context).into()).await?;
            match kept {
                Some(kept) => cached::tagged(response, &kept).await?,
                None => response,
            }
        }
    };
    counted(call, response).await
}

/// An answer whose call is counted, if it was one with a key.
async fn counted(call: Option<Call>, response: router::Response) -> Result<router::Response, BoxError> {
    if let Some(call) = call {
        call.answered_by(&response).await;
    }
    Ok(response)
}

async fn prepare(
    gate: &Gate,
    mut parts: Parts,
    body: Bytes,
    context: &Context,
    call: &mut Option<Call>,
) -> Result<Result<Prepared, Refusal>, BoxError> {
    let came = Instant::now();
    let caller = match admit(gate, &mut parts, &body, context).await {
        Ok(caller) => caller,
        Err(refusal) => return Ok(Err(refusal)),
    };
    *call = caller.as_ref().map(|caller| gate.begin(caller, came));
    match resolve(gate, caller.as_deref(), &parts, &body, call.as_mut()) {
        Err(refusal) => Ok(Err(refusal)),
        Ok(None) => {
            Ok(Ok(Prepared { request: http::Request::from_parts(parts, router::body::from_bytes(body)), kept: None }))
        }
        Ok(Some((asked, text, kind))) => {
            called_by(context, asked.meant().ok().and_then(Meant::id));
            let by_get = parts.method == Method::GET;
            if by_get && kind != OperationType::Query {
                return Ok(Err(Refusal::Method));
            }
            if let Some(caller) = caller
                && let Err(refusal) = authorize(gate, caller, &mut parts, context).await
            {
                return Ok(Err(refusal));
            }
            let kept = by_get.then(|| cached::Kept::take(&mut parts.headers, gate.graph.caching(&text)));
            executor::offer(context, asked.offered(&text));
            Ok(Ok(Prepared { request: asked.into_request(&text, parts)?, kept }))
        }
    }
}

/// Who calls, if a key was sent. It goes no further, and is checked once.
pub async fn admit(
    gate: &Gate,
    parts: &mut Parts,
    body: &[u8],
    context: &Context,
) -> Result<Option<Arc<Caller>>, Refusal> {
    if let Some(Admitted(caller)) = marked(context) {
        return Ok(Some(caller));
    }
    let mut keys = parts.headers.get_all(KEY_HEADER).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(None),
        (Some(key), None) => key.to_str().map_err(|_| Refusal::Key)?.to_owned(),
        (Some(_), Some(_)) => return Err(Refusal::Key),
    };
    parts.headers.remove(KEY_HEADER);
    let came_to = marked::<CameTo>(context);
    let path_and_query = match &came_to {
        Some(CameTo(address)) => &**address,
        None => parts.uri.path_and_query().map_or("/", |address| address.as_str()),
    };
    let signed = Signed { method: parts.method.as_str(), path_and_query, body };
    let proof = Proof::from_headers(&parts.headers);
    let caller = Arc::new(gate.admit(&key, &proof, signed).await?);
    mark(context, Admitted(Arc::clone(&caller)));
    Ok(Some(caller))
}

/// The registered operation that is meant, with the request that names it. Nothing when it is to be run as it was sent.
fn resolve(
    gate: &Gate,
    caller: Option<&Caller>,
    parts: &Parts,
    body: &[u8],
    call: Option<&mut Call>,
) -> Result<Option<(Asked, Arc<str>, OperationType)>, Refusal> {
    let mode = gate.first_party.mode;
    if caller.is_none() && mode == Mode::Open && !may_name_an_id(parts, body) {
        return Ok(None);
    }
    let asked = match Asked::read(parts, body) {
        // Nothing that is registered; what is wrong with it is for the router to say.
        Err(_) if caller.is_none() && mode != Mode::Required => return Ok(None),
        asked => asked?,
    };
    let meant = asked.meant()?;
    if let Some(call) = call {
        call.means(meant);
    }
    match gate.resolve(caller, meant)? {
        Resolved::AsSent => Ok(None),
        Resolved::Registered { text, kind } => Ok(Some((asked, text, kind))),
    }
}

/// Puts the partner's own token in, unless the caller brought a user's, which has been checked before.
async fn authorize(gate: &Gate, caller: Arc<Caller>, parts: &mut Parts, context: &Context) -> Result<(), Refusal> {
    if !parts.headers.contains_key(header::AUTHORIZATION) {
        let authorization = gate.authorization(&caller).await?;
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| Refusal::Unavailable)?;
        value.set_sensitive(true);
        parts.headers.insert(header::AUTHORIZATION, value);
    }
    mark(context, caller);
    Ok(())
}
