//! Operations by chance, over all that clients see of a graph.

use std::fmt::Write as _;

use apollo_compiler::ast::{OperationType, Type};
use apollo_compiler::schema::{ExtendedType, FieldDefinition};
use apollo_compiler::{Name, Schema};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

const DEPTH_MAX: u32 = 3;

pub struct Operation {
    pub text: String,
    pub variables: Value,
}

impl Operation {
    /// Whether nothing in it makes a plan of a kind that is Apollo Router's.
    pub fn is_plain(&self) -> bool {
        !["@skip", "@include", "... on"].iter().any(|part| self.text.contains(part))
    }
}

struct Maker<'s> {
    schema: &'s Schema,
    random: StdRng,
    /// Declared variables.
    declared: Vec<String>,
    values: Map<String, Value>,
    aliases: u32,
    directives: u32,
    fields: u32,
}

/// The operation of that number.
pub fn operation(schema: &Schema, number: u64) -> Operation {
    let random = StdRng::seed_from_u64(number);
    let mut maker =
        Maker { schema, random, declared: Vec::new(), values: Map::new(), aliases: 0, directives: 0, fields: 0 };
    let (kind, word) = match number % 6 {
        0 => (OperationType::Mutation, "mutation"),
        _ => (OperationType::Query, "query"),
    };
    let root = schema.root_operation(kind).unwrap();
    let set = maker.set(root, 0);
    let declared = if maker.declared.is_empty() { String::new() } else { format!("({})", maker.declared.join(", ")) };
    Operation { text: format!("{word} Op{number}{declared} {set}"), variables: maker.values.into() }
}

impl Maker<'_> {
    fn set(&mut self, ty: &Name, depth: u32) -> String {
        let mut set = "{ ".to_owned();
        let schema = self.schema;
        match &schema.types[ty] {
            ExtendedType::Object(object) => {
                self.fields_of(ty, object.fields.values().map(|field| &***field), depth, &mut set);
            }
            ExtendedType::Interface(interface) => {
                self.fields_of(ty, interface.fields.values().map(|field| &***field), depth, &mut set);
                self.fragments(ty, depth, &mut set);
            }
            _ => {
                if self.chance(0.5) {
                    set.push_str("__typename ");
                }
                self.fragments(ty, depth, &mut set);
                set.push_str("__typename ");
            }
        }
        set.push('}');
        set
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    fn fragments(&mut self, ty: &Name, depth: u32, set: &mut String) {
        let schema = self.schema;
        let members = schema
            .types
            .keys()
            .filter(|member| schema.is_subtype(ty, member) && matches!(schema.types[*member], ExtendedType::Object(_)));
        for member in members.cloned().collect::<Vec<_>>() {
            if self.chance(0.7) {
                let inner = self.set(&member, depth + 1);
                let directive = self.directive();
                let _ = write!(set, "... on {member} {directive}{inner} ");
            }
        }
    }

    fn fields_of<'f>(
        &mut self,
        _ty: &Name,
        fields: impl Iterator<Item = &'f FieldDefinition>,
        depth: u32,
        set: &mut String,
    ) {
        let fields: Vec<_> = fields.filter(|field| !field.name.starts_with("__")).collect();
        let count = self.random.random_range(1..=if depth == 0 { 3 } else { 4 });
        let mut any = false;
        for _ in 0..count {
            let field = fields[self.random.random_range(0..fields.len())];
            any |= self.field(field, depth, set);
        }
        if !any || self.chance(0.1) {
            set.push_str("__typename ");
        }
    }

    fn field(&mut self, field: &FieldDefinition, depth: u32, set: &mut String) -> bool {
        let inner = field.ty.inner_named_type();
        let composite = !matches!(self.schema.types[inner], ExtendedType::Scalar(_) | ExtendedType::Enum(_));
        if (composite && depth >= DEPTH_MAX) || self.fields > 60 {
            return false;
        }
        self.fields += 1;
        let arguments = self.arguments(field);
        // Of one key there may be one field with one set of arguments.
        let fixed = arguments.is_empty() && composite && self.chance(0.5);
        if !fixed && self.aliases < 25 {
            self.aliases += 1;
            let _ = write!(set, "a{}: ", self.aliases);
        } else if !arguments.is_empty() || !fixed {
            return false;
        }
        let directive = self.directive();
        let _ = write!(set, "{}{arguments} {directive}", field.name);
        if composite {
            set.push_str(&self.set(&inner.clone(), depth + 1));
        }
        set.push(' ');
        directive.is_empty()
    }

    fn directive(&mut self) -> String {
        if self.directives > 15 || !self.chance(0.06) {
            return String::new();
        }
        self.directives += 1;
        let word = if self.chance(0.5) { "skip" } else { "include" };
        if self.chance(0.3) {
            return format!("@{word}(if: {}) ", self.chance(0.5));
        }
        let name = ["yes", "no", "unsaid"][self.random.random_range(0..3)];
        let declaration =
            if name == "unsaid" { "$unsaid: Boolean! = true".to_owned() } else { format!("${name}: Boolean!") };
        if !self.declared.contains(&declaration) {
            self.declared.push(declaration);
            if name != "unsaid" {
                self.values.insert(name.to_owned(), (name == "yes").into());
            }
        }
        format!("@{word}(if: ${name}) ")
    }

    fn arguments(&mut self, field: &FieldDefinition) -> String {
        let mut written = Vec::new();
        for argument in &field.arguments {
            let required = argument.ty.is_non_null() && argument.default_value.is_none();
            if !required && self.chance(0.5) {
                continue;
            }
            let value = self.input(&argument.ty, 0);
            let is_small = !value.is_object();
            if self.chance(0.5) || !is_small {
                let name = format!("v{}", self.declared.len());
                self.declared.push(format!("${name}: {}", argument.ty));
                self.values.insert(name.clone(), value);
                written.push(format!("{}: ${name}", argument.name));
            } else {
                written.push(format!("{}: {value}", argument.name));
            }
        }
        if written.is_empty() { String::new() } else { format!("({})", written.join(", ")) }
    }

    fn input(&mut self, ty: &Type, depth: u32) -> Value {
        if !ty.is_non_null() && self.chance(0.2) {
            return Value::Null;
        }
        match ty {
            Type::List(item) | Type::NonNullList(item) => {
                (0..self.random.random_range(0..3)).map(|_| self.input(item, depth)).collect()
            }
            Type::Named(name) | Type::NonNullNamed(name) => match name.as_str() {
                "Int" => self.random.random_range(0..4).into(),
                "ID" => self.random.random_range(1..4).to_string().into(),
                "String" => ["x", "ü \"q\"", ""][self.random.random_range(0..3)].into(),
                "Boolean" => self.chance(0.5).into(),
                "Blob" => json!([1, { "x": null }]),
                "Filter" if depth < 2 => {
                    let nested = self.input(ty, depth + 1);
                    let role = [json!("ADMIN"), json!("USER"), Value::Null][self.random.random_range(0..3)].clone();
                    json!({ "role": role, "nested": nested, "names": ["n"] })
                }
                "Filter" => json!({ "min": 3 }),
                other => panic!("an input of the type {other}"),
            },
        }
    }
}
