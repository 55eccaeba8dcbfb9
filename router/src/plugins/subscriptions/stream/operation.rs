//! The operation of an HTTP request (<https://graphql.github.io/graphql-over-http/draft/>).

use apollo_router::graphql;
use apollo_router::services::router;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt as _;
use tower::BoxError;

use super::super::protocol::{self, Object, Operation};

/// Reads the operation; nothing when there is none that could be read, and the pipeline has to say why. The request
/// stays whole. The bound on its size is Apollo Router's own, which wraps this.
pub(super) async fn read(request: router::Request) -> Result<(router::Request, Option<Operation>), BoxError> {
    if request.router_request.method() == Method::GET {
        let operation = request.router_request.uri().query().and_then(of_url);
        return Ok((request, operation));
    }
    if !is_json(request.router_request.headers()) {
        return Ok((request, None));
    }
    let router::Request { router_request, context, .. } = request;
    let (parts, body) = router_request.into_parts();
    let body: Bytes = body.collect().await?.to_bytes();
    let operation = std::str::from_utf8(&body).ok().and_then(protocol::object).filter(is_one);
    let request = http::Request::from_parts(parts, router::body::from_bytes(body));
    Ok(((request, context).into(), operation))
}

fn of_url(query: &str) -> Option<Operation> {
    let request = graphql::Request::from_urlencoded_query(query.to_owned()).ok()?;
    let operation = Operation {
        document_id: None,
        query: request.query,
        operation_name: request.operation_name,
        variables: Some(request.variables),
        extensions: Some(request.extensions),
    };
    Some(operation).filter(is_one)
}

/// Whether there is a text, or the hash that stands for one.
fn is_one(operation: &Operation) -> bool {
    let by_hash = |extensions: &Object| extensions.contains_key("persistedQuery");
    operation.query.is_some() || operation.extensions.as_ref().is_some_and(by_hash)
}

/// A browser sends other types across origins without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/graphql-response+json"].iter().any(|json| essence.eq_ignore_ascii_case(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_holds_variables_and_extensions_as_json() {
        let operation = of_url("query=%7B+a+%7D&variables=%7B%22b%22%3A1%7D&extensions=%7B%22after%22%3A%22c%22%7D");
        let operation = operation.unwrap();
        assert_eq!(operation.query.as_deref(), Some("{ a }"));
        assert_eq!(operation.variables.unwrap().get("b").unwrap(), 1);
        assert_eq!(operation.extensions.unwrap().get("after").unwrap(), "c");
        assert!(of_url("query=%7B+a+%7D&variables=%7B").is_none());
        assert!(of_url("operationName=a").is_none());
        assert!(of_url("extensions=%7B%22persistedQuery%22%3A%7B%7D%7D").is_some());
    }
}
