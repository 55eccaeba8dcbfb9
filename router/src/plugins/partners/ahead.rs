//! Registered operations are planned before they are first called: after a start, and after each change of the schema
//! or of the registry.
//!
//! Each goes through the whole pipeline as a call would, and stops where it would be executed; so its plan stands in the
//! router's own cache, under the key that the call will look for.

use std::sync::{Arc, Weak};
use std::time::Duration;

use apollo_router::Context;
use apollo_router::services::router;
use http::{Method, header};
use serde_json::json;
use serde_json_bytes::Map;
use tokio::sync::watch;
use tower::{BoxError, ServiceExt as _};

use super::{Gate, live, mark, marked, settle};
use crate::plugins::executor::{self, Offered};
use crate::plugins::subscriptions;

/// Changes come in groups: a manifest is many operations.
const SETTLING: Duration = Duration::from_millis(300);
/// How long one operation may take; the next is tried then.
const PLAN_MAX: Duration = Duration::from_secs(10);
/// The pipeline looks at the body, not at the address; this one stands in its logs.
const URI: &str = "http://ahead.invalid/graphql";

/// A request that is planned and not executed.
#[derive(Clone)]
pub struct OnlyPlanned;

/// Whether a request is planned and not executed.
pub fn is_only_planned(context: &Context) -> bool {
    marked::<OnlyPlanned>(context).is_some()
}

/// Plans ahead for as long as the gate is the live one.
pub(super) fn start(gate: &Arc<Gate>) {
    if gate.config.planning.ahead_max > 0 {
        tokio::spawn(run(Arc::downgrade(gate), gate.registry.operations_changed()));
    }
}

async fn run(gate: Weak<Gate>, mut changed: watch::Receiver<u64>) {
    loop {
        // Also lets the pipeline be put together around this plugin.
        tokio::time::sleep(SETTLING).await;
        changed.mark_unchanged();
        let Some(bodies) = gate.upgrade().and_then(|gate| bodies(&gate)) else {
            return;
        };
        let count = bodies.len();
        for body in bodies {
            match tokio::time::timeout(PLAN_MAX, plan(&body)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = %error, "an operation was not planned ahead"),
                Err(_) => tracing::warn!("an operation was not planned ahead in time"),
            }
        }
        if count > 0 {
            tracing::info!(operations.count = count, "operations planned ahead");
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

/// Nothing when another gate is the live one.
fn bodies(gate: &Arc<Gate>) -> Option<Vec<Arc<str>>> {
    live().filter(|live| Arc::ptr_eq(live, gate))?;
    let count_max = gate.config.planning.ahead_max;
    let mut bodies: Vec<_> = gate.first_party.bodies().take(count_max).collect();
    bodies.extend(gate.registry.live_bodies(count_max - bodies.len()));
    Some(bodies)
}

async fn plan(body: &Arc<str>) -> Result<(), BoxError> {
    if subscriptions::plan_ahead(body).await {
        return Ok(());
    }
    let Some(pipeline) = subscriptions::pipeline() else {
        return Err("there is no pipeline".into());
    };
    let context = Context::new();
    settle(&context, None, None);
    mark(&context, OnlyPlanned);
    let none = Map::new();
    let text = Arc::clone(body);
    executor::offer(&context, Offered { text, operation_name: None, variables: none.clone(), extensions: none });
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(URI)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(router::body::from_bytes(json!({ "query": &**body }).to_string()))?;
    pipeline.oneshot((request, context).into()).await.map(drop)
}
