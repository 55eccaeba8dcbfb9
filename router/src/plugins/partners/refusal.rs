//! What a caller is told when the router does not run an operation.

use apollo_router::Context;
use apollo_router::services::router;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tower::BoxError;

/// How long a caller should wait before it comes back, where that helps.
const RETRY_AFTER_SECONDS: u16 = 1;

/// Why an operation does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The key is unknown, revoked, expired or wrongly signed with, or its partner is disabled: which of them is not
    /// said. Get another key.
    #[error("the API key is not valid")]
    Key,
    /// Keys cannot be checked now. Try again.
    #[error("the API key cannot be checked now")]
    Unavailable,
    /// The key's scopes do not cover the operation. Ask for more.
    #[error("the API key does not cover this operation")]
    Forbidden,
    /// The caller has no such operation: it never had, it is somebody else's, or it is retired. Publish it.
    #[error("there is no such operation")]
    OperationNotFound,
    /// The caller may call registered operations only. Send an id instead of a text.
    #[error("only registered operations can be called, by their id")]
    OperationRequired,
    /// The request cannot be read.
    #[error("the request is not one of GraphQL over HTTP")]
    Request,
    /// The text is another than the one that the id stands for.
    #[error("the id is not the SHA-256 of the operation")]
    Mismatch,
    /// The address is for queries. Use POST.
    #[error("only queries can be called by GET")]
    Method,
}

impl Refusal {
    /// The code that clients see.
    pub fn code(self) -> &'static str {
        match self {
            Self::Key => "UNAUTHENTICATED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Forbidden => "FORBIDDEN",
            Self::OperationNotFound => "OPERATION_NOT_FOUND",
            Self::OperationRequired => "OPERATION_REQUIRED",
            Self::Request | Self::Mismatch => "BAD_REQUEST",
            Self::Method => "METHOD_NOT_ALLOWED",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Key => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::OperationNotFound => StatusCode::NOT_FOUND,
            Self::OperationRequired | Self::Request | Self::Mismatch => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// As a member of a response's `errors`.
    pub fn to_graphql(self) -> Value {
        json!({ "message": self.to_string(), "extensions": { "code": self.code() } })
    }

    /// As a whole response.
    pub fn response(self, context: Context) -> Result<router::Response, BoxError> {
        let mut response = answer(self.status(), &json!({ "errors": [self.to_graphql()] }), context)?;
        let headers = response.response.headers_mut();
        match self {
            Self::Unavailable => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
            }
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        Ok(response)
    }
}

/// An answer in JSON that is not to be kept by anybody.
pub(super) fn answer(status: StatusCode, body: &Value, context: Context) -> Result<router::Response, BoxError> {
    let response = http::Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CACHE_CONTROL, "no-store")
        .body(router::body::from_bytes(body.to_string()))?;
    router::Response::http_response_builder().context(context).response(response).build()
}
