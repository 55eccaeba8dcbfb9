//! The last word on an operation that is published: it is validated and planned against the supergraph.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apollo_compiler::executable::Operation;
use apollo_compiler::parser::Parser;
use apollo_compiler::validation::WithErrors;
use apollo_compiler::{ExecutableDocument, Name};
use apollo_federation::Supergraph;
use apollo_federation::query_plan::query_planner::{QueryPlanOptions, QueryPlanner, QueryPlannerConfig};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tower::BoxError;

use super::cost::cost;
use super::graph::{RECURSION_MAX, TOKENS_MAX};

/// How long planning one operation may take; what takes longer there would take as long at its first call.
const PLAN_MAX: Duration = Duration::from_secs(5);

/// Problems told of one operation.
const PROBLEMS_MAX: usize = 10;

pub(super) struct Planning {
    sdl: Arc<String>,
    /// Made for the first who publishes: most routers' processes never need one.
    checker: OnceCell<Arc<Checker>>,
    permits: Semaphore,
}

pub(super) struct Checker {
    planner: QueryPlanner,
}

impl Planning {
    pub(super) fn new(sdl: Arc<String>, publishing_max: usize) -> Self {
        Self { sdl, checker: OnceCell::new(), permits: Semaphore::new(publishing_max.max(1)) }
    }

    pub(super) async fn checker(&self) -> Result<Arc<Checker>, BoxError> {
        let made = self.checker.get_or_try_init(|| async {
            let sdl = Arc::clone(&self.sdl);
            tokio::task::spawn_blocking(move || Checker::new(&sdl).map(Arc::new)).await?
        });
        made.await.cloned()
    }

    /// One of the few places to plan in.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.permits.acquire().await.ok()
    }
}

impl Checker {
    fn new(sdl: &str) -> Result<Self, BoxError> {
        let supergraph = Supergraph::new_with_router_specs(sdl)?;
        Ok(Self { planner: QueryPlanner::new(&supergraph, QueryPlannerConfig::default())? })
    }

    /// What the operation costs, or what is wrong with it. Takes a processor.
    pub(super) fn check(&self, text: &str) -> Result<u32, Vec<String>> {
        let schema = self.planner.api_schema().schema();
        let document = Parser::new()
            .token_limit(TOKENS_MAX)
            .recursion_limit(RECURSION_MAX)
            .parse_executable(schema, text, "operation.graphql")
            .map_err(|invalid| problems(&invalid))?
            .validate(schema)
            .map_err(|invalid| problems(&invalid))?;
        let operation: &Operation =
            document.operations.get(None).map_err(|_| vec!["exactly one operation may stand in a text".to_owned()])?;
        let cost = cost(&document, operation);
        let name: Option<Name> = operation.name.clone();
        let started = Instant::now();
        let in_time = || {
            if started.elapsed() > PLAN_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options =
            QueryPlanOptions { check_for_cooperative_cancellation: Some(&in_time), ..QueryPlanOptions::default() };
        match self.planner.build_query_plan(&document, name, options) {
            Ok(_) => Ok(cost),
            Err(error) => {
                tracing::warn!(error = %error, "a published operation has no plan");
                Err(vec!["the operation cannot be planned".to_owned()])
            }
        }
    }
}

fn problems(invalid: &WithErrors<ExecutableDocument>) -> Vec<String> {
    invalid.errors.iter().map(|problem| problem.to_json().message).take(PROBLEMS_MAX).collect()
}
