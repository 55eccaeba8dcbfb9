//! The form of an operation's answer: which fields in which order, of which types, and what they cost.
//!
//! Collected beforehand, as `CollectFields` of the GraphQL specification (§6.3.2) does for each object; for an interface or
//! a union once for each object that it may be. For each way in which `@skip` and `@include` may fall there is a form of
//! its own.

use std::collections::HashMap;
use std::sync::Arc;

use apollo_compiler::ast::Type;
use apollo_compiler::executable::{Directive, DirectiveList, Operation, Selection, SelectionSet};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{ExecutableDocument, Name, Schema};
use parking_lot::Mutex;
use velvet_edge::cost;

use super::super::Object;
use super::{Types, Unfit};

const TYPENAME: &str = "__typename";

/// Fields of all objects together. What is wider is Apollo Router's.
const FIELDS_MAX: usize = 2_000;
/// Variables of `@skip` and `@include`: each doubles the forms.
const CONDITIONS_MAX: usize = 3;

/// The forms of an operation's answer.
pub(in super::super) struct Shape {
    document: ExecutableDocument,
    operation_name: Option<Name>,
    /// Variables that say what is selected, each with its default.
    conditions: Vec<(Box<str>, Option<bool>)>,
    forms: Mutex<HashMap<u32, Arc<Form>>>,
}

/// One form.
pub(in super::super) struct Form {
    pub(in super::super) root: usize,
    pub(in super::super) sets: Vec<Set>,
    /// What an answer costs besides its fields; nothing when what it costs depends on the types in it.
    pub(in super::super) base_cost: Option<u64>,
}

/// The fields of one object.
pub(in super::super) struct Set {
    /// The object's type.
    pub(in super::super) typename: Box<[u8]>,
    pub(in super::super) fields: Vec<Field>,
}

pub(in super::super) struct Field {
    pub(in super::super) key: Box<[u8]>,
    /// The key with its quotes and the colon.
    pub(in super::super) written_key: Box<[u8]>,
    /// Nothing for the name of the type, which is known.
    pub(in super::super) value: Option<Value>,
    /// For being there, whatever its value is.
    pub(in super::super) cost: u64,
    /// For each value in it.
    pub(in super::super) value_cost: u64,
}

/// A type of output.
pub(in super::super) struct Value {
    pub(in super::super) nullable: bool,
    pub(in super::super) of: Of,
}

pub(in super::super) enum Of {
    Int,
    Float,
    String,
    Boolean,
    Anything,
    Enum(Vec<Box<[u8]>>),
    List(Box<Value>),
    Object(usize),
    /// The objects that it may be.
    Abstract(Vec<usize>),
}

impl Shape {
    pub(super) fn of(types: &Types, document: &ExecutableDocument, operation: &Operation) -> Result<Self, Unfit> {
        let mut conditions = Vec::new();
        let mut conditional = false;
        let sets = document.fragments.values().map(|fragment| &fragment.selection_set);
        for set in sets.chain([&operation.selection_set]) {
            find_conditions(set, &mut conditions, &mut conditional)?;
        }
        if conditions.len() > CONDITIONS_MAX {
            return Err(Unfit("too many conditions"));
        }
        let default = |name: &str| {
            let variable = operation.variables.iter().find(|variable| variable.name == name)?;
            variable.default_value.as_ref()?.to_bool()
        };
        let conditions = conditions.into_iter().map(|name| (name.as_str().into(), default(&name))).collect();
        let shape = Self {
            document: document.clone(),
            operation_name: operation.name.clone(),
            conditions,
            forms: Mutex::default(),
        };
        // Whatever is unfit is so in every form, or at least in the one without any selection left out.
        shape.make(types, u32::MAX, conditional)?;
        shape.form_of(types, 0)?;
        Ok(shape)
    }

    /// The form with these variables; nothing when they do not say it plainly.
    pub(in super::super) fn form(&self, types: &Types, variables: &Object) -> Option<Arc<Form>> {
        let mut said = 0;
        for (number, (name, default)) in self.conditions.iter().enumerate() {
            let value = match variables.get(&**name) {
                Some(value) => value.as_bool()?,
                None => (*default)?,
            };
            said |= u32::from(value) << number;
        }
        self.form_of(types, said).ok()
    }

    fn form_of(&self, types: &Types, said: u32) -> Result<Arc<Form>, Unfit> {
        if let Some(form) = self.forms.lock().get(&said) {
            return Ok(Arc::clone(form));
        }
        let form = Arc::new(self.make(types, said, !self.conditions.is_empty())?);
        self.forms.lock().insert(said, Arc::clone(&form));
        Ok(form)
    }

    fn make(&self, types: &Types, said: u32, conditional: bool) -> Result<Form, Unfit> {
        let operation = self.document.operations.get(self.operation_name.as_deref());
        let operation = operation.map_err(|_| Unfit("no such operation"))?;
        let mut maker = Maker { shape: self, types, said, sets: Vec::new(), fields: 0, is_counted: !conditional };
        let root = maker.set(&operation.selection_set.ty, &[&operation.selection_set])?;
        let base_cost = maker.is_counted.then(|| cost::base(operation.operation_type));
        Ok(Form { root, sets: maker.sets, base_cost })
    }
}

fn find_conditions(set: &SelectionSet, into: &mut Vec<Name>, conditional: &mut bool) -> Result<(), Unfit> {
    for selection in &set.selections {
        let directives = selection.directives();
        for directive in directives {
            if !matches!(directive.name.as_str(), "skip" | "include") {
                return Err(Unfit("a directive of another kind"));
            }
            *conditional = true;
            if let Some(name) = directive.specified_argument_by_name("if").and_then(|value| value.as_variable())
                && !into.contains(name)
            {
                into.push(name.clone());
            }
        }
        match selection {
            Selection::Field(field) => find_conditions(&field.selection_set, into, conditional)?,
            Selection::InlineFragment(fragment) => find_conditions(&fragment.selection_set, into, conditional)?,
            Selection::FragmentSpread(_) => {}
        }
    }
    Ok(())
}

struct Maker<'s> {
    shape: &'s Shape,
    types: &'s Types,
    /// What the conditions say, a bit for each.
    said: u32,
    sets: Vec<Set>,
    fields: usize,
    is_counted: bool,
}

/// One field of an object, with all selections of it.
struct Collected<'d> {
    key: &'d Name,
    field: &'d apollo_compiler::executable::Field,
    sets: Vec<&'d SelectionSet>,
    cost: u64,
    value_cost: u64,
}

impl<'s> Maker<'s> {
    fn api(&self) -> &'s Schema {
        &self.types.api
    }

    fn set(&mut self, object: &Name, selected: &[&'s SelectionSet]) -> Result<usize, Unfit> {
        let mut collected = Vec::new();
        for set in selected {
            self.collect(object, set, &mut collected)?;
        }
        let mut fields = Vec::with_capacity(collected.len());
        for one in collected {
            self.fields += 1;
            if self.fields > FIELDS_MAX {
                return Err(Unfit("too many fields"));
            }
            let value = match one.field.name.as_str() {
                TYPENAME => None,
                name if name.starts_with("__") => return Err(Unfit("introspection")),
                _ => Some(self.value(&one.field.definition.ty, &one.sets)?),
            };
            fields.push(Field {
                key: one.key.as_str().as_bytes().into(),
                written_key: format!("\"{}\":", one.key).into_bytes().into(),
                value,
                cost: one.cost,
                value_cost: one.value_cost,
            });
        }
        self.sets.push(Set { typename: object.as_str().as_bytes().into(), fields });
        Ok(self.sets.len() - 1)
    }

    fn collect(&mut self, object: &Name, set: &'s SelectionSet, into: &mut Vec<Collected<'s>>) -> Result<(), Unfit> {
        for selection in &set.selections {
            if !self.is_selected(selection.directives()) {
                continue;
            }
            let inner = match selection {
                Selection::Field(field) => {
                    let (cost, value_cost) =
                        cost::of_selection(&self.types.weights, &set.ty, &field.name, &field.arguments);
                    let key = field.response_key();
                    match into.iter_mut().find(|known| known.key == key) {
                        Some(known) => {
                            known.sets.push(&field.selection_set);
                            known.cost = known.cost.saturating_add(cost);
                            known.value_cost = known.value_cost.saturating_add(value_cost);
                        }
                        None => into.push(Collected { key, field, sets: vec![&field.selection_set], cost, value_cost }),
                    }
                    continue;
                }
                Selection::InlineFragment(fragment) => &fragment.selection_set,
                Selection::FragmentSpread(spread) => {
                    let fragment = self.shape.document.fragments.get(&spread.fragment_name);
                    &fragment.ok_or(Unfit("a fragment is missing"))?.selection_set
                }
            };
            // What excludes what is told by the names of types that are in the answer.
            self.is_counted &= inner.ty == set.ty || self.is_abstract(&inner.ty);
            if inner.ty == *object || self.api().is_subtype(&inner.ty, object) {
                self.collect(object, inner, into)?;
            } else {
                self.is_counted = false;
            }
        }
        Ok(())
    }

    fn is_abstract(&self, ty: &Name) -> bool {
        matches!(self.api().types.get(ty), Some(ExtendedType::Interface(_) | ExtendedType::Union(_)))
    }

    fn is_selected(&self, directives: &DirectiveList) -> bool {
        let holds = |directive: &Directive| {
            directive.specified_argument_by_name("if").is_some_and(|value| match value.as_variable() {
                Some(variable) => self.says(variable),
                None => value.to_bool() == Some(true),
            })
        };
        !directives.get("skip").is_some_and(|skip| holds(skip))
            && directives.get("include").is_none_or(|include| holds(include))
    }

    fn says(&self, variable: &Name) -> bool {
        let number = self.shape.conditions.iter().position(|(name, _)| **name == *variable.as_str());
        number.is_some_and(|number| self.said >> number & 1 == 1)
    }

    fn value(&mut self, ty: &Type, sets: &[&'s SelectionSet]) -> Result<Value, Unfit> {
        let nullable = !ty.is_non_null();
        let of = match ty {
            Type::List(item) | Type::NonNullList(item) => Of::List(Box::new(self.value(item, sets)?)),
            Type::Named(name) | Type::NonNullNamed(name) => self.named(name, sets)?,
        };
        Ok(Value { nullable, of })
    }

    fn named(&mut self, name: &Name, sets: &[&'s SelectionSet]) -> Result<Of, Unfit> {
        match (name.as_str(), self.api().types.get(name)) {
            ("Int", _) => Ok(Of::Int),
            ("Float", _) => Ok(Of::Float),
            ("String", _) => Ok(Of::String),
            ("Boolean", _) => Ok(Of::Boolean),
            // Apollo Router takes this one for the identifiers of GraphQL.
            ("Id", _) => Err(Unfit("a type with the name Id")),
            (_, Some(ExtendedType::Scalar(_))) => Ok(Of::Anything),
            (_, Some(ExtendedType::Enum(known))) => {
                Ok(Of::Enum(known.values.keys().map(|value| value.as_str().as_bytes().into()).collect()))
            }
            (_, Some(ExtendedType::Object(_))) => Ok(Of::Object(self.set(name, sets)?)),
            (_, Some(ExtendedType::Interface(_) | ExtendedType::Union(_))) => {
                let schema = self.api();
                let objects = schema.types.values().filter_map(|known| match known {
                    ExtendedType::Object(object) if schema.is_subtype(name, &object.name) => Some(&object.name),
                    _ => None,
                });
                objects.map(|object| self.set(object, sets)).collect::<Result<_, _>>().map(Of::Abstract)
            }
            _ => Err(Unfit("a type that clients do not see")),
        }
    }
}
