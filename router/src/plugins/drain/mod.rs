//! `velvet.drain`: how a router that is to end parts with its clients.
//!
//! Must come before all others in the configuration: each answer of the graph has to pass it.
//!
//! Whoever keeps a connection may send on it at any moment, and one that is closed just then takes the request with it. So
//! a router that is to end is not ready any more, says with each answer that its connection ends with it, and closes a
//! connection that is kept without use only when no client would send on it any more.

mod config;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use apollo_router::plugin::{Plugin, PluginInit};
use apollo_router::services::router;
use apollo_router::{Endpoint, ListenAddr, register_plugin};
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use multimap::MultiMap;
use tower::{BoxError, Service, ServiceExt as _, service_fn};

use config::DrainConfig;

/// The process's own.
static DRAIN: LazyLock<Drain> = LazyLock::new(Drain::new);

struct Drain {
    ending: AtomicBool,
    notice_ms: AtomicU64,
    keep_alive_ms: AtomicU64,
    since: Instant,
    /// Until when a client may send on a connection that an answer has left open, counted from `since`.
    kept_until_ms: AtomicU64,
}

impl Drain {
    fn new() -> Self {
        Self {
            ending: AtomicBool::new(false),
            notice_ms: AtomicU64::new(0),
            keep_alive_ms: AtomicU64::new(0),
            since: Instant::now(),
            kept_until_ms: AtomicU64::new(0),
        }
    }

    fn set(&self, config: &DrainConfig) {
        self.notice_ms.store(config.notice_ms, Ordering::Relaxed);
        self.keep_alive_ms.store(config.keep_alive_ms, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// An answer goes out: either its client is told that the connection ends, or may go on using it.
    fn answers(&self, version: Version, status: StatusCode, headers: &mut HeaderMap) {
        // Connections of HTTP/2 end without losing a request, and a socket's is no longer one of requests.
        if version > Version::HTTP_11 || status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        if self.ending.load(Ordering::Acquire) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        } else {
            let kept_until_ms = self.now_ms() + self.keep_alive_ms.load(Ordering::Relaxed);
            self.kept_until_ms.fetch_max(kept_until_ms, Ordering::AcqRel);
        }
    }

    /// For how long a client may still send on a connection that it was left.
    fn kept_for(&self) -> Duration {
        Duration::from_millis(self.kept_until_ms.load(Ordering::Acquire).saturating_sub(self.now_ms()))
    }
}

/// The process is to end. Returns when balancers have had the time to notice.
pub async fn begin() {
    DRAIN.ending.store(true, Ordering::Release);
    tokio::time::sleep(Duration::from_millis(DRAIN.notice_ms.load(Ordering::Relaxed))).await;
}

/// Returns when no client would send on a connection that is closed now.
pub async fn left() {
    tokio::time::sleep(DRAIN.kept_for()).await;
}

/// What answers at an address of its own, with all answers told of.
pub fn parting(service: router::BoxService) -> router::BoxService {
    Parting(service).boxed()
}

struct Parting(router::BoxService);

impl Service<router::Request> for Parting {
    type Response = router::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<router::Response, BoxError>>;

    fn poll_ready(&mut self, polling: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(polling)
    }

    fn call(&mut self, request: router::Request) -> Self::Future {
        let version = request.router_request.version();
        let answering = self.0.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            let status = response.response.status();
            DRAIN.answers(version, status, response.response.headers_mut());
            Ok(response)
        })
    }
}

/// Whether new connections should come here.
fn readiness() -> router::BoxService {
    service_fn(|request: router::Request| async {
        let (status, body) = if DRAIN.ending.load(Ordering::Acquire) {
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"waiting","reason":"the process is about to end"}"#)
        } else {
            (StatusCode::OK, r#"{"status":"ready"}"#)
        };
        let response = http::Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/json")
            .body(router::body::from_bytes(body))?;
        router::Response::http_response_builder().context(request.context).response(response).build()
    })
    .boxed()
}

struct DrainPlugin {
    config: DrainConfig,
}

#[async_trait::async_trait]
impl Plugin for DrainPlugin {
    type Config = DrainConfig;

    async fn new(init: PluginInit<DrainConfig>) -> Result<Self, BoxError> {
        Ok(Self { config: init.config })
    }

    /// Called once per pipeline, when its plugins are active.
    fn router_service(&self, service: router::BoxService) -> router::BoxService {
        DRAIN.set(&self.config);
        parting(service)
    }

    fn web_endpoints(&self) -> MultiMap<ListenAddr, Endpoint> {
        let endpoint = Endpoint::from_router_service(self.config.path.clone(), readiness());
        MultiMap::from_iter([(self.config.listen.into(), endpoint)])
    }
}

register_plugin!("velvet", "drain", DrainPlugin);

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(keep_alive_ms: u64) -> Drain {
        let drain = Drain::new();
        drain.keep_alive_ms.store(keep_alive_ms, Ordering::Relaxed);
        drain
    }

    fn says_close(drain: &Drain, version: Version, status: StatusCode) -> bool {
        let mut headers = HeaderMap::new();
        drain.answers(version, status, &mut headers);
        headers.contains_key(header::CONNECTION)
    }

    #[test]
    fn an_answer_leaves_its_connection_to_the_client_until_the_process_is_to_end() {
        let drain = drain(60_000);
        assert_eq!(drain.kept_for(), Duration::ZERO);
        assert!(!says_close(&drain, Version::HTTP_11, StatusCode::OK));
        assert!(drain.kept_for() > Duration::from_secs(50));
        drain.ending.store(true, Ordering::Release);
        assert!(says_close(&drain, Version::HTTP_11, StatusCode::OK));
        assert!(says_close(&drain, Version::HTTP_10, StatusCode::BAD_REQUEST));
    }

    #[test]
    fn connections_that_end_in_their_own_way_are_not_waited_for() {
        let drain = drain(60_000);
        for is_ending in [false, true] {
            drain.ending.store(is_ending, Ordering::Release);
            assert!(!says_close(&drain, Version::HTTP_2, StatusCode::OK));
            assert!(!says_close(&drain, Version::HTTP_11, StatusCode::SWITCHING_PROTOCOLS));
        }
        assert_eq!(drain.kept_for(), Duration::ZERO);
    }

    #[test]
    fn an_answer_that_tells_of_the_end_prolongs_nothing() {
        let drain = drain(60_000);
        drain.ending.store(true, Ordering::Release);
        assert!(says_close(&drain, Version::HTTP_11, StatusCode::OK));
        assert_eq!(drain.kept_for(), Duration::ZERO);
    }
}
