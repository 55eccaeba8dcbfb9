//! What has to be done to an event of `primary` before the client gets it.

use apollo_compiler::ExecutableDocument;
use apollo_compiler::executable::{Operation, Selection, SelectionSet};
use apollo_federation::query_plan::{FetchNode, PlanNode};

/// From cheapest to dearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Delivery {
    /// `primary` selects what the client did: the subgraph's bytes are the answer.
    Forward,
    /// `primary` selects more, keys or type names: the event is cut to the client's selection.
    Project,
    /// Other subgraphs have a part in it: `rest` runs, then the event is cut.
    Execute,
}

impl Delivery {
    pub(super) fn of(
        client: &ExecutableDocument,
        operation: &Operation,
        primary: &FetchNode,
        rest: Option<&PlanNode>,
    ) -> Self {
        if rest.is_some() {
            return Self::Execute;
        }
        if !primary.output_rewrites.is_empty() {
            return Self::Project;
        }
        let same = primary.operation_document.as_parsed().ok().is_some_and(|document| {
            let Ok(upstream) = document.operations.get(None) else {
                return false;
            };
            match (flat(&operation.selection_set, client), flat(&upstream.selection_set, document)) {
                (Some(client), Some(upstream)) => client == upstream,
                _ => false,
            }
        });
        if same { Self::Forward } else { Self::Project }
    }
}

/// A selection set with its fragments resolved. Arguments are left out: they are the planner's business and do not
/// change the answer's shape.
#[derive(Debug, Default, PartialEq)]
struct Flat {
    /// Whether `__typename` is selected; where it stands among the other fields says nothing.
    typename: bool,
    fields: Vec<FlatField>,
    /// Selections under a narrower type.
    narrowed: Vec<(String, Flat)>,
}

#[derive(Debug, PartialEq)]
struct FlatField {
    response_key: String,
    name: String,
    selected: Flat,
}

/// Nothing when directives decide what is selected: such an operation is never compared.
fn flat(set: &SelectionSet, document: &ExecutableDocument) -> Option<Flat> {
    let mut flat = Flat::default();
    flatten_into(&mut flat, set, document)?;
    if flat.typename {
        // An object's type name is one field of the answer, however often it is selected.
        flat.forget_typename_below();
    }
    Some(flat)
}

fn flatten_into(into: &mut Flat, set: &SelectionSet, document: &ExecutableDocument) -> Option<()> {
    for selection in &set.selections {
        match selection {
            Selection::Field(field) => {
                if !field.directives.is_empty() {
                    return None;
                }
                if field.name == "__typename" && field.alias.is_none() {
                    into.typename = true;
                    continue;
                }
                into.fields.push(FlatField {
                    response_key: field.response_key().to_string(),
                    name: field.name.to_string(),
                    selected: flat(&field.selection_set, document)?,
                });
            }
            Selection::InlineFragment(fragment) => {
                if !fragment.directives.is_empty() {
                    return None;
                }
                flatten_fragment(into, &set.ty, &fragment.selection_set, document)?;
            }
            Selection::FragmentSpread(spread) => {
                let fragment = document.fragments.get(&spread.fragment_name)?;
                if !spread.directives.is_empty() || !fragment.directives.is_empty() {
                    return None;
                }
                flatten_fragment(into, &set.ty, &fragment.selection_set, document)?;
            }
        }
    }
    Some(())
}

fn flatten_fragment(into: &mut Flat, outer: &str, set: &SelectionSet, document: &ExecutableDocument) -> Option<()> {
    if set.ty == outer {
        return flatten_into(into, set, document);
    }
    let mut narrowed = Flat::default();
    flatten_into(&mut narrowed, set, document)?;
    into.narrowed.push((set.ty.to_string(), narrowed));
    Some(())
}

impl Flat {
    fn forget_typename_below(&mut self) {
        for (_, narrowed) in &mut self.narrowed {
            narrowed.typename = false;
            narrowed.forget_typename_below();
        }
    }
}
