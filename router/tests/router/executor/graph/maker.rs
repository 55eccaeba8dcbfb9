//! What a subgraph of the invented graph says: values by chance, some of them not as the schema says.

use apollo_compiler::ast::Type;
use apollo_compiler::executable::{Field, Selection, SelectionSet};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

/// Makes up an answer, field by field.
pub(super) struct Maker<'a> {
    pub(super) schema: &'a Valid<Schema>,
    pub(super) document: &'a ExecutableDocument,
    pub(super) variables: &'a Value,
    pub(super) random: StdRng,
    /// How likely a value is not as it should be.
    pub(super) faults: f64,
    /// How likely it only looks as it should.
    pub(super) nearly: f64,
    /// How likely an entity is not there, besides.
    pub(super) absent: f64,
    pub(super) errors: Vec<Value>,
    pub(super) path: Vec<Value>,
}

impl<'a> Maker<'a> {
    pub(super) fn object(&mut self, ty: &str, sets: &[&'a SelectionSet], representation: Option<&Value>) -> Value {
        let mut fields: Vec<(String, &'a Field, Vec<&'a SelectionSet>)> = Vec::new();
        for set in sets {
            self.collect(ty, set, &mut fields);
        }
        let mut object = Map::new();
        for (key, field, sets) in fields {
            if self.faults > 0.0 && self.random.random_bool(self.faults / 4.0) {
                continue;
            }
            self.path.push(key.as_str().into());
            let value = match field.name.as_str() {
                "__typename" => ty.into(),
                "_entities" => self.entities(&sets),
                name => match representation.and_then(|known| known.get(name)) {
                    Some(known) => known.clone(),
                    None => self.value(&field.definition.ty, &sets),
                },
            };
            self.path.pop();
            object.insert(key, value);
        }
        object.into()
    }

    fn entities(&mut self, sets: &[&'a SelectionSet]) -> Value {
        let representations = self.variables["representations"].as_array().unwrap().clone();
        let one = |(number, known): (usize, Value)| {
            if self.random.random_bool(self.absent + self.faults) {
                return Value::Null;
            }
            self.path.push(number.into());
            let ty = known["__typename"].as_str().unwrap().to_owned();
            let entity = self.object(&ty, sets, Some(&known));
            self.path.pop();
            entity
        };
        representations.into_iter().enumerate().map(one).collect()
    }

    fn collect(&self, ty: &str, set: &'a SelectionSet, fields: &mut Vec<(String, &'a Field, Vec<&'a SelectionSet>)>) {
        for selection in &set.selections {
            let holds = |name: &str| {
                let value = selection.directives().get(name)?.specified_argument_by_name("if")?;
                match value.as_variable() {
                    Some(variable) => self.variables[variable.as_str()].as_bool(),
                    None => value.to_bool(),
                }
            };
            if holds("skip") == Some(true) || holds("include") == Some(false) {
                continue;
            }
            let inner = match selection {
                Selection::Field(field) => {
                    let key = field.response_key().to_string();
                    match fields.iter_mut().find(|(known, ..)| *known == key) {
                        Some((.., sets)) => sets.push(&field.selection_set),
                        None => fields.push((key, field, vec![&field.selection_set])),
                    }
                    continue;
                }
                Selection::InlineFragment(fragment) => &fragment.selection_set,
                Selection::FragmentSpread(spread) => &self.document.fragments[&spread.fragment_name].selection_set,
            };
            if inner.ty == ty || self.schema.is_subtype(&inner.ty, ty) {
                self.collect(ty, inner, fields);
            }
        }
    }

    fn value(&mut self, ty: &Type, sets: &[&'a SelectionSet]) -> Value {
        if self.faults > 0.0 && self.random.random_bool(self.faults / 2.0) {
            return self.wrong();
        }
        if self.nearly > 0.0
            && self.random.random_bool(self.nearly)
            && let Some(near) = self.near(ty)
        {
            return near;
        }
        if !ty.is_non_null() && self.random.random_bool(0.15) {
            return Value::Null;
        }
        match ty {
            Type::List(item) | Type::NonNullList(item) => {
                let count = self.random.random_range(0..4_usize);
                let items = (0..count).map(|number| {
                    self.path.push(number.into());
                    let value = self.value(item, sets);
                    self.path.pop();
                    value
                });
                items.collect()
            }
            Type::Named(name) | Type::NonNullNamed(name) => self.named(name, sets),
        }
    }

    /// What looks like a value of the type and is none, for types that have such.
    fn near(&self, ty: &Type) -> Option<Value> {
        match self.schema.types.get(ty.inner_named_type())? {
            _ if ty.is_list() => None,
            ExtendedType::Enum(_) => Some(json!("NOBODY")),
            scalar if scalar.name() == "Int" => Some(json!(7_000_000_000_u64)),
            _ => None,
        }
    }

    /// Not what the schema says, sometimes with a word about it.
    fn wrong(&mut self) -> Value {
        if self.random.random_bool(0.6) {
            self.errors.push(json!({
                "message": "not today",
                "path": self.path,
                "locations": [{ "line": 1, "column": 2 }],
                "extensions": { "code": "UNAVAILABLE", "secret": "s", "retryAfterSeconds": 1 },
            }));
            return Value::Null;
        }
        let wrong = [
            Value::Null,
            json!(1.5),
            json!(7_000_000_000_u64),
            json!("?"),
            json!(true),
            json!([]),
            json!({}),
            json!([null]),
        ];
        wrong[self.random.random_range(0..wrong.len())].clone()
    }

    fn named(&mut self, name: &str, sets: &[&'a SelectionSet]) -> Value {
        match name {
            "Int" => self.random.random_range(-5..1000).into(),
            "Float" => [json!(1.5), json!(2), json!(-0.25), json!(1e30)][self.random.random_range(0..4)].clone(),
            "Boolean" => self.random.random_bool(0.5).into(),
            "ID" => self.random.random_range(1..4).to_string().into(),
            "String" => ["a", "", "ü\n\"\\", "\u{1F600} and more"][self.random.random_range(0..4)].into(),
            "Blob" => [json!({ "b": [1, { "c": null }], "a": "x" }), json!([]), json!(3), json!("s")]
                [self.random.random_range(0..4)]
            .clone(),
            name => match &self.schema.types[name] {
                ExtendedType::Enum(known) => {
                    let values: Vec<_> = known.values.keys().collect();
                    values[self.random.random_range(0..values.len())].as_str().into()
                }
                ExtendedType::Object(_) => self.object(name, sets, None),
                _ => {
                    let schema = self.schema;
                    let members = schema.types.keys().filter(|member| schema.is_subtype(name, member));
                    let members: Vec<_> = members.map(ToString::to_string).collect();
                    let member = members[self.random.random_range(0..members.len())].clone();
                    self.object(&member, sets, None)
                }
            },
        }
    }
}
