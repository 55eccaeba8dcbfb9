//! The type and status of an answer in JSON (<https://graphql.github.io/graphql-over-http/draft/#sec-Responses>).
//!
//! Apollo Router answers every operation with `application/json`, and one that it refuses before it runs with 400. The
//! specification wants the type that was asked for, and 200 for such an operation where the older type was.

use apollo_router::services::router;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tower::BoxError;

use super::accept::{Accepts, Json};

const JSON: &str = "application/json";
const GRAPHQL_RESPONSE: HeaderValue = HeaderValue::from_static("application/graphql-response+json");

/// What Apollo Router calls an operation that is not valid. Whatever else it refuses with 400 was no such request.
const INVALID_OPERATION: [&str; 3] = ["PARSING_ERROR", "GRAPHQL_VALIDATION_FAILED", "VALIDATION_INVALID_TYPE_VARIABLE"];

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<Error>,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    extensions: Extensions,
}

#[derive(Default, Deserialize)]
struct Extensions {
    #[serde(default)]
    code: Option<String>,
}

/// Brings the answer to a request in line with its `Accept`.
pub(super) async fn conform(accepts: &Accepts, response: router::Response) -> Result<router::Response, BoxError> {
    if !is_json(response.response.headers()) {
        return Ok(response);
    }
    match accepts.json {
        Some(Json::GraphqlResponse) => Ok(typed(response)),
        Some(Json::Plain) if response.response.status() == StatusCode::BAD_REQUEST => graded(response).await,
        _ => Ok(response),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(JSON.as_bytes()))
}

fn typed(mut response: router::Response) -> router::Response {
    response.response.headers_mut().insert(header::CONTENT_TYPE, GRAPHQL_RESPONSE);
    response
}

async fn graded(response: router::Response) -> Result<router::Response, BoxError> {
    let (mut parts, body) = response.response.into_parts();
    let body: Bytes = body.collect().await?.to_bytes();
    if is_of_operation(&body) {
        parts.status = StatusCode::OK;
    }
    let answer = http::Response::from_parts(parts, router::body::from_bytes(body));
    router::Response::http_response_builder().context(response.context).response(answer).build()
}

fn is_of_operation(body: &Bytes) -> bool {
    let Ok(Refusal { errors }) = serde_json::from_slice(body) else { return false };
    let invalid = |error: &Error| {
        let code = error.extensions.code.as_deref();
        code.is_some_and(|code| INVALID_OPERATION.contains(&code))
    };
    !errors.is_empty() && errors.iter().all(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_operation_that_is_not_valid_was_a_good_request() {
        let of_operation = |body: &'static str| is_of_operation(&Bytes::from_static(body.as_bytes()));
        assert!(of_operation(r#"{"errors":[{"message":"no","extensions":{"code":"PARSING_ERROR"}}]}"#));
        for other in [
            r#"{"errors":[{"message":"no","extensions":{"code":"INVALID_GRAPHQL_REQUEST"}}]}"#,
            r#"{"errors":[{"message":"no"}]}"#,
            r#"{"errors":[]}"#,
            "no",
        ] {
            assert!(!of_operation(other), "{other}");
        }
    }
}
