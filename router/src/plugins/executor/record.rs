//! What subgraphs have said to an execution that was given up: Apollo Router's own goes on with it.
//!
//! Whatever is out of the ordinary is for Apollo Router to judge: errors, nulls where none may be, a subgraph that is away.
//! It runs the same plan, and where it asks what was asked already it gets what was said then. So no subgraph is asked
//! twice, no mutation runs twice, and errors are told as Apollo Router tells them.

use std::sync::Arc;

use apollo_router::services::subgraph;
use apollo_router::{Context, graphql};
use bytes::Bytes;
use http::{StatusCode, header};
use parking_lot::Mutex;
use serde_json_bytes::{Map, Value, json};
use tower::BoxError;
use tower::timeout::error::Elapsed;

use super::client::{Said, Unsaid};

/// One question and what came of it.
pub(super) struct Recorded {
    pub(super) subgraph: Box<str>,
    pub(super) asked: Bytes,
    pub(super) said: Result<Said, Unsaid>,
}

/// What one execution has heard.
#[derive(Clone)]
pub(super) struct Record(Arc<Mutex<Vec<Recorded>>>);

impl Record {
    pub(super) fn new(recorded: Vec<Recorded>) -> Self {
        Self(Arc::new(Mutex::new(recorded)))
    }

    pub(super) fn keep(self, context: &Context) {
        context.extensions().with_lock(|known| known.insert(self));
    }

    pub(super) fn of(context: &Context) -> Option<Self> {
        context.extensions().with_lock(|known| known.get::<Self>().cloned())
    }

    /// What was said to this request; it is handed over once.
    pub(super) fn take(&self, request: &subgraph::Request, subgraph: &str) -> Option<Result<Said, Unsaid>> {
        let body = request.subgraph_request.body();
        let mut recorded = self.0.lock();
        let number = recorded.iter().position(|one| &*one.subgraph == subgraph && is_same(&one.asked, body))?;
        Some(recorded.swap_remove(number).said)
    }
}

impl Record {
    /// Whether a request changes something and is not the one that this subgraph was sent, when it was sent one: it is not
    /// known then which of the two has run.
    pub(super) fn forbids(&self, request: &subgraph::Request, subgraph: &str) -> bool {
        let query = request.subgraph_request.body().query.as_deref().unwrap_or_default();
        let changes = query.trim_start().starts_with("mutation");
        changes && self.0.lock().iter().any(|one| &*one.subgraph == subgraph)
    }
}

fn is_same(asked: &Bytes, body: &graphql::Request) -> bool {
    let Ok(Value::Object(mut asked)) = Value::from_bytes(asked.clone()) else { return false };
    let variables = asked.remove("variables").unwrap_or_else(|| Value::Object(Map::new()));
    asked.get("query").and_then(Value::as_str) == body.query.as_deref()
        && asked.get("operationName").and_then(Value::as_str) == body.operation_name.as_deref()
        && variables.as_object() == Some(&body.variables)
}

/// A recorded answer in the form in which Apollo Router's own client hands it on.
pub(super) fn replay(
    said: Result<Said, Unsaid>,
    subgraph: &str,
    context: Context,
) -> Result<subgraph::Response, BoxError> {
    match said {
        Ok(said) => Ok(answered(&said, subgraph, context)),
        Err(Unsaid::Elapsed) => Err(Elapsed::new().into()),
        Err(Unsaid::Transport { status, reason }) => {
            let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else {
                // The client that failed has put its own words around it, and so does who asked the client.
                let reason = format!("HTTP fetch failed from '{subgraph}': {reason}");
                let body = graphql::Response::builder().error(http_error(subgraph, None, &reason)).build();
                return Ok(response(body, StatusCode::INTERNAL_SERVER_ERROR, subgraph, context));
            };
            let error = http_error(subgraph, Some(status.as_u16()), &reason);
            let body = graphql::Response::builder().error(error).build();
            Ok(response(with_status(body, status, subgraph), status, subgraph, context))
        }
    }
}

fn answered(said: &Said, subgraph: &str, context: Context) -> subgraph::Response {
    let status = said.parts.status;
    let mut body = match content_type(said) {
        Err(reason) => {
            let error = http_error(subgraph, Some(status.as_u16()), &reason);
            graphql::Response::builder().error(error).build()
        }
        Ok(json) => read(&said.body).unwrap_or_else(|reason| {
            let reason = match json {
                Json::Plain if !status.is_success() => as_text(&said.body),
                _ => reason,
            };
            graphql::Response::builder().error(malformed(subgraph, &reason)).build()
        }),
    };
    for error in &mut body.errors {
        error.extensions.entry("service").or_insert_with(|| subgraph.into());
    }
    response(with_status(body, status, subgraph), status, subgraph, context)
}

/// A status that is none of success is an error of its own.
fn with_status(mut body: graphql::Response, status: StatusCode, subgraph: &str) -> graphql::Response {
    if !status.is_success() {
        let reason = format!("{}: {}", status.as_str(), status.canonical_reason().unwrap_or("Unknown"));
        body.errors.insert(0, http_error(subgraph, Some(status.as_u16()), &reason));
    }
    body
}

fn response(body: graphql::Response, status: StatusCode, subgraph: &str, context: Context) -> subgraph::Response {
    let response = subgraph::Response::builder()
        .subgraph_name(subgraph)
        .and_data(body.data)
        .and_path(body.path)
        .and_label(body.label)
        .errors(body.errors)
        .extensions(body.extensions)
        .status_code(status)
        .context(context);
    response.build()
}

enum Json {
    Plain,
    Graphql,
}

fn content_type(said: &Said) -> Result<Json, String> {
    let expected = "expected content-type: application/json or content-type: application/graphql-response+json";
    let Some(value) = said.parts.headers.get(header::CONTENT_TYPE) else {
        return Err(format!("subgraph response does not contain 'content-type' header; {expected}"));
    };
    let text = value.to_str().unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim() {
        "application/json" => Ok(Json::Plain),
        "application/graphql-response+json" => Ok(Json::Graphql),
        other if other.contains('/') => {
            Err(format!("subgraph response contains unsupported content-type: {text}; {expected}"))
        }
        _ => Err(format!("subgraph response contains invalid 'content-type' header value {value:?}; {expected}")),
    }
}

fn as_text(body: &Bytes) -> String {
    if body.is_empty() { "<empty response body>".to_owned() } else { String::from_utf8_lossy(body).into_owned() }
}

/// A response of GraphQL as Apollo Router reads it, or why it is none.
fn read(body: &Bytes) -> Result<graphql::Response, String> {
    let value = Value::from_bytes(body.clone()).map_err(|error| error.to_string())?;
    let Value::Object(mut members) = value else { return Err("invalid type, expected an object".to_owned()) };
    let data = members.remove("data");
    let errors = match members.remove("errors") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(errors)) => errors,
        Some(_) => return Err("invalid type for key: errors".to_owned()),
    };
    let errors = errors.into_iter().map(error).collect::<Result<Vec<_>, _>>()?;
    let extensions = match members.remove("extensions") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(extensions)) => extensions,
        Some(_) => return Err("invalid type for key: extensions".to_owned()),
    };
    if data.is_none() && errors.is_empty() {
        return Err("graphql response without data must contain at least one error".to_owned());
    }
    let path = members.remove("path").filter(|path| !path.is_null());
    let path: Option<graphql::JsonPath> =
        path.map(serde_json_bytes::from_value).transpose().map_err(|error| error.to_string())?;
    let response = graphql::Response::builder().and_data(data).and_path(path).errors(errors).extensions(extensions);
    Ok(response.build())
}

fn error(value: Value) -> Result<graphql::Error, String> {
    let Value::Object(mut members) = value else {
        return Err("invalid error within `errors`: invalid type, expected an object".to_owned());
    };
    let extensions = match members.remove("extensions") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(extensions)) => extensions,
        Some(_) => {
            return Err("invalid `extensions` within error: invalid type for key: extensions".to_owned());
        }
    };
    let message = match members.remove("message") {
        Some(Value::String(message)) => message.as_str().to_owned(),
        None | Some(Value::Null) => return Err("missing required `message` property within error".to_owned()),
        Some(_) => return Err("invalid `message` within error: invalid type for key: message".to_owned()),
    };
    let mut member = |name: &str| members.remove(name).filter(|value| !value.is_null());
    let locations = member("locations").map(known_locations).map(serde_json_bytes::from_value).transpose();
    let locations = locations.map_err(|error| format!("invalid `locations` within error: {error}"))?;
    let path = member("path").map(serde_json_bytes::from_value).transpose();
    let path: Option<graphql::JsonPath> = path.map_err(|error| format!("invalid `path` within error: {error}"))?;
    let locations: Vec<graphql::Location> = locations.unwrap_or_default();
    let error = graphql::Error::builder().message(message).locations(locations).and_path(path);
    Ok(error.extensions(extensions).build())
}

/// Some servers say -1 for a place that they do not know.
fn known_locations(mut locations: Value) -> Value {
    if let Some(locations) = locations.as_array_mut() {
        let unknown = json!(-1);
        locations.retain(|one| one.get("line") != Some(&unknown) || one.get("column") != Some(&unknown));
    }
    locations
}

fn http_error(subgraph: &str, status: Option<u16>, reason: &str) -> graphql::Error {
    let error = graphql::Error::builder()
        .message(format!("HTTP fetch failed from '{subgraph}': {reason}"))
        .extension_code("SUBREQUEST_HTTP_ERROR")
        .extension("service", subgraph)
        .extension("reason", reason);
    match status {
        Some(status) => error.extension("http", json!({ "status": status })).build(),
        None => error.build(),
    }
}

fn malformed(subgraph: &str, reason: &str) -> graphql::Error {
    graphql::Error::builder()
        .message(format!("service '{subgraph}' response was malformed: {reason}"))
        .extension_code("SUBREQUEST_MALFORMED_RESPONSE")
        .extension("service", subgraph)
        .extension("reason", reason)
        .build()
}
