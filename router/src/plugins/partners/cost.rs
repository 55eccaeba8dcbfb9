//! What an operation costs, as it is written into the registry when the operation is published.

use apollo_compiler::ExecutableDocument;
use apollo_compiler::executable::Operation;
use apollo_compiler::validation::Valid;

/// The operation's cost: each field that it selects, fragments included.
pub(super) fn cost(document: &Valid<ExecutableDocument>, operation: &Operation) -> u32 {
    u32::try_from(operation.all_fields(document).count()).unwrap_or(u32::MAX)
}
