//! What a caller is told: header fields on its answers, and a refusal.

use apollo_router::Context;
use apollo_router::services::router;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json_bytes::{Value, json};
use tower::BoxError;
use velvet_edge::rate::fields::{Policy, Standing, policies, standings};

const POLICY_FIELD: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING_FIELD: HeaderName = HeaderName::from_static("ratelimit");

/// The two fields; none for callers that are not told.
#[derive(Debug, Clone, Default)]
struct Fields(Vec<(HeaderName, HeaderValue)>);

impl Fields {
    fn of(policy: String, standing: String) -> Self {
        let fields = [(POLICY_FIELD, policy), (STANDING_FIELD, standing)].into_iter();
        Self(fields.filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))).collect())
    }

    fn tell(&self, headers: &mut HeaderMap) {
        headers.extend(self.0.iter().cloned());
    }
}

/// A call that may run.
#[derive(Debug, Clone, Default)]
pub struct Passed(Fields);

impl Passed {
    pub(super) fn telling(policy: impl Iterator<Item = Policy>, standing: impl Iterator<Item = Standing>) -> Self {
        Self(Fields::of(policies(policy), standings(standing)))
    }

    /// Puts what is left to the caller into its answer.
    pub fn tell(&self, headers: &mut HeaderMap) {
        self.0.tell(headers);
    }
}

/// A call that may not run now.
#[derive(Debug, Clone)]
pub struct Limited {
    policy: &'static str,
    retry_after_seconds: u64,
    fields: Fields,
}

impl Limited {
    pub(super) fn new(policy: impl Iterator<Item = Policy>, standing: Standing) -> Self {
        let retry_after_seconds = standing.reset_seconds.max(1);
        let standing = Standing { reset_seconds: retry_after_seconds, ..standing };
        let fields = Fields::of(policies(policy), standings([standing]));
        Self { policy: standing.name, retry_after_seconds, fields }
    }

    /// As a member of a response's `errors`.
    pub fn to_graphql(&self) -> Value {
        let message = match self.policy {
            super::policy::QUOTA => "the quota of this month is used up",
            policy if policy.ends_with("-cost") => "the operations have cost too much of late",
            _ => "too many requests",
        };
        json!({
            "message": message,
            "extensions": {
                "code": "RATE_LIMITED",
                "retryAfterSeconds": self.retry_after_seconds,
                "policy": self.policy,
            },
        })
    }

    /// The header fields of a refusal.
    pub fn tell(&self, headers: &mut HeaderMap) {
        self.fields.tell(headers);
        headers.insert(header::RETRY_AFTER, self.retry_after_seconds.into());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }

    /// As a whole response.
    pub fn response(&self, context: Context) -> Result<router::Response, BoxError> {
        let body = json!({ "errors": [self.to_graphql()] });
        let mut response = http::Response::builder()
            .status(StatusCode::TOO_MANY_REQUESTS)
            .header(header::CONTENT_TYPE, "application/json")
            .body(router::body::from_bytes(serde_json::to_vec(&body)?))?;
        self.tell(response.headers_mut());
        router::Response::http_response_builder().context(context).response(response).build()
    }
}
