//! The plugin's places in the pipeline.

use std::sync::Arc;
use std::task::{Context as Polling, Poll};

use apollo_router::graphql;
use apollo_router::services::{router, subgraph};
use futures::future::BoxFuture;
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tower::{BoxError, Service, ServiceExt as _};

use super::super::handover::Handover;
use super::config::Operations;
use super::record::{Record, replay};
use super::{Executor, Object, Offered, metrics};

/// A body up to which a text is looked for in it.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// A text that anybody may send, not only who has registered it: what is kept of it is bounded by number.
const SENT_TEXT_BYTES_MAX: usize = 8 * 1024;

/// In front of Apollo Router's own part of the pipeline.
pub(super) struct Front {
    executor: Arc<Executor>,
    inner: Handover<router::Request, router::Response>,
}

impl Front {
    pub(super) fn new(executor: Arc<Executor>, inner: router::BoxService) -> Self {
        Self { executor, inner: Handover::new(inner) }
    }
}

impl Service<router::Request> for Front {
    type Response = router::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<router::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Polling<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: router::Request) -> Self::Future {
        let (executor, inner) = (Arc::clone(&self.executor), self.inner.clone());
        Box::pin(async move {
            let (request, offered) = offered(&executor, request).await?;
            if let Some(offered) = offered {
                let headers = request.router_request.headers();
                if let Some(answer) = executor.answer(&request.context, headers, &offered).await {
                    return answer;
                }
                if Record::of(&request.context).is_none() {
                    metrics::LEFT.increment();
                }
            }
            inner.oneshot(request).await
        })
    }
}

/// What a request asks for, when it may be run here.
async fn offered(
    executor: &Executor,
    request: router::Request,
) -> Result<(router::Request, Option<Arc<Offered>>), BoxError> {
    let registered = super::offered(&request.context);
    if registered.is_some() || executor.operations != Operations::Known || !is_posted_json(&request) {
        return Ok((request, registered));
    }
    let router::Request { router_request, context, .. } = request;
    let (parts, body) = router_request.into_parts();
    let body = body.collect().await?.to_bytes();
    let sent = if body.len() <= BODY_BYTES_MAX { read(&body) } else { None };
    let request = http::Request::from_parts(parts, router::body::from_bytes(body));
    Ok(((request, context).into(), sent.map(Arc::new)))
}

fn is_posted_json(request: &router::Request) -> bool {
    let request = &request.router_request;
    request.method() == Method::POST && is_json(request.headers())
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    value.to_str().is_ok_and(|value| value.split(';').next().unwrap_or_default().trim() == "application/json")
}

/// A request's members.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    query: String,
    #[serde(default)]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<Object>,
    #[serde(default)]
    extensions: Option<Object>,
}

/// Nothing when there is more to it than a text and its variables, or it is longer than what is kept for anybody.
fn read(body: &[u8]) -> Option<Offered> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let sent: Sent = serde_json::from_slice(body).ok()?;
    let by_hash = sent.extensions.is_some_and(|extensions| extensions.contains_key("persistedQuery"));
    (!by_hash && sent.query.len() <= SENT_TEXT_BYTES_MAX).then(|| Offered {
        text: sent.query.into(),
        operation_name: sent.operation_name.map(Into::into),
        variables: sent.variables.unwrap_or_default(),
        extensions: Object::new(),
    })
}

/// In front of one subgraph.
pub(super) struct Replaying {
    subgraph: Arc<str>,
    inner: subgraph::BoxService,
}

impl Replaying {
    pub(super) fn new(subgraph: &str, inner: subgraph::BoxService) -> Self {
        Self { subgraph: subgraph.into(), inner }
    }
}

impl Service<subgraph::Request> for Replaying {
    type Response = subgraph::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<subgraph::Response, BoxError>>;

    fn poll_ready(&mut self, polling: &mut Polling<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(polling)
    }

    fn call(&mut self, request: subgraph::Request) -> Self::Future {
        let Some(record) = Record::of(&request.context) else {
            return Box::pin(self.inner.call(request));
        };
        match record.take(&request, &self.subgraph) {
            Some(said) => {
                let replayed = replay(said, &self.subgraph, request.context);
                Box::pin(std::future::ready(replayed))
            }
            None if record.forbids(&request, &self.subgraph) => {
                let error = graphql::Error::builder()
                    .message("a part of the operation was not run")
                    .extension_code("UNAVAILABLE")
                    .build();
                let refused = subgraph::Response::error_builder()
                    .subgraph_name(&*self.subgraph)
                    .error(error)
                    .context(request.context)
                    .build();
                Box::pin(std::future::ready(Ok(refused)))
            }
            None => Box::pin(self.inner.call(request)),
        }
    }
}
