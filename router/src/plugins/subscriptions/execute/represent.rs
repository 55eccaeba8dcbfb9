//! Representations: what a subgraph has to know of an entity to go on with it.

use apollo_compiler::Schema;
use apollo_federation::query_plan::requires_selection::Selection;
use serde_json_bytes::{ByteString, Value};

use super::Object;
use super::path::is_of_type;

/// The part of an entity that `requires` selects. Nothing when the entity is of another type or a part is missing: a
/// field that could not be had leaves nothing to ask with.
pub(super) fn representation(schema: &Schema, entity: &Value, requires: &[Selection]) -> Option<Object> {
    let mut selected = Object::new();
    select_into(schema, entity, requires, &mut selected)?;
    // With the type's name alone there is no key.
    (selected.keys().any(|key| key.as_str() != "__typename")).then_some(selected)
}

fn select_into(schema: &Schema, entity: &Value, selections: &[Selection], into: &mut Object) -> Option<()> {
    let object = entity.as_object()?;
    for selection in selections {
        match selection {
            Selection::Field(field) => {
                let key = field.alias.as_ref().unwrap_or(&field.name).as_str();
                let value = select_value(schema, object.get(key)?, &field.selections)?;
                into.insert(ByteString::from(key), value);
            }
            Selection::InlineFragment(fragment) => {
                let applies = fragment.type_condition.as_ref().is_none_or(|ty| is_of_type(schema, entity, ty));
                if applies {
                    select_into(schema, entity, &fragment.selections, into)?;
                }
            }
        }
    }
    Some(())
}

fn select_value(schema: &Schema, value: &Value, selections: &[Selection]) -> Option<Value> {
    if selections.is_empty() {
        return Some(value.clone());
    }
    match value {
        Value::Null => Some(Value::Null),
        Value::Array(items) => items
            .iter()
            .map(|item| select_value(schema, item, selections))
            .collect::<Option<Vec<_>>>()
            .map(Value::Array),
        _ => {
            let mut object = Object::new();
            select_into(schema, value, selections, &mut object)?;
            Some(Value::Object(object))
        }
    }
}
