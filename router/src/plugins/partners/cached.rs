//! Answers that a caller may keep and ask for again by their tag (RFC 9110 §8.8, §13.1.2).
//!
//! How long it may be kept without asking follows from the hints of its fields; it is told once for all answers to an
//! operation. Without hints it is the caller's own and is asked for anew each time; what is saved is sending it again.

use apollo_router::services::router;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tower::BoxError;
use velvet_edge::caching::Policy;
use velvet_edge::sha256_hex;

/// A part may be missing from an answer with errors; the next may have it.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
/// What an answer depends on besides the address.
const VARY: HeaderValue = HeaderValue::from_static("authorization, x-api-key, origin");

/// What the caller has kept of earlier answers, and how it may keep this one.
pub(super) struct Kept {
    tags: Vec<HeaderValue>,
    policy: Policy,
}

impl Kept {
    /// From the headers of a request, which goes on without them.
    pub(super) fn take(headers: &mut HeaderMap, policy: Policy) -> Self {
        let tags = headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect();
        headers.remove(header::IF_NONE_MATCH);
        Self { tags, policy }
    }

    /// Compares weakly, as `If-None-Match` does.
    fn has(&self, tag: &str) -> bool {
        let given = self.tags.iter().filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(','));
        given.map(str::trim).any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: Option<IgnoredAny>,
}

/// The answer with its tag; without a body when the caller has it.
pub(super) async fn tagged(response: router::Response, kept: &Kept) -> Result<router::Response, BoxError> {
    let router::Response { response, context, .. } = response;
    let (mut parts, body) = response.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let whole = content_type.is_some_and(|content_type| content_type.contains("json"));
    parts.headers.insert(header::VARY, VARY);
    let body = if parts.status == StatusCode::OK && whole {
        let bytes = body.collect().await?.to_bytes();
        let complete = serde_json::from_slice::<Answer>(&bytes).is_ok_and(|answer| answer.errors.is_none());
        if complete {
            let tag = format!("\"{}\"", sha256_hex(&bytes));
            let has_it = kept.has(&tag);
            let cache_control = HeaderValue::from_str(&kept.policy.cache_control())?;
            parts.headers.insert(header::CACHE_CONTROL, cache_control);
            parts.headers.insert(header::ETAG, HeaderValue::from_str(&tag)?);
            if has_it {
                parts.status = StatusCode::NOT_MODIFIED;
                parts.headers.remove(header::CONTENT_TYPE);
                parts.headers.remove(header::CONTENT_LENGTH);
                router::body::from_bytes("")
            } else {
                router::body::from_bytes(bytes)
            }
        } else {
            parts.headers.insert(header::CACHE_CONTROL, NOT_KEPT);
            router::body::from_bytes(bytes)
        }
    } else {
        parts.headers.insert(header::CACHE_CONTROL, NOT_KEPT);
        body
    };
    let response = http::Response::from_parts(parts, body);
    router::Response::http_response_builder().context(context).response(response).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list_and_in_its_weak_form() {
        let has = |values: &[&'static str]| {
            let tags = values.iter().map(|value| HeaderValue::from_static(value)).collect();
            Kept { tags, policy: Policy::NONE }.has("\"ab\"")
        };
        for values in [&["\"ab\""][..], &["W/\"ab\""], &["\"x\", \"ab\""], &["\"x\"", "\"ab\""], &["*"]] {
            assert!(has(values), "{values:?}");
        }
        for values in [&[][..], &["ab"], &["\"abc\""], &["\"x\""]] {
            assert!(!has(values), "{values:?}");
        }
    }
}
