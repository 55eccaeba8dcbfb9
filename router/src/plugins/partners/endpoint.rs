//! The plugin's own addresses: `GET <path>/<id>` calls an operation, `POST <path>` publishes some.

use std::sync::Arc;
use std::time::Duration;

use apollo_router::services::router;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;
use tower::{BoxError, ServiceExt as _, service_fn};
use velvet_edge::manifest::MANIFEST_BYTES_MAX;

use super::caller::KEY_HEADER;
use super::refusal::{Refusal, answer};
use super::request::address_of;
use super::serve::CameTo;
use super::{Gate, mark, publish};
use crate::plugins::{drain, subscriptions};

/// The pipeline looks at the query, not at the path; this one stands in its logs.
const PIPELINE_PATH: &str = "/graphql";

pub(super) fn call(gate: Arc<Gate>) -> router::BoxService {
    let service = service_fn(move |request: router::Request| {
        let gate = Arc::clone(&gate);
        async move {
            if request.router_request.method() != Method::GET {
                return not_allowed(request, "GET");
            }
            let context = request.context.clone();
            let limit = Duration::from_millis(gate.config.request_timeout_ms);
            match tokio::time::timeout(limit, run(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(refusal)) => refusal.response(context),
                Err(_) => Refusal::Unavailable.response(context),
            }
        }
    });
    drain::parting(service.boxed())
}

/// Sends a call by address through the whole pipeline, `auth` included.
async fn run(request: router::Request) -> Result<Result<router::Response, BoxError>, Refusal> {
    let router::Request { router_request, context, .. } = request;
    let (mut parts, _) = router_request.into_parts();
    let id = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let address = address_of(PIPELINE_PATH, id, parts.uri.query().unwrap_or_default())?;
    let came_to = parts.uri.path_and_query().map_or("/", |address| address.as_str());
    mark(&context, CameTo(came_to.into()));
    parts.uri = address.parse().map_err(|_| Refusal::Request)?;
    // What a page can send unasked has no key, and opens no stream here.
    let may_stream = parts.headers.contains_key(KEY_HEADER);
    let request = (http::Request::from_parts(parts, router::body::from_bytes("")), context).into();
    if may_stream {
        return subscriptions::answer(request).await.ok_or(Refusal::Unavailable);
    }
    let pipeline = subscriptions::pipeline().ok_or(Refusal::Unavailable)?;
    Ok(pipeline.oneshot(request).await)
}

pub(super) fn publish(gate: Arc<Gate>) -> router::BoxService {
    let service = service_fn(move |request: router::Request| {
        let gate = Arc::clone(&gate);
        async move {
            if request.router_request.method() != Method::POST {
                return not_allowed(request, "POST");
            }
            let router::Request { router_request, context, .. } = request;
            let (parts, body) = router_request.into_parts();
            let limit = Duration::from_millis(gate.config.request_timeout_ms);
            let Ok(body) = tokio::time::timeout(limit, Limited::new(body, MANIFEST_BYTES_MAX).collect()).await else {
                return Refusal::Unavailable.response(context);
            };
            let Ok(body) = body else {
                let error = json!({ "message": "the manifest is too large", "extensions": { "code": "BAD_REQUEST" } });
                return answer(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "errors": [error] }), context);
            };
            match publish::publish(&gate, &parts, &body.to_bytes()).await {
                Ok((status, report)) => answer(status, &report, context),
                Err(publish::Refused::Caller(refusal)) => refusal.response(context),
                Err(publish::Refused::Request(message)) => {
                    let error = json!({ "message": message, "extensions": { "code": "BAD_REQUEST" } });
                    answer(StatusCode::BAD_REQUEST, &json!({ "errors": [error] }), context)
                }
            }
        }
    });
    drain::parting(service.boxed())
}

fn not_allowed(request: router::Request, allowed: &'static str) -> Result<router::Response, BoxError> {
    let error = json!({ "message": "not by this method", "extensions": { "code": "METHOD_NOT_ALLOWED" } });
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "errors": [error] }), request.context)?;
    response.response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    Ok(response)
}
