//! The responses.

use apollo_router::Context;
use apollo_router::services::router;
use axum::body::Body;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tower::BoxError;

use super::super::plan::Refused;
use super::RETRY_AFTER;
use super::framing::Framing;

/// Tells proxies that gather a response first to pass this one on as it comes.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The same request from a client that takes JSON.
pub(super) fn as_json(mut request: router::Request) -> router::Request {
    let json = HeaderValue::from_static("application/graphql-response+json, application/json");
    request.router_request.headers_mut().insert(header::ACCEPT, json);
    request
}

/// The pipeline's answer to a query or mutation, as one event and the end. An operation that was refused before it ran
/// is answered so as well, as graphql-sse wants it; a request that was refused is left as it is.
pub(super) async fn framed(
    framing: &'static dyn Framing,
    response: router::Response,
) -> Result<router::Response, BoxError> {
    if !matches!(response.response.status(), StatusCode::OK | StatusCode::BAD_REQUEST) {
        return Ok(response);
    }
    let (mut parts, body) = response.response.into_parts();
    let body = body.collect().await?.to_bytes();
    let text = std::str::from_utf8(&body)?.trim();
    let framed = format!("{}{}", framing.next("", text, None), framing.complete(""));
    parts.status = StatusCode::OK;
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut framed = http::Response::from_parts(parts, Body::from(framed));
    set_headers(&mut framed, framing);
    respond(framed, response.context)
}

/// A response in a protocol of streams.
pub(super) fn stream(framing: &dyn Framing, body: Body, context: Context) -> Result<router::Response, BoxError> {
    let mut response = http::Response::new(body);
    set_headers(&mut response, framing);
    respond(response, context)
}

/// Errors instead of a stream.
pub(super) fn json(status: StatusCode, errors: &str, context: Context) -> Result<router::Response, BoxError> {
    let mut response = http::Response::new(Body::from(format!(r#"{{"errors":{errors}}}"#)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    respond(response, context)
}

/// No room now.
pub(super) fn later(status: StatusCode, refused: &Refused, context: Context) -> Result<router::Response, BoxError> {
    let mut response = json(status, &refused.to_json(), context)?;
    let headers = response.response.headers_mut();
    headers.insert(header::RETRY_AFTER, RETRY_AFTER.as_secs().into());
    Ok(response)
}

fn set_headers(response: &mut http::Response<Body>, framing: &dyn Framing) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(framing.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

fn respond(response: http::Response<Body>, context: Context) -> Result<router::Response, BoxError> {
    let response = response.map(UnsyncBoxBody::new);
    router::Response::http_response_builder().context(context).response(response).build()
}
