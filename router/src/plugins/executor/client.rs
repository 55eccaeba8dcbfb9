//! Requests to subgraphs, straight over connections that are kept.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::Rng as _;

use crate::plugins::UNUSED_MAX;

/// As Apollo Router asks.
const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, application/graphql-response+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// <https://www.w3.org/TR/trace-context/#traceparent-header>
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A longer answer of a subgraph is not taken.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What a subgraph said over HTTP.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) parts: http::response::Parts,
    pub(super) body: Bytes,
}

/// Why a subgraph has not said anything.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Unsaid {
    #[error("the subgraph did not answer in time")]
    Elapsed,
    #[error("{reason}")]
    Transport {
        /// When it broke off after its status.
        status: Option<u16>,
        reason: String,
    },
}

pub(super) struct Client {
    http: HyperClient<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_keepalive(Some(Duration::from_mins(1)));
        let mut http = HyperClient::builder(TokioExecutor::new());
        Self { http: http.pool_idle_timeout(UNUSED_MAX).build(connector), timeout }
    }

    pub(super) async fn ask(&self, uri: &Uri, headers: &HeaderMap, body: Bytes) -> Result<Said, Unsaid> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        tokio::time::timeout(self.timeout, self.send(request)).await.unwrap_or(Err(Unsaid::Elapsed))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Said, Unsaid> {
        let response = self.http.request(request).await;
        let response = response.map_err(|error| Unsaid::Transport { status: None, reason: told(&error) })?;
        let (parts, mut body) = response.into_parts();
        let mut whole = BytesMut::new();
        let mut first = Bytes::new();
        while let Some(frame) = body.frame().await {
            let status = Some(parts.status.as_u16());
            let frame = frame.map_err(|error| Unsaid::Transport { status, reason: error.to_string() })?;
            let Ok(data) = frame.into_data() else { continue };
            if first.is_empty() && whole.is_empty() {
                first = data;
                continue;
            }
            if whole.len() + first.len() + data.len() > ANSWER_BYTES_MAX {
                let reason = format!("subgraph response body exceeded limit of {ANSWER_BYTES_MAX} bytes");
                return Err(Unsaid::Transport { status, reason });
            }
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&data);
        }
        Ok(Said { parts, body: if whole.is_empty() { first } else { whole.freeze() } })
    }
}

/// What Apollo Router tells of such an error: its cause and, when that is one of HTTP, the cause of this one.
fn told(error: &hyper_util::client::legacy::Error) -> String {
    let Some(cause) = error.source() else { return error.to_string() };
    match cause.downcast_ref::<hyper::Error>().and_then(Error::source) {
        Some(inner) => format!("{cause}: {inner}"),
        None => cause.to_string(),
    }
}

/// The headers of all requests that are made for one of a client's.
pub(super) fn headers(propagated: &[HeaderName], client: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(propagated.len() + 3);
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ACCEPT, ACCEPT);
    for name in propagated {
        for value in client.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    if propagated.contains(&TRACEPARENT) && !headers.contains_key(TRACEPARENT) {
        headers.extend(unrecorded().map(|parent| (TRACEPARENT, parent)));
    }
    headers
}

/// The parent of a trace that is not recorded, so that no subgraph begins one of its own.
fn unrecorded() -> Option<HeaderValue> {
    let (trace, span): (u128, u64) = rand::rng().random();
    HeaderValue::from_str(&format!("00-{:032x}-{:016x}-00", trace | 1, span | 1)).ok()
}
