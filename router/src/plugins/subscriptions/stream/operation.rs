//! The operation of an HTTP request (<https://graphql.github.io/graphql-over-http/draft/>).

use apollo_router::services::router;
use apollo_router::{Context, graphql};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt as _;
use tower::BoxError;

use super::super::protocol::{self, Object, Operation};

/// A request whose body has been read.
pub(super) struct Received {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
    pub(super) context: Context,
}

impl Received {
    /// The bound on the body's size is Apollo Router's own, which wraps this.
    pub(super) async fn read(request: router::Request) -> Result<Self, BoxError> {
        let router::Request { router_request, context, .. } = request;
        let (parts, body) = router_request.into_parts();
        Ok(Self { parts, body: body.collect().await?.to_bytes(), context })
    }

    /// The operation; nothing when there is none that could be read, and the pipeline has to say why.
    pub(super) fn operation(&self) -> Option<Operation> {
        if self.parts.method == Method::GET {
            return self.parts.uri.query().and_then(of_url);
        }
        if !is_json(&self.parts.headers) {
            return None;
        }
        std::str::from_utf8(&self.body).ok().and_then(protocol::object).filter(is_one)
    }

    /// The request as it came.
    pub(super) fn into_request(self) -> router::Request {
        let request = http::Request::from_parts(self.parts, router::body::from_bytes(self.body));
        (request, self.context).into()
    }
}

fn of_url(query: &str) -> Option<Operation> {
    let request = graphql::Request::from_urlencoded_query(query.to_owned()).ok()?;
    let document_id = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "documentId");
    let operation = Operation {
        document_id: document_id.map(|(_, id)| id.into_owned()),
        query: request.query,
        operation_name: request.operation_name,
        variables: Some(request.variables),
        extensions: Some(request.extensions),
    };
    Some(operation).filter(is_one)
}

/// Whether there is a text, or the id or hash that stands for one.
fn is_one(operation: &Operation) -> bool {
    let by_hash = |extensions: &Object| extensions.contains_key("persistedQuery");
    let named = operation.query.is_some() || operation.document_id.is_some();
    named || operation.extensions.as_ref().is_some_and(by_hash)
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
        assert_eq!(of_url("documentId=a&variables=%7B%7D").unwrap().document_id.as_deref(), Some("a"));
        assert!(of_url("extensions=%7B%22persistedQuery%22%3A%7B%7D%7D").is_some());
    }
}
