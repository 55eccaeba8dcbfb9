//! The socket's address on the router's own port.

use std::sync::Arc;

use apollo_router::services::router;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use tower::{BoxError, ServiceExt as _, service_fn};

use super::generation::Generation;
use super::protocol::SUBPROTOCOL;
use super::registry::REGISTRY;
use super::request::FORWARDED_FOR;
use super::session::{self, Origin};

/// What a socket's writes are gathered in before they go out; it is given back only with the socket.
const WRITE_BUFFER_BYTES: usize = 1024;

pub(super) fn service(generation: Arc<Generation>) -> router::BoxService {
    service_fn(move |request: router::Request| answer(Arc::clone(&generation), request)).boxed()
}

async fn answer(generation: Arc<Generation>, request: router::Request) -> Result<router::Response, BoxError> {
    let (mut parts, _) = request.router_request.into_parts();
    // The ingress's own is the last.
    let forwarded_for = parts.headers.get_all(FORWARDED_FOR).iter().next_back().cloned();
    let response = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => {
            let origin = Origin { address: generation.address(&parts.headers), forwarded_for };
            accept(generation, upgrade, origin)
        }
        Err(rejection) => rejection.into_response(),
    };
    router::Response::http_response_builder()
        .context(request.context)
        .response(response.map(UnsyncBoxBody::new))
        .build()
}

fn accept(generation: Arc<Generation>, upgrade: WebSocketUpgrade, origin: Origin) -> Response {
    let client = &generation.config.client;
    let admission = match REGISTRY.admit(client.sockets_max) {
        Some(admission) if generation.pipeline().is_some() => admission,
        _ => return unavailable(),
    };
    upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(client.read_buffer_bytes)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(client.message_bytes_max)
        .max_frame_size(client.message_bytes_max)
        .on_upgrade(move |websocket| session::run(websocket, generation, admission, origin))
}

fn unavailable() -> Response {
    let body = r#"{"errors":[{"message":"no socket can be opened now","extensions":{"code":"UNAVAILABLE"}}]}"#;
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    // The connection may belong to a pipeline that is about to go.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
