//! A request of HTTP, as far as the check needs it, read before the router reads it.

use std::sync::Arc;

use apollo_compiler::response::JsonMap;
use apollo_router::Context;
use apollo_router::services::router;
use axum::body::HttpBody as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri, request};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json_bytes::Value;
use tower::BoxError;
use velvet_edge::limits::{Body, Code, Refusal, Unread};

use super::gate::Gate;
use super::rate::Who;
use crate::plugins::{auth, partners};

/// The header by which a client asks for what its operation costs, and what it says then.
const COST_HEADER: &str = "x-velvet-cost";
const COST_INCLUDE: &str = "include";
/// The same as an extension of the request; it must be true.
const COST_EXTENSION: &str = "cost";

/// The address that a request of ours comes from, for one that has no headers of its own.
#[derive(Clone)]
struct CameFrom(Arc<str>);

/// Says where a request comes from, for requests that other plugins make.
pub fn came_from(context: &Context, address: Arc<str>) {
    context.extensions().with_lock(|known| known.insert(CameFrom(address)));
}

/// Who asks, as the plugins before this one found.
pub(super) fn who(gate: &Gate, context: &Context, headers: &HeaderMap) -> Who {
    let told = context.extensions().with_lock(|known| known.get::<CameFrom>().cloned());
    Who {
        caller: partners::caller(context),
        viewer: auth::subject(context),
        address: told.map(|CameFrom(address)| address).or_else(|| gate.address(headers)),
    }
}

/// Whether a body has at most so many bytes, when that is known before it is read.
pub(super) fn fits(body: &router::Body, bytes_max: u64) -> bool {
    body.size_hint().exact().is_some_and(|bytes| bytes <= bytes_max)
}

/// Reads a body of at most so many bytes.
pub(super) async fn read(body: router::Body, bytes_max: u64) -> Result<Result<Bytes, Refusal>, BoxError> {
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(Ok(collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            Ok(Err(Refusal { limit: Some(bytes_max), ..Refusal::new(Code::BodyTooLarge) }))
        }
        Err(error) => Err(error),
    }
}

/// The operation in a request; nothing where the router has to say what is wrong with it.
pub(super) fn operation(parts: &request::Parts, body: &[u8]) -> Result<Option<Body>, Refusal> {
    if parts.method == Method::GET {
        return in_uri(&parts.uri);
    }
    understood(Body::parse(body))
}

fn in_uri(uri: &Uri) -> Result<Option<Body>, Refusal> {
    let mut operation = Body::default();
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        let twice = match &*name {
            "query" => operation.query.replace(value.into_owned()).is_some(),
            "operationName" => operation.operation_name.replace(value.into_owned()).is_some(),
            "variables" | "extensions" => {
                let members = format!("{{\"variables\":{value}}}");
                let Some(read) = understood(Body::parse(members.as_bytes()))? else { return Ok(None) };
                let members = read.variables.unwrap_or_default();
                let place = if name == "variables" { &mut operation.variables } else { &mut operation.extensions };
                place.replace(members).is_some()
            }
            _ => false,
        };
        if twice {
            return Err(Refusal::new(Code::DuplicateKey));
        }
    }
    Ok(Some(operation))
}

fn understood(read: Result<Body, Unread>) -> Result<Option<Body>, Refusal> {
    match read {
        Ok(body) => Ok(Some(body)),
        Err(Unread::Malformed) => Ok(None),
        Err(Unread::Refused(refusal)) => Err(refusal),
    }
}

/// Whether the client wants to be told what its operation costs.
pub(super) fn wants_cost(headers: &HeaderMap, extensions: &JsonMap) -> bool {
    headers.get(COST_HEADER).is_some_and(|value| value == COST_INCLUDE)
        || extensions.get(COST_EXTENSION).and_then(Value::as_bool).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &str) -> Result<Option<Body>, Refusal> {
        let (parts, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
        operation(&parts, b"")
    }

    #[test]
    fn an_operation_in_an_address_is_read_like_one_in_a_body() {
        let found = get("/graphql?query=%7Ba%7D&variables=%7B%22n%22%3A1%7D&operationName=A").unwrap().unwrap();
        assert_eq!(found.query.as_deref(), Some("{a}"));
        assert_eq!(found.operation_name.as_deref(), Some("A"));
        assert_eq!(found.variables.unwrap().get("n"), Some(&1.into()));
        assert_eq!(get("/graphql?query={a}&query={b}").unwrap_err().code, Code::DuplicateKey);
        assert_eq!(get("/graphql?variables=%7B%22a%22:1,%22a%22:2%7D").unwrap_err().code, Code::DuplicateKey);
        assert_eq!(get("/graphql?variables=%7B"), Ok(None));
        assert_eq!(get("/graphql"), Ok(Some(Body::default())));
    }
}
