//! Queries and mutations over the socket: through the router's own pipeline, in process, as if they had come by HTTP.

use std::sync::Arc;

use apollo_router::Context;
use apollo_router::services::router;
use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use tower::{BoxError, ServiceExt as _};

use super::config::millis;
use super::protocol::{Operation, failure};
use super::socket::Socket;
use super::transport::Transport;
use crate::plugins::executor::{self, Offered};
use crate::plugins::partners::{Call, Outcome};
use crate::plugins::{limits, partners};

/// The pipeline looks at the body, not at the address; this one stands in its logs.
const URI: &str = "http://socket.invalid/graphql";

/// The header of W3C Trace Context; on a socket it comes as an extension of the operation.
const TRACE_PARENT: &str = "traceparent";
/// Where a request comes from, as the ingress says.
pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
}

/// Runs an operation and returns the messages that answer it, once the call that it is has been counted.
pub(super) async fn run(socket: &Socket, id: &str, operation: &Operation, call: Option<Call>) -> Vec<Utf8Bytes> {
    let transport = socket.transport;
    let limit = millis(socket.generation.config.execution.request_timeout_ms);
    match tokio::time::timeout(limit, ask(socket, operation, call)).await {
        Ok(Ok(body)) => answer(transport, id, &body),
        Ok(Err(problem)) => {
            tracing::warn!(error = %problem, "an operation over the socket failed");
            vec![transport.error(id, &failure("INTERNAL", "the operation failed"))]
        }
        Err(_) => vec![transport.error(id, &failure("UNAVAILABLE", "the operation took too long"))],
    }
}

async fn ask(socket: &Socket, operation: &Operation, call: Option<Call>) -> Result<Bytes, BoxError> {
    let pipeline = socket.generation.pipeline().ok_or("the generation has been retired")?;
    let body = serde_json::json!({
        "query": operation.query,
        "operationName": operation.operation_name,
        "variables": operation.variables,
        "extensions": operation.extensions,
    });
    let mut request = http::Request::builder()
        .method(Method::POST)
        .uri(URI)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(router::body::from_bytes(serde_json::to_vec(&body)?))?;
    if let Some(authorization) = socket.authorization() {
        let mut value = HeaderValue::from_str(&authorization)?;
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    if let Some(parent) = operation.extensions.as_ref().and_then(|extensions| extensions.get(TRACE_PARENT)?.as_str()) {
        request.headers_mut().insert(TRACE_PARENT, HeaderValue::from_str(parent)?);
    }
    if let Some(address) = &socket.forwarded_for {
        request.headers_mut().insert(FORWARDED_FOR, address.clone());
    }
    let context = Context::new();
    // What stands in the request has been resolved, with the caller's key in mind.
    partners::settle(&context, socket.caller(), operation.document_id.as_deref());
    if let Some(call) = call {
        partners::begun(&context, call);
    }
    if let (Some(text), Some(_)) = (&operation.query, &operation.document_id) {
        let operation_name = operation.operation_name.as_deref().map(Into::into);
        let variables = operation.variables.clone().unwrap_or_default();
        let extensions = operation.extensions.clone().unwrap_or_default();
        executor::offer(&context, Offered { text: text.as_str().into(), operation_name, variables, extensions });
    }
    if let Some(address) = socket.address.get() {
        limits::came_from(&context, Arc::clone(address));
    }
    let response = pipeline.oneshot((request, context).into()).await?;
    if let Some(call) = partners::taken(&response.context) {
        // It was refused on its way.
        call.answered(Outcome::Refused, None).await;
    }
    let body = response.response.into_body().collect().await;
    Ok(body.map_err(|problem| problem.to_string())?.to_bytes())
}

/// A response without data answers a request that was never executed: `error` in the protocol's terms.
fn answer(transport: &dyn Transport, id: &str, body: &Bytes) -> Vec<Utf8Bytes> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    match serde_json::from_str::<Response>(text) {
        Ok(Response { data: None, errors: Some(errors) }) => vec![transport.error(id, errors.get())],
        Ok(_) => vec![transport.next(id, text.trim(), None), transport.complete(id)],
        Err(_) => vec![transport.error(id, &failure("INTERNAL", "the operation failed"))],
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::TransportWs;
    use super::*;

    fn texts(body: &'static str) -> Vec<String> {
        answer(&TransportWs, "1", &Bytes::from_static(body.as_bytes()))
            .iter()
            .map(|text| text.as_str().to_owned())
            .collect()
    }

    #[test]
    fn errors_without_data_end_the_operation_and_with_data_are_its_result() {
        assert_eq!(
            texts(r#"{"errors":[{"message":"no"}]}"#),
            [r#"{"id":"1","type":"error","payload":[{"message":"no"}]}"#]
        );
        let partial = r#"{"data":null,"errors":[{"message":"no"}]}"#;
        assert_eq!(texts(partial).len(), 1, "a null result of a request that never ran is told by its errors");
        assert_eq!(texts(r#"{"data":{"a":1}}"#)[1], r#"{"id":"1","type":"complete"}"#);
    }
}
