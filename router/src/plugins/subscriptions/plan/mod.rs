//! From an operation's text to what runs it: parsed, validated, planned once, kept.

mod cache;
mod delivery;
mod independent;

use std::num::NonZeroUsize;
use std::sync::Arc;

use apollo_compiler::executable::Operation;
use apollo_compiler::parser::Parser;
use apollo_compiler::validation::{Valid, WithErrors};
use apollo_compiler::{ExecutableDocument, Name, Schema};
use apollo_federation::Supergraph;
use apollo_federation::query_plan::query_planner::{QueryPlanner, QueryPlannerConfig};
use apollo_federation::query_plan::{FetchNode, PlanNode, TopLevelPlanNode};
use serde_json_bytes::{Value, json};
use tokio::sync::Semaphore;

use super::protocol::Object;
use cache::{Cache, Key};
pub(super) use delivery::Delivery;
use independent::Independent;
pub(super) use independent::OpenTo;

/// What one operation may hold; the same as `limits` says for HTTP.
const TOKENS_MAX: usize = 15_000;
const RECURSION_MAX: usize = 200;

/// Longer operations are planned each time: the cache is bounded by number, and its entries have to be small for that.
const CACHED_QUERY_BYTES_MAX: usize = 32 * 1024;

/// A subscription as it runs: `primary` on one subgraph, the rest for each of its events.
pub(super) struct Plan {
    pub(super) document: Valid<ExecutableDocument>,
    operation_name: Option<String>,
    pub(super) primary: Box<FetchNode>,
    pub(super) rest: Option<Box<PlanNode>>,
    pub(super) delivery: Delivery,
    /// Set when the stream is the same whoever follows it.
    pub(super) independent: Option<OpenTo>,
    /// The schema that the client sees.
    pub(super) api_schema: Arc<Valid<Schema>>,
}

impl Plan {
    pub(super) fn operation(&self) -> Option<&Operation> {
        self.document.operations.get(self.operation_name.as_deref()).ok().map(|operation| &**operation)
    }

    /// Those of the variables that `primary` uses.
    pub(super) fn primary_variables(&self, variables: &Object) -> Object {
        let used = self.primary.variable_usages.iter().filter_map(|name| variables.get_key_value(name.as_str()));
        used.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The variables as the operation declares them: checked, with defaults.
    pub(super) fn coerce(&self, variables: &Object) -> Result<Object, Refused> {
        let Some(operation) = self.operation() else {
            return Err(Refused::internal());
        };
        apollo_compiler::request::coerce_variable_values(&self.api_schema, operation, variables)
            .map(Valid::into_inner)
            .map_err(|error| {
                let error = error.to_graphql_error(&self.document.sources);
                Refused(vec![coded(&error, "VALIDATION_INVALID_TYPE_VARIABLE")])
            })
    }
}

/// Why an operation does not run: GraphQL errors, ready to be sent.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Vec<Value>);

impl Refused {
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self(vec![json!({ "message": message, "extensions": { "code": code } })])
    }

    /// The list of errors, as it stands in a response.
    pub(super) fn to_json(&self) -> String {
        Value::Array(self.0.clone()).to_string()
    }

    /// What went wrong is in the log; it is not for clients.
    fn internal() -> Self {
        Self::new("INTERNAL", "the operation cannot be planned")
    }
}

/// What an operation turned out to be.
#[derive(Clone)]
pub(super) enum Planned {
    Subscription(Arc<Plan>),
    /// A query, a mutation, or what the router's own pipeline has to judge.
    Other,
}

/// Plans subscriptions. One per supergraph schema.
pub(super) struct Planner {
    shared: Arc<Shared>,
    cache: Cache,
    permits: Semaphore,
}

struct Shared {
    planner: QueryPlanner,
    api_schema: Arc<Valid<Schema>>,
    independent: Independent,
}

impl Planner {
    pub(super) fn new(
        supergraph: &Supergraph,
        plans_max: NonZeroUsize,
        planning_max: usize,
    ) -> Result<Self, apollo_federation::error::FederationError> {
        let planner = QueryPlanner::new(supergraph, QueryPlannerConfig::default())?;
        let api_schema = Arc::new(planner.api_schema().schema().clone());
        Ok(Self {
            shared: Arc::new(Shared { planner, api_schema, independent: Independent::of(supergraph.schema.schema()) }),
            cache: Cache::new(plans_max),
            permits: Semaphore::new(planning_max),
        })
    }

    /// The plan, if it is known already or if the text cannot be a subscription.
    pub(super) fn known(&self, query: &str, operation_name: Option<&str>) -> Option<Planned> {
        // Cheap, and right for every query and mutation that does not happen to say the word.
        if !query.contains("subscription") {
            return Some(Planned::Other);
        }
        self.cache.get(&Key::new(query, operation_name))
    }

    /// Plans an operation, off the async threads.
    pub(super) async fn plan(&self, query: String, operation_name: Option<String>) -> Result<Planned, Refused> {
        let key = Key::new(&query, operation_name.as_deref());
        let cacheable = query.len() <= CACHED_QUERY_BYTES_MAX;
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(Refused::internal());
        };
        // Whoever had the permit before may have planned the same.
        if let Some(planned) = self.cache.get(&key) {
            return Ok(planned);
        }
        let shared = Arc::clone(&self.shared);
        let planned =
            tokio::task::spawn_blocking(move || shared.plan(&query, operation_name)).await.map_err(|error| {
                tracing::error!(error = %error, "planning a subscription failed");
                Refused::internal()
            })??;
        if cacheable {
            self.cache.put(key, planned.clone());
        }
        Ok(planned)
    }
}

impl Shared {
    fn plan(&self, query: &str, operation_name: Option<String>) -> Result<Planned, Refused> {
        let document = Parser::new()
            .token_limit(TOKENS_MAX)
            .recursion_limit(RECURSION_MAX)
            .parse_executable(&self.api_schema, query, "operation.graphql")
            .map_err(|invalid| invalid_document(&invalid))?
            .validate(&self.api_schema)
            .map_err(|invalid| invalid_document(&invalid))?;
        // An operation that is not there is for the pipeline to answer, like every other request error.
        let Ok(operation) = document.operations.get(operation_name.as_deref()) else {
            return Ok(Planned::Other);
        };
        if !operation.is_subscription() {
            return Ok(Planned::Other);
        }
        let (primary, rest) = self.split(&document, operation_name.as_deref())?;
        let delivery = Delivery::of(&document, operation, &primary, rest.as_deref());
        let independent = self.independent.open_to(operation, &document);
        Ok(Planned::Subscription(Arc::new(Plan {
            independent,
            primary,
            rest,
            delivery,
            operation_name,
            api_schema: Arc::clone(&self.api_schema),
            document,
        })))
    }

    fn split(
        &self,
        document: &Valid<ExecutableDocument>,
        operation_name: Option<&str>,
    ) -> Result<(Box<FetchNode>, Option<Box<PlanNode>>), Refused> {
        let name = operation_name.and_then(|name| Name::new(name).ok());
        let plan = self
            .planner
            .build_query_plan(document, name, apollo_federation::query_plan::query_planner::QueryPlanOptions::default())
            .map_err(|error| {
                tracing::error!(error = %error, "no plan for a valid subscription");
                Refused::internal()
            })?;
        match plan.node {
            Some(TopLevelPlanNode::Subscription(node)) => {
                if node.rest.as_deref().is_some_and(|rest| !runnable(rest)) {
                    return Err(Refused::new("INTERNAL", "the subscription needs what the router does not do"));
                }
                Ok((node.primary, node.rest))
            }
            // `subscription { __typename }` alone, or everything skipped: no subgraph has anything to say.
            _ => Err(Refused::new("GRAPHQL_VALIDATION_FAILED", "the subscription selects no field of a subgraph")),
        }
    }
}

/// False for what our schemas have no use for: @fromContext, and @defer within subscriptions, which GraphQL forbids.
fn runnable(node: &PlanNode) -> bool {
    match node {
        PlanNode::Fetch(fetch) => fetch.context_rewrites.is_empty(),
        PlanNode::Sequence(sequence) => sequence.nodes.iter().all(runnable),
        PlanNode::Parallel(parallel) => parallel.nodes.iter().all(runnable),
        PlanNode::Flatten(flatten) => runnable(&flatten.node),
        PlanNode::Condition(condition) => {
            condition.if_clause.as_deref().is_none_or(runnable) && condition.else_clause.as_deref().is_none_or(runnable)
        }
        PlanNode::Defer(_) => false,
    }
}

fn invalid_document(invalid: &WithErrors<ExecutableDocument>) -> Refused {
    Refused(invalid.errors.iter().map(|diagnostic| coded(&diagnostic.to_json(), "GRAPHQL_VALIDATION_FAILED")).collect())
}

fn coded(error: &apollo_compiler::response::GraphQLError, code: &str) -> Value {
    json!({ "message": error.message, "locations": error.locations, "extensions": { "code": code } })
}

#[cfg(test)]
mod tests;
