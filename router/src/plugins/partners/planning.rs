//! The last word on an operation that is published: it is validated and planned against the supergraph.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apollo_compiler::parser::Parser;
use apollo_compiler::validation::WithErrors;
use apollo_compiler::{ExecutableDocument, Schema};
use apollo_federation::Supergraph;
use apollo_federation::query_plan::query_planner::{QueryPlanOptions, QueryPlanner, QueryPlannerConfig};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};
use tower::BoxError;
use velvet_edge::cost::{self, Weights};
use velvet_edge::limits::Document;

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
    weights: Weights,
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
        let annotated = Schema::parse(sdl, "supergraph.graphql").map_err(|invalid| invalid.errors.to_string())?;
        Ok(Self {
            planner: QueryPlanner::new(&supergraph, QueryPlannerConfig::default())?,
            weights: Weights::of(&annotated)?,
        })
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
        let operation =
            document.operations.get(None).map_err(|_| vec!["exactly one operation may stand in a text".to_owned()])?;
        let cost = self.cost(text)?;
        let name = operation.name.clone();
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

impl Checker {
    /// The most that any call of the operation costs.
    fn cost(&self, text: &str) -> Result<u32, Vec<String>> {
        let unweighable = || vec!["the operation's cost cannot be told".to_owned()];
        let document = Document::parse(text, TOKENS_MAX as u64).map_err(|_| unweighable())?;
        let estimate = cost::estimate(&self.weights, &document, None, None).map_err(|_| unweighable())?;
        Ok(u32::try_from(estimate.ok_or_else(unweighable)?.cost).unwrap_or(u32::MAX))
    }
}

fn problems(invalid: &WithErrors<ExecutableDocument>) -> Vec<String> {
    invalid.errors.iter().map(|problem| problem.to_json().message).take(PROBLEMS_MAX).collect()
}
