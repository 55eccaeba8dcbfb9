//! What an operation costs, by the GraphQL Cost Directives specification (<https://ibm.github.io/graphql-specs/cost-spec.html>):
//! an object or input costs 1, a scalar nothing, a list its entries times its size, a mutation 10 more.
//!
//! `@cost(weight:)` on a field, an argument or a type sets another weight; `@listSize` says how long a list is. Without it,
//! a field that takes `first` or `last` is a page: of its own list, or of the `edges` and `nodes` of what it returns.
//!
//! What differs from the specification: weights are not negative and are rounded up to whole numbers; a field's own weight
//! takes the place of its type's instead of being added; members of input objects have no weight of their own; and two
//! selections of one field are counted both.

mod actual;
mod estimate;
#[cfg(test)]
mod tests;
mod weights;

use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, OperationType};
use apollo_compiler::response::JsonMap;
use serde_json_bytes::Value;

use crate::limits::{Document, Refusal};
use estimate::Walk;
pub use weights::{Unweighable, Weights};

/// What a mutation costs besides its fields.
const MUTATION_WEIGHT: u64 = 10;

/// Entries of a list that nothing is said about.
pub const LIST_SIZE_ASSUMED: u64 = 20;

/// Entries of a page whose size is a variable that has no value yet: the longest page there is.
pub const PAGE_SIZE_UNKNOWN: u64 = 100;

/// What an operation may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// In units of one object. It stops at the largest number that there is.
    pub cost: u64,
}

/// The most that an operation costs with these variables; nothing when the document has no such operation. Without
/// variables, as when it is looked at before anybody calls it, a page is as long as a page can be.
pub fn estimate(
    weights: &Weights,
    document: &Document,
    operation_name: Option<&str>,
    variables: Option<&JsonMap>,
) -> Result<Option<Estimate>, Refusal> {
    let Some(operation) = document.operation(operation_name) else { return Ok(None) };
    let Some(root) = weights.root(operation.operation_type) else { return Ok(None) };
    let mut walk = Walk::new(weights, document, operation, variables);
    let cost = walk.selections(&operation.selection_set, Some(root), None)?;
    Ok(Some(Estimate { cost: cost.saturating_add(base(operation.operation_type)) }))
}

/// What a response has cost: the same weights, with the entries that came.
pub fn actual(weights: &Weights, document: &Document, operation_name: Option<&str>, data: &Value) -> Option<u64> {
    let operation = document.operation(operation_name)?;
    let root = weights.root(operation.operation_type)?;
    let cost = match data {
        Value::Object(data) => actual::of_object(weights, document, &operation.selection_set, root, data),
        _ => 0,
    };
    Some(cost.saturating_add(base(operation.operation_type)))
}

/// What one selection of a field costs in a response: for the field being there, and for each value in it.
pub fn of_selection(weights: &Weights, parent: &str, field: &str, arguments: &[Node<Argument>]) -> (u64, u64) {
    let known = weights.of_field(parent, field);
    known.map(|known| (estimate::arguments_cost(known, arguments), weights.of_value(known))).unwrap_or_default()
}

/// What an operation costs besides its fields.
pub const fn base(kind: OperationType) -> u64 {
    match kind {
        OperationType::Mutation => MUTATION_WEIGHT,
        OperationType::Query | OperationType::Subscription => 0,
    }
}
