//! Which streams are the same whoever follows them.
//!
//! A subgraph marks the field of a subscription with a directive that it imports from
//! `https://velvet.dev/streams/v1.0` and composes: `directive @independent(signedIn: Boolean) on FIELD_DEFINITION`. Such a
//! stream is asked for, and what is selected below it is fetched, in nobody's name; so it cannot hold what depends on the
//! viewer.

use std::collections::HashMap;

use apollo_compiler::ast::{Directive, OperationType};
use apollo_compiler::executable::Operation;
use apollo_compiler::{ExecutableDocument, Name, Schema};

const DIRECTIVE: &str = "independent";

/// Who may follow a stream that is the same for all who do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum OpenTo {
    /// Anybody.
    All,
    /// Those with a token: the router looks at it, as the subgraph sees none.
    SignedIn,
}

/// The marked fields of a schema.
pub(super) struct Independent(HashMap<Name, OpenTo>);

impl Independent {
    pub(super) fn of(schema: &Schema) -> Self {
        let root = schema.root_operation(OperationType::Subscription).and_then(|name| schema.get_object(name));
        let fields = root.into_iter().flat_map(|root| &root.fields);
        let marked = fields.filter_map(|(name, field)| Some((name.clone(), open_to(field.directives.get(DIRECTIVE)?))));
        Self(marked.collect())
    }

    /// Nothing when the operation's stream depends on the viewer.
    pub(super) fn open_to(&self, operation: &Operation, document: &ExecutableDocument) -> Option<OpenTo> {
        let field = operation.root_fields(document).next()?;
        self.0.get(&field.name).copied()
    }
}

fn open_to(directive: &Directive) -> OpenTo {
    match directive.specified_argument_by_name("signedIn").and_then(|value| value.to_bool()) {
        Some(true) => OpenTo::SignedIn,
        _ => OpenTo::All,
    }
}
