//! The cost of a response: what was selected, as often as it came.

use apollo_compiler::Name;
use apollo_compiler::ast::{Field, Selection};
use apollo_compiler::response::JsonMap;
use serde_json_bytes::Value;

use super::estimate::{Alternatives, arguments_cost};
use super::weights::{FieldWeights, Weights};
use crate::limits::Document;

/// Of what is selected of one object that came. Where its type is not told, of fragments that exclude each other the one
/// counts of which most is there.
pub(super) fn of_object(
    weights: &Weights,
    document: &Document,
    selections: &[Selection],
    parent: &Name,
    object: &JsonMap,
) -> u64 {
    let told = object.get("__typename").and_then(Value::as_str);
    let mut cost = 0_u64;
    let mut alternatives = Alternatives::default();
    for selection in selections {
        let (condition, inner) = match selection {
            Selection::Field(field) => {
                cost = cost.saturating_add(of_field(weights, document, field, parent, object));
                continue;
            }
            Selection::InlineFragment(fragment) => (fragment.type_condition.as_ref(), &fragment.selection_set),
            Selection::FragmentSpread(spread) => match document.fragment(&spread.fragment_name) {
                Some(fragment) => (Some(&fragment.type_condition), &fragment.selection_set),
                None => continue,
            },
        };
        let inner_parent = condition.unwrap_or(parent);
        let is_other = told.is_some_and(|told| {
            told != inner_parent.as_str() && weights.of_type(inner_parent).is_some_and(|known| !known.is_abstract)
        });
        if !is_other {
            let inner_cost = of_object(weights, document, inner, inner_parent, object);
            alternatives.add(weights, Some(parent), condition, inner_cost);
        }
    }
    cost.saturating_add(alternatives.cost())
}

fn of_field(weights: &Weights, document: &Document, field: &Field, parent: &Name, object: &JsonMap) -> u64 {
    let key = field.alias.as_ref().unwrap_or(&field.name);
    let (Some(value), Some(known)) = (object.get(key.as_str()), weights.of_field(parent, &field.name)) else {
        return 0;
    };
    let values = of_value(weights, document, field, known, value);
    values.saturating_add(arguments_cost(known, &field.arguments))
}

fn of_value(weights: &Weights, document: &Document, field: &Field, known: &FieldWeights, value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        Value::Array(items) => {
            items.iter().fold(0, |cost, item| cost.saturating_add(of_value(weights, document, field, known, item)))
        }
        Value::Object(object) if !field.selection_set.is_empty() => {
            let inner = of_object(weights, document, &field.selection_set, &known.named_type, object);
            weights.of_value(known).saturating_add(inner)
        }
        _ => weights.of_value(known),
    }
}
