//! What is known of an operation before it is called: Apollo Router's own plan for it, as this executor runs it, and the
//! form of its answer.

mod plan;
mod shape;
mod variables;

use std::sync::Arc;

use apollo_compiler::ast::OperationType;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use apollo_router::services::execution::QueryPlan;
use velvet_edge::cost::Weights;

pub(super) use plan::{Fetch, Step, Stop};
pub(super) use shape::{Form, Of, Set, Shape, Value};
use variables::Variables;

/// Why an operation is left to Apollo Router's own execution, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) &'static str);

/// What operations of one schema have in common.
pub(super) struct Types {
    /// What clients see.
    pub(super) api: Valid<Schema>,
    /// All types that data may be of.
    pub(super) supergraph: Valid<Schema>,
    /// What fields cost, to measure answers by.
    pub(super) weights: Weights,
}

/// An operation as it runs.
pub(super) struct Program {
    pub(super) kind: OperationType,
    pub(super) name: Option<Box<str>>,
    pub(super) step: Step,
    pub(super) shape: Shape,
    variables: Variables,
}

impl Program {
    /// From the plan that Apollo Router has made of a text.
    pub(super) fn of(types: &Types, text: &str, operation_name: Option<&str>, plan: &QueryPlan) -> Result<Self, Unfit> {
        let document = ExecutableDocument::parse(&types.api, text, "operation.graphql");
        let document = document.map_err(|_| Unfit("the text does not parse"))?;
        let operation = document.operations.get(operation_name).map_err(|_| Unfit("no such operation"))?;
        if operation.operation_type == OperationType::Subscription {
            return Err(Unfit("a subscription"));
        }
        Ok(Self {
            kind: operation.operation_type,
            name: operation.name.as_ref().map(|name| name.as_str().into()),
            step: plan::read(plan, text)?,
            shape: Shape::of(types, &document, operation)?,
            variables: Variables::of(operation),
        })
    }

    /// Whether Apollo Router would take these variables; false as well for what is not plain.
    pub(super) fn takes(&self, types: &Types, variables: &super::Object) -> bool {
        self.variables.admit(&types.api, variables)
    }
}

/// What is known of a text.
#[derive(Clone)]
pub(super) enum Known {
    /// Its plan is being looked at.
    Pending,
    /// It is left to Apollo Router.
    Unfit,
    Program(Arc<Program>),
}
