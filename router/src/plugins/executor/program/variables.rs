//! Variables as Apollo Router takes them. It passes them on as they came, so nothing is changed here.

use apollo_compiler::Schema;
use apollo_compiler::ast::Type;
use apollo_compiler::executable::Operation;
use apollo_compiler::schema::ExtendedType;
use serde_json_bytes::Value;

use super::super::Object;

/// What an operation declares.
pub(super) struct Variables(Vec<Declared>);

struct Declared {
    name: Box<str>,
    ty: Type,
    has_default: bool,
}

impl Variables {
    pub(super) fn of(operation: &Operation) -> Self {
        let declared = operation.variables.iter().map(|variable| Declared {
            name: variable.name.as_str().into(),
            ty: (*variable.ty).clone(),
            has_default: variable.default_value.is_some(),
        });
        Self(declared.collect())
    }

    /// False for what Apollo Router refuses, and for what it takes only after a second look.
    pub(super) fn admit(&self, schema: &Schema, variables: &Object) -> bool {
        self.0.iter().all(|declared| match variables.get(&*declared.name) {
            None => declared.has_default || !declared.ty.is_non_null(),
            Some(value) => admits(schema, &declared.ty, value),
        })
    }
}

fn admits(schema: &Schema, ty: &Type, value: &Value) -> bool {
    if value.is_null() {
        return !ty.is_non_null();
    }
    match ty {
        Type::List(item) | Type::NonNullList(item) => {
            value.as_array().is_some_and(|items| items.iter().all(|value| admits(schema, item, value)))
        }
        Type::Named(name) | Type::NonNullNamed(name) => match name.as_str() {
            "Int" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            "Float" => value.as_f64().is_some_and(f64::is_finite),
            "Boolean" => value.is_boolean(),
            "String" | "ID" => value.is_string(),
            name => schema.types.get(name).is_some_and(|known| admits_named(schema, known, value)),
        },
    }
}

fn admits_named(schema: &Schema, known: &ExtendedType, value: &Value) -> bool {
    match (known, value) {
        (ExtendedType::Scalar(_), _) => true,
        (ExtendedType::Enum(known), Value::String(value)) => known.values.contains_key(value.as_str()),
        (ExtendedType::InputObject(known), Value::Object(members)) => {
            members.keys().all(|name| known.fields.contains_key(name.as_str()))
                && known.fields.values().all(|field| match members.get(field.name.as_str()) {
                    None | Some(Value::Null) => field.default_value.is_some() || !field.ty.is_non_null(),
                    Some(value) => admits(schema, &field.ty, value),
                })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use apollo_compiler::ExecutableDocument;
    use serde_json_bytes::{Value, json};

    use super::*;

    const SCHEMA: &str = "
        type Query { f(i: Int!, l: [String!], e: E, o: O, d: Int! = 1, x: X): Int }
        enum E { A B }
        scalar X
        input O { a: Int!, b: O, c: Int! = 3, id: ID, f: Float, t: Boolean }
    ";
    const TEXT: &str = "query($i: Int!, $l: [String!], $e: E, $o: O, $d: Int! = 1, $x: X) {
        f(i: $i, l: $l, e: $e, o: $o, d: $d, x: $x)
    }";

    fn admits(variables: Value) -> bool {
        let schema = Schema::parse_and_validate(SCHEMA, "s").unwrap();
        let document = ExecutableDocument::parse_and_validate(&schema, TEXT, "o").unwrap();
        let declared = Variables::of(document.operations.get(None).unwrap());
        let Value::Object(variables) = variables else { panic!("an object") };
        declared.admit(&schema, &variables)
    }

    #[test]
    fn what_is_plainly_good_is_taken() {
        for good in [
            json!({ "i": 1 }),
            json!({ "i": -1, "l": null, "e": "A", "o": { "a": 1, "b": { "a": 2, "f": 1, "t": true } }, "unknown": 1 }),
            json!({ "i": 1, "l": ["a"], "o": { "a": 1, "c": null, "id": "7" }, "d": 2, "x": { "any": [] } }),
        ] {
            assert!(admits(good.clone()), "{good}");
        }
    }

    #[test]
    fn what_is_not_is_for_apollo_router_to_judge() {
        for bad in [
            json!({}),
            json!({ "i": null }),
            json!({ "i": "1" }),
            json!({ "i": 1.5 }),
            json!({ "i": 3_000_000_000_u64 }),
            json!({ "i": 1, "l": "a" }),
            json!({ "i": 1, "l": [null] }),
            json!({ "i": 1, "e": "C" }),
            json!({ "i": 1, "e": 1 }),
            json!({ "i": 1, "o": {} }),
            json!({ "i": 1, "o": { "a": 1, "z": 1 } }),
            json!({ "i": 1, "o": { "a": 1, "b": {} } }),
            json!({ "i": 1, "d": null }),
        ] {
            assert!(!admits(bad.clone()), "{bad}");
        }
    }
}
