//! How an event's execution asks subgraphs: through the pipeline's own services, in the name of whom the event is for,
//! once for all executions that ask the same, and again for a while when a subgraph is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apollo_router::services::subgraph;
use apollo_router::{Context, graphql};
use futures::future::BoxFuture;
use http::{HeaderValue, Method, header};
use serde_json_bytes::Value;
use tower::{BoxError, ServiceExt as _};

use super::super::config::millis;
use super::super::execute::{SubgraphAnswer, SubgraphCall, Subgraphs};
use super::super::flights;
use super::Generation;

const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RETRY_PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Asks subgraphs in somebody's name, or in nobody's.
#[derive(Clone)]
pub(in super::super) struct Asking {
    pub(in super::super) generation: Arc<Generation>,
    pub(in super::super) authorization: Option<Arc<str>>,
    /// The event that they are asked for; other executions of it share what is asked alike.
    pub(in super::super) event: Option<Arc<str>>,
    /// The trace that the event is a part of.
    pub(in super::super) traceparent: Option<Arc<str>>,
}

impl Subgraphs for Asking {
    fn call<'a>(&'a self, call: SubgraphCall<'a>) -> BoxFuture<'a, SubgraphAnswer> {
        let Some(event) = &self.event else {
            return Box::pin(self.ask_patiently(call));
        };
        let key = flights::Key::new(event, self.authorization.as_ref(), &call);
        Box::pin(self.generation.flights.join(key, || Box::pin(self.clone().ask_apart(&call))))
    }
}

impl Asking {
    /// The same as a request that outlives whoever makes it.
    fn ask_apart(self, call: &SubgraphCall) -> impl Future<Output = SubgraphAnswer> + use<> {
        let subgraph = call.subgraph.to_owned();
        let query = call.query.to_owned();
        let operation_name = call.operation_name.map(str::to_owned);
        let variables = call.variables.clone();
        async move {
            let operation_name = operation_name.as_deref();
            let call = SubgraphCall { subgraph: &subgraph, query: &query, operation_name, variables };
            self.ask_patiently(call).await
        }
    }

    async fn ask_patiently(&self, call: SubgraphCall<'_>) -> SubgraphAnswer {
        let started = Instant::now();
        let patience = millis(self.generation.config.execution.event_patience_ms);
        let mut pause = RETRY_PAUSE_FIRST;
        loop {
            let answer = self.ask(call.clone()).await;
            if !answer.is_unavailable() || started.elapsed() + pause > patience {
                return answer;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_LONGEST);
        }
    }

    async fn ask(&self, call: SubgraphCall<'_>) -> SubgraphAnswer {
        let subgraph = call.subgraph;
        let limit = millis(self.generation.config.execution.fetch_timeout_ms);
        match tokio::time::timeout(limit, self.send(call)).await.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(subgraph.name = subgraph, error = %error, "subgraph not asked for an event");
                SubgraphAnswer::unavailable()
            }
        }
    }

    /// Apollo Router's own header rules and URL overrides wrap outside of what the hook captured, so both are ours to
    /// set.
    async fn send(&self, call: SubgraphCall<'_>) -> Result<SubgraphAnswer, BoxError> {
        let (service, uri) = self.generation.call_service(&call).ok_or("the generation has been retired")?;
        let body = graphql::Request::builder()
            .query(call.query)
            .and_operation_name(call.operation_name.map(str::to_owned))
            .variables(call.variables)
            .build();
        let mut request = http::Request::builder().method(Method::POST).uri(uri).body(body)?;
        let mut client_request = http::Request::new(graphql::Request::default());
        if let Some(authorization) = &self.authorization {
            let mut value = HeaderValue::from_str(authorization)?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value.clone());
            client_request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        if let Some(traceparent) = self.traceparent.as_deref().and_then(|parent| HeaderValue::from_str(parent).ok()) {
            // Apollo Router puts its own span there when it records the trace.
            request.headers_mut().insert("traceparent", traceparent);
        }
        // The other builder wants the kind of operation in a type that the router keeps to itself; here it is a query,
        // as every fetch within an event is.
        let request = subgraph::Request::fake_builder()
            .supergraph_request(Arc::new(client_request))
            .subgraph_request(request)
            .context(Context::new())
            .subgraph_name(call.subgraph)
            .build();
        let response = service.oneshot(request).await?.response.into_body();
        if unanswered(&response) {
            return Err("the subgraph did not answer with GraphQL".into());
        }
        Ok(SubgraphAnswer {
            data: response.data.unwrap_or_default(),
            errors: response.errors.iter().map(serde_json_bytes::to_value).collect::<Result<_, _>>()?,
        })
    }
}

/// The transport's own failures come as errors too; their words are for the log.
fn unanswered(response: &graphql::Response) -> bool {
    let no_data = response.data.as_ref().is_none_or(Value::is_null);
    let by_transport = |error: &graphql::Error| {
        error.extensions.get("code").and_then(Value::as_str).is_some_and(|code| code.starts_with("SUBREQUEST_"))
    };
    no_data && (response.errors.is_empty() || response.errors.iter().any(by_transport))
}
