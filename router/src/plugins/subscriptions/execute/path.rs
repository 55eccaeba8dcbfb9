//! Places in a response: the planner's patterns and the concrete places that they match.

use apollo_compiler::Schema;
use apollo_federation::query_plan::FetchDataPathElement;
use serde_json_bytes::{ByteString, Value};

/// One step to a concrete place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(ByteString),
    Index(usize),
}

impl Step {
    /// As it stands in an error's `path`.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Key(key) => Value::String(key.clone()),
            Self::Index(index) => Value::from(*index),
        }
    }
}

/// Whether an object in the data is of the type or of a type that implements it. An object without `__typename` is of
/// any: the planner asks for it wherever it matters.
pub(super) fn is_of_type(schema: &Schema, value: &Value, ty: &str) -> bool {
    match value.get("__typename").and_then(Value::as_str) {
        Some(runtime) => runtime == ty || schema.is_subtype(ty, runtime),
        None => true,
    }
}

/// Calls `found` for each place in `data` that the pattern matches. Lists are entered wherever they stand: the planner
/// may leave out their mark. Nulls and what is missing match nothing.
pub(super) fn select<'d>(
    schema: &Schema,
    data: &'d Value,
    pattern: &[FetchDataPathElement],
    found: &mut impl FnMut(&[Step], &'d Value),
) {
    walk(schema, data, pattern, &mut Vec::new(), found);
}

fn walk<'d>(
    schema: &Schema,
    data: &'d Value,
    pattern: &[FetchDataPathElement],
    at: &mut Vec<Step>,
    found: &mut impl FnMut(&[Step], &'d Value),
) {
    if let Value::Array(items) = data {
        let rest = match pattern.split_first() {
            Some((FetchDataPathElement::AnyIndex(_), rest)) => rest,
            _ => pattern,
        };
        for (index, item) in items.iter().enumerate() {
            at.push(Step::Index(index));
            walk(schema, item, rest, at, found);
            at.pop();
        }
        return;
    }
    if data.is_null() {
        return;
    }
    let Some((element, rest)) = pattern.split_first() else {
        found(at, data);
        return;
    };
    match element {
        FetchDataPathElement::Key(name, conditions) => {
            let Some((key, value)) = data.as_object().and_then(|object| object.get_key_value(name.as_str())) else {
                return;
            };
            let applies = conditions.as_ref().is_none_or(|types| types.iter().any(|ty| is_of_type(schema, data, ty)));
            if applies {
                at.push(Step::Key(key.clone()));
                walk(schema, value, rest, at, found);
                at.pop();
            }
        }
        FetchDataPathElement::TypenameEquals(ty) if is_of_type(schema, data, ty) => {
            walk(schema, data, rest, at, found);
        }
        // A list was promised and is not there, the type is another, or (Parent) a part of @fromContext, which is
        // refused when planned.
        _ => {}
    }
}

/// As [`select`], to change what is found.
pub(super) fn select_mut(
    schema: &Schema,
    data: &mut Value,
    pattern: &[FetchDataPathElement],
    change: &mut impl FnMut(&mut Value),
) {
    if let Value::Array(items) = data {
        let rest = match pattern.split_first() {
            Some((FetchDataPathElement::AnyIndex(_), rest)) => rest,
            _ => pattern,
        };
        for item in items {
            select_mut(schema, item, rest, change);
        }
        return;
    }
    let Some((element, rest)) = pattern.split_first() else {
        change(data);
        return;
    };
    match element {
        FetchDataPathElement::Key(name, _) => {
            if let Some(value) = data.as_object_mut().and_then(|object| object.get_mut(name.as_str())) {
                select_mut(schema, value, rest, change);
            }
        }
        FetchDataPathElement::TypenameEquals(ty) if is_of_type(schema, data, ty) => {
            select_mut(schema, data, rest, change);
        }
        _ => {}
    }
}

/// The value at a concrete place; objects on the way are made where there is none.
pub(super) fn place<'d>(data: &'d mut Value, at: &[Step]) -> Option<&'d mut Value> {
    let mut value = data;
    for step in at {
        value = match step {
            Step::Key(key) => {
                if value.is_null() {
                    *value = Value::Object(super::super::protocol::Object::new());
                }
                value.as_object_mut()?.entry(key.clone()).or_insert(Value::Null)
            }
            Step::Index(index) => value.as_array_mut()?.get_mut(*index)?,
        };
    }
    Some(value)
}

/// Adds what `from` has to `into`: objects and lists member by member, else `from` wins unless it is null.
pub(super) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                match into.get_mut(key.as_str()) {
                    Some(existing) => merge(existing, value),
                    None => {
                        into.insert(key, value);
                    }
                }
            }
        }
        (Value::Array(into), Value::Array(from)) if into.len() == from.len() => {
            for (existing, value) in into.iter_mut().zip(from) {
                merge(existing, value);
            }
        }
        (into, from) => *into = from,
    }
}
