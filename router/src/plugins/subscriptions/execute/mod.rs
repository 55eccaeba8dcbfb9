//! Runs a plan's nodes over an event's data.
//!
//! A node never changes the data that it is given: it returns patches, which the one above applies. So the nodes of a
//! parallel read the same data, and those of a sequence what came before them.

mod fetch;
mod path;
mod represent;
mod rewrite;

use apollo_compiler::Schema;
use apollo_federation::query_plan::{ConditionNode, FetchDataPathElement, PlanNode};
use futures::future::{BoxFuture, join_all};
use serde_json_bytes::Value;

use super::protocol::Object;
use path::Step;
pub(super) use rewrite::apply as apply_rewrites;

/// One request to a subgraph.
#[derive(Clone)]
pub(super) struct SubgraphCall<'a> {
    pub(super) subgraph: &'a str,
    pub(super) query: &'a str,
    pub(super) operation_name: Option<&'a str>,
    pub(super) variables: Object,
}

/// What a subgraph said; a call that did not come through is an error in `errors`.
#[derive(Clone, Default)]
pub(super) struct SubgraphAnswer {
    pub(super) data: Value,
    pub(super) errors: Vec<Value>,
}

/// How subgraphs are asked. Each call ends in bounded time.
pub(super) trait Subgraphs: Send + Sync {
    fn call<'a>(&'a self, call: SubgraphCall<'a>) -> BoxFuture<'a, SubgraphAnswer>;
}

/// What the nodes of one execution have in common.
pub(super) struct Execution<'a> {
    /// The supergraph's schema: it knows all types that data may be of.
    pub(super) schema: &'a Schema,
    pub(super) variables: &'a Object,
    pub(super) subgraphs: &'a dyn Subgraphs,
}

/// What a node adds: values to be merged at their places, and errors.
#[derive(Default)]
struct Outcome {
    patches: Vec<(Vec<Step>, Value)>,
    errors: Vec<Value>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.patches.extend(other.patches);
        self.errors.extend(other.errors);
    }

    fn apply(&self, data: &mut Value) {
        for (at, value) in &self.patches {
            if let Some(place) = path::place(data, at) {
                path::merge(place, value.clone());
            }
        }
    }
}

impl Execution<'_> {
    /// Completes an event's data with all that the plan adds to it.
    pub(super) async fn run(&self, plan: &PlanNode, mut data: Value, errors: &mut Vec<Value>) -> Value {
        let outcome = self.node(plan, &[], &data).await;
        outcome.apply(&mut data);
        errors.extend(outcome.errors);
        data
    }

    fn node<'a>(
        &'a self,
        node: &'a PlanNode,
        at: &'a [FetchDataPathElement],
        data: &'a Value,
    ) -> BoxFuture<'a, Outcome> {
        match node {
            PlanNode::Fetch(fetch) => Box::pin(self.fetch(fetch, at, data)),
            PlanNode::Sequence(sequence) => Box::pin(self.sequence(&sequence.nodes, at, data)),
            PlanNode::Parallel(parallel) => Box::pin(async move {
                let mut all = Outcome::default();
                for outcome in join_all(parallel.nodes.iter().map(|node| self.node(node, at, data))).await {
                    all.add(outcome);
                }
                all
            }),
            PlanNode::Flatten(flatten) => Box::pin(async move {
                let below: Vec<_> = at.iter().chain(&flatten.path).cloned().collect();
                self.node(&flatten.node, &below, data).await
            }),
            PlanNode::Condition(condition) => Box::pin(self.condition(condition, at, data)),
            // Refused when planned.
            PlanNode::Defer(_) => Box::pin(async { Outcome::default() }),
        }
    }

    async fn sequence(&self, nodes: &[PlanNode], at: &[FetchDataPathElement], data: &Value) -> Outcome {
        let mut all = Outcome::default();
        let mut data = std::borrow::Cow::Borrowed(data);
        for (index, node) in nodes.iter().enumerate() {
            let outcome = self.node(node, at, &data).await;
            // The last one's patches are read by nobody here.
            if index + 1 < nodes.len() {
                outcome.apply(data.to_mut());
            }
            all.add(outcome);
        }
        all
    }

    async fn condition(&self, condition: &ConditionNode, at: &[FetchDataPathElement], data: &Value) -> Outcome {
        let holds = self.variables.get(condition.condition_variable.as_str()) == Some(&Value::Bool(true));
        let clause = if holds { &condition.if_clause } else { &condition.else_clause };
        match clause {
            Some(clause) => self.node(clause, at, data).await,
            None => Outcome::default(),
        }
    }
}

#[cfg(test)]
mod tests;
