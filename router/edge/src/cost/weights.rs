//! What the schema says about costs, read once.

use std::collections::HashMap;

use apollo_compiler::ast::{DirectiveList, FieldDefinition, InputValueDefinition, OperationType, Value};
use apollo_compiler::schema::{self, Component, ExtendedType};
use apollo_compiler::{Name, Node, Schema};

use super::LIST_SIZE_ASSUMED;
use crate::limits::PAGE_ARGUMENTS;

/// What a connection's page is repeated in.
const CONNECTION_FIELDS: [&str; 2] = ["edges", "nodes"];

/// A weight in the schema that is no number, or a negative one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}: @cost needs a weight of at least 0")]
pub struct Unweighable(String);

/// The weights of a schema's types and fields.
#[derive(Debug)]
pub struct Weights {
    types: HashMap<Name, TypeWeights>,
    roots: [Option<Name>; 3],
}

#[derive(Debug, Default)]
pub(super) struct TypeWeights {
    /// Of one value.
    pub(super) weight: u64,
    /// An interface or a union: a value is of another type.
    pub(super) is_abstract: bool,
    fields: HashMap<Name, FieldWeights>,
}

#[derive(Debug)]
pub(super) struct FieldWeights {
    /// Without lists and exclamation marks.
    pub(super) named_type: Name,
    pub(super) is_list: bool,
    /// Its own; otherwise its type's.
    pub(super) weight: Option<u64>,
    pub(super) size: Option<ListSize>,
    arguments: HashMap<Name, ArgumentWeights>,
}

#[derive(Debug)]
pub(super) struct ArgumentWeights {
    pub(super) weight: u64,
    pub(super) default: Option<Node<Value>>,
}

/// How many entries a field gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ListSize {
    pub(super) assumed: u64,
    /// Arguments that say it; with dots, members of inputs.
    pub(super) slicing: Vec<Box<str>>,
    /// The fields of the returned object that are so long; without any, it is the field itself.
    pub(super) sized: Vec<Name>,
    /// Whether exactly one of the arguments must be there.
    pub(super) exactly_one: bool,
}

impl Weights {
    /// Reads a supergraph's or any other schema.
    pub fn of(schema: &Schema) -> Result<Self, Unweighable> {
        let mut own = HashMap::new();
        for (name, definition) in &schema.types {
            own.insert(name, type_weight(name, definition)?);
        }
        let mut types = HashMap::with_capacity(schema.types.len());
        for (name, definition) in &schema.types {
            let fields = match definition {
                ExtendedType::Object(object) => Some(&object.fields),
                ExtendedType::Interface(interface) => Some(&interface.fields),
                _ => None,
            };
            let mut weights = TypeWeights {
                weight: own.get(name).copied().unwrap_or_default(),
                is_abstract: matches!(definition, ExtendedType::Interface(_) | ExtendedType::Union(_)),
                fields: HashMap::new(),
            };
            for (field_name, field) in fields.into_iter().flatten() {
                let place = format!("{name}.{field_name}");
                weights.fields.insert(field_name.clone(), field_weights(schema, &own, &place, field)?);
            }
            types.insert(name.clone(), weights);
        }
        let root = |kind| schema.root_operation(kind).cloned();
        let roots = [OperationType::Query, OperationType::Mutation, OperationType::Subscription].map(root);
        Ok(Self { types, roots })
    }

    pub(super) fn root(&self, kind: OperationType) -> Option<&Name> {
        let number = match kind {
            OperationType::Query => 0,
            OperationType::Mutation => 1,
            OperationType::Subscription => 2,
        };
        self.roots[number].as_ref()
    }

    pub(super) fn of_type(&self, name: &str) -> Option<&TypeWeights> {
        self.types.get(name)
    }

    pub(super) fn of_field(&self, parent: &str, field: &str) -> Option<&FieldWeights> {
        self.types.get(parent)?.fields.get(field)
    }

    /// Of one value of a field.
    pub(super) fn of_value(&self, field: &FieldWeights) -> u64 {
        field.weight.or_else(|| Some(self.of_type(&field.named_type)?.weight)).unwrap_or_default()
    }
}

impl FieldWeights {
    pub(super) fn argument(&self, name: &str) -> Option<&ArgumentWeights> {
        self.arguments.get(name)
    }
}

fn type_weight(name: &Name, definition: &ExtendedType) -> Result<u64, Unweighable> {
    let directives = match definition {
        ExtendedType::Scalar(scalar) => &scalar.directives,
        ExtendedType::Object(object) => &object.directives,
        ExtendedType::Interface(interface) => &interface.directives,
        ExtendedType::Union(union) => &union.directives,
        ExtendedType::Enum(values) => &values.directives,
        ExtendedType::InputObject(input) => &input.directives,
    };
    let stated = directives.get("cost").and_then(|cost| cost.specified_argument_by_name("weight"));
    let default = u64::from(!matches!(definition, ExtendedType::Scalar(_) | ExtendedType::Enum(_)));
    stated.map_or(Ok(default), |stated| weight(name.as_str(), stated))
}

fn field_weights(
    schema: &Schema,
    own: &HashMap<&Name, u64>,
    place: &str,
    field: &Component<FieldDefinition>,
) -> Result<FieldWeights, Unweighable> {
    let mut arguments = HashMap::with_capacity(field.arguments.len());
    for argument in &field.arguments {
        let place = format!("{place}({}:)", argument.name);
        let default = own.get(argument.ty.inner_named_type()).copied().unwrap_or_default();
        let weight = stated_weight(&place, &argument.directives)?.unwrap_or(default);
        let weights = ArgumentWeights { weight, default: argument.default_value.clone() };
        arguments.insert(argument.name.clone(), weights);
    }
    Ok(FieldWeights {
        named_type: field.ty.inner_named_type().clone(),
        is_list: field.ty.is_list(),
        weight: stated_weight(place, &field.directives)?,
        size: stated_size(field).or_else(|| page_size(schema, field)),
        arguments,
    })
}

fn stated_weight(place: &str, directives: &DirectiveList) -> Result<Option<u64>, Unweighable> {
    let stated = directives.get("cost").and_then(|cost| cost.specified_argument_by_name("weight"));
    stated.map(|stated| weight(place, stated)).transpose()
}

fn weight(place: &str, stated: &Value) -> Result<u64, Unweighable> {
    let number = match stated {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        Value::Int(number) => number.try_to_f64().ok(),
        Value::Float(number) => number.try_to_f64().ok(),
        _ => None,
    };
    match number.filter(|number| number.is_finite() && *number >= 0.0) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative and saturates")]
        Some(number) => Ok(number.ceil() as u64),
        None => Err(Unweighable(place.to_owned())),
    }
}

fn stated_size(field: &FieldDefinition) -> Option<ListSize> {
    let directive = field.directives.get("listSize")?;
    let names = |argument: &str| -> Vec<&str> {
        let list = directive.specified_argument_by_name(argument).and_then(|value| value.as_list());
        list.unwrap_or_default().iter().filter_map(|name| name.as_str()).collect()
    };
    let assumed = directive.specified_argument_by_name("assumedSize").and_then(|size| size.to_i32());
    let exactly_one = directive.specified_argument_by_name("requireOneSlicingArgument").and_then(|one| one.to_bool());
    let slicing: Vec<Box<str>> = names("slicingArguments").into_iter().map(Into::into).collect();
    Some(ListSize {
        assumed: assumed.and_then(|size| u64::try_from(size).ok()).unwrap_or(LIST_SIZE_ASSUMED),
        exactly_one: !slicing.is_empty() && exactly_one.unwrap_or(true),
        slicing,
        sized: names("sizedFields").into_iter().filter_map(|name| Name::new(name).ok()).collect(),
    })
}

/// A page by its arguments' names.
fn page_size(schema: &Schema, field: &FieldDefinition) -> Option<ListSize> {
    let is_page = |argument: &&Node<InputValueDefinition>| PAGE_ARGUMENTS.contains(&argument.name.as_str());
    let slicing: Vec<Box<str>> =
        field.arguments.iter().filter(is_page).map(|argument| argument.name.as_str().into()).collect();
    if slicing.is_empty() {
        return None;
    }
    let mut size = ListSize { assumed: LIST_SIZE_ASSUMED, slicing, ..ListSize::default() };
    if !field.ty.is_list() {
        let schema::ExtendedType::Object(connection) = schema.types.get(field.ty.inner_named_type())? else {
            return None;
        };
        let lists = connection.fields.iter().filter(|(_, field)| field.ty.is_list()).map(|(name, _)| name.clone());
        size.sized = lists.filter(|name| CONNECTION_FIELDS.contains(&name.as_str())).collect();
        if size.sized.is_empty() {
            return None;
        }
    }
    Some(size)
}
