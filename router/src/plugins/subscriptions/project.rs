//! Cuts collected data to the client's selection: `CompleteValue` of the GraphQL specification (§6.4.3) over data that
//! is already there.
//!
//! What is missing is null; a null where the schema forbids one nulls the nearest parent that may be null.

use apollo_compiler::ast::Type;
use apollo_compiler::executable::{Directive, DirectiveList, Field, Selection, SelectionSet};
use apollo_compiler::{ExecutableDocument, Schema};
use serde_json_bytes::{ByteString, Value, json};

use super::plan::Plan;
use super::protocol::Object;

const TYPENAME: &str = "__typename";

/// The answer to `plan`'s operation out of `data`. A null that the schema forbids and that no error explains adds one
/// to `errors`.
pub(super) fn project(plan: &Plan, variables: &Object, data: &Value, errors: &mut Vec<Value>) -> Value {
    let Some(operation) = plan.operation() else {
        return Value::Null;
    };
    let mut projection = Projection {
        schema: &plan.api_schema,
        document: &plan.document,
        variables,
        path: Vec::new(),
        forbidden_null: None,
    };
    let result = data.as_object().and_then(|data| {
        projection.object(data, operation.selection_set.ty.as_str(), &[&operation.selection_set]).ok()
    });
    if let Some(path) = projection.forbidden_null.filter(|_| errors.is_empty()) {
        errors.push(json!({
            "message": "a field that is never null has no value",
            "path": path,
            "extensions": { "code": "INTERNAL" },
        }));
    }
    result.map_or(Value::Null, Value::Object)
}

/// The value is null and its parent has to be as well.
struct NullParent;

struct Projection<'a> {
    schema: &'a Schema,
    document: &'a ExecutableDocument,
    variables: &'a Object,
    path: Vec<Value>,
    /// The first place where a null stood that the schema forbids.
    forbidden_null: Option<Vec<Value>>,
}

/// The selections of one response key within one object; they have one field definition in common.
type Collected<'a> = Vec<(&'a str, Vec<&'a Field>)>;

impl<'a> Projection<'a> {
    fn object(&mut self, data: &Object, declared: &str, sets: &[&'a SelectionSet]) -> Result<Object, NullParent> {
        let runtime = data.get(TYPENAME).and_then(Value::as_str).unwrap_or(declared);
        let mut collected = Vec::new();
        for set in sets {
            self.collect(set, runtime, &mut collected);
        }
        let mut object = Object::with_capacity(collected.len());
        for (key, fields) in collected {
            let Some(field) = fields.first() else { continue };
            let value = if field.name == TYPENAME {
                Value::from(runtime)
            } else {
                let sets: Vec<_> = fields.iter().map(|field| &field.selection_set).collect();
                self.path.push(Value::from(key));
                let value = self.complete(data.get(key), &field.definition.ty, &sets);
                self.path.pop();
                value?
            };
            object.insert(ByteString::from(key), value);
        }
        Ok(object)
    }

    /// `CollectFields`, §6.3.2.
    fn collect(&self, set: &'a SelectionSet, runtime: &str, collected: &mut Collected<'a>) {
        for selection in &set.selections {
            match selection {
                Selection::Field(field) if self.included(&field.directives) => {
                    let key = field.response_key().as_str();
                    match collected.iter_mut().find(|(existing, _)| *existing == key) {
                        Some((_, fields)) => fields.push(field),
                        None => collected.push((key, vec![field])),
                    }
                }
                Selection::InlineFragment(fragment)
                    if self.included(&fragment.directives) && self.applies(&fragment.selection_set, runtime) =>
                {
                    self.collect(&fragment.selection_set, runtime, collected);
                }
                Selection::FragmentSpread(spread) if self.included(&spread.directives) => {
                    if let Some(fragment) = self.document.fragments.get(&spread.fragment_name)
                        && self.applies(&fragment.selection_set, runtime)
                    {
                        self.collect(&fragment.selection_set, runtime, collected);
                    }
                }
                _ => {}
            }
        }
    }

    fn applies(&self, fragment: &SelectionSet, runtime: &str) -> bool {
        fragment.ty == runtime || self.schema.is_subtype(&fragment.ty, runtime)
    }

    fn included(&self, directives: &DirectiveList) -> bool {
        let condition = |directive: &Directive| {
            directive.specified_argument_by_name("if").is_some_and(|value| match value.as_variable() {
                Some(variable) => self.variables.get(variable.as_str()) == Some(&Value::Bool(true)),
                None => value.to_bool() == Some(true),
            })
        };
        !directives.get("skip").is_some_and(|skip| condition(skip))
            && directives.get("include").is_none_or(|include| condition(include))
    }

    fn complete(&mut self, value: Option<&Value>, ty: &Type, sets: &[&'a SelectionSet]) -> Result<Value, NullParent> {
        match ty {
            Type::Named(name) => Ok(self.named(value, name, sets).unwrap_or(Value::Null)),
            Type::List(item) => Ok(self.list(value, item, sets).unwrap_or(Value::Null)),
            Type::NonNullNamed(name) => {
                let completed = self.named(value, name, sets);
                self.never_null(completed)
            }
            Type::NonNullList(item) => {
                let completed = self.list(value, item, sets);
                self.never_null(completed)
            }
        }
    }

    fn never_null(&mut self, value: Option<Value>) -> Result<Value, NullParent> {
        value.filter(|value| !value.is_null()).ok_or_else(|| {
            if self.forbidden_null.is_none() {
                self.forbidden_null = Some(self.path.clone());
            }
            NullParent
        })
    }

    fn named(&mut self, value: Option<&Value>, name: &str, sets: &[&'a SelectionSet]) -> Option<Value> {
        let leaf = sets.iter().all(|set| set.selections.is_empty());
        match value? {
            // A scalar may be any JSON, an object too.
            value if leaf => Some(value.clone()),
            Value::Object(object) => self.object(object, name, sets).ok().map(Value::Object),
            _ => None,
        }
    }

    fn list(&mut self, value: Option<&Value>, item: &Type, sets: &[&'a SelectionSet]) -> Option<Value> {
        let Value::Array(items) = value? else {
            return None;
        };
        let mut completed = Vec::with_capacity(items.len());
        for (index, value) in items.iter().enumerate() {
            self.path.push(Value::from(index));
            let value = self.complete(Some(value), item, sets);
            self.path.pop();
            completed.push(value.ok()?);
        }
        Some(Value::Array(completed))
    }
}
