//! The cost of selections before anything is known but the text and its variables.

use std::collections::HashMap;

use apollo_compiler::Name;
use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, DirectiveList, Field, OperationDefinition, Selection, Value};
use apollo_compiler::response::JsonMap;
use serde_json_bytes::Value as Json;

use super::PAGE_SIZE_UNKNOWN;
use super::weights::{FieldWeights, ListSize, Weights};
use crate::limits::{Code, Document, Refusal};

/// How long some fields of an object are, as the field that returned it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sized<'s> {
    fields: &'s [Name],
    size: u64,
}

/// A fragment's cost where it is spread: the same for the same sizes from outside.
type Spread<'d> = (&'d str, usize, u64);

pub(super) struct Walk<'w> {
    weights: &'w Weights,
    document: &'w Document,
    operation: &'w OperationDefinition,
    variables: Option<&'w JsonMap>,
    spreads: HashMap<Spread<'w>, u64>,
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        weights: &'w Weights,
        document: &'w Document,
        operation: &'w OperationDefinition,
        variables: Option<&'w JsonMap>,
    ) -> Self {
        Self { weights, document, operation, variables, spreads: HashMap::new() }
    }

    /// Of all that is selected of one object. Of fragments that exclude each other, the dearest counts.
    pub(super) fn selections(
        &mut self,
        selections: &'w [Selection],
        parent: Option<&'w Name>,
        sized: Option<Sized<'w>>,
    ) -> Result<u64, Refusal> {
        let mut cost = 0_u64;
        let mut alternatives = Alternatives::default();
        for selection in selections {
            match selection {
                Selection::Field(field) => cost = cost.saturating_add(self.field(field, parent, sized)?),
                Selection::InlineFragment(fragment) => {
                    if !self.is_selected(&fragment.directives) {
                        continue;
                    }
                    let inner = fragment.type_condition.as_ref().or(parent);
                    let inner_cost = self.selections(&fragment.selection_set, inner, sized)?;
                    alternatives.add(self.weights, parent, inner, inner_cost);
                }
                Selection::FragmentSpread(spread) => {
                    let Some(fragment) = self.document.fragment(&spread.fragment_name) else { continue };
                    if !self.is_selected(&spread.directives) {
                        continue;
                    }
                    let (place, size) = sized.map_or((0, 0), |sized| (sized.fields.as_ptr() as usize, sized.size));
                    let key = (fragment.name.as_str(), place, size);
                    let inner_cost = if let Some(known) = self.spreads.get(&key) {
                        *known
                    } else {
                        let inner = self.selections(&fragment.selection_set, Some(&fragment.type_condition), sized)?;
                        self.spreads.insert(key, inner);
                        inner
                    };
                    alternatives.add(self.weights, parent, Some(&fragment.type_condition), inner_cost);
                }
            }
        }
        Ok(cost.saturating_add(alternatives.cost()))
    }

    fn field(&mut self, field: &'w Field, parent: Option<&'w Name>, sized: Option<Sized<'w>>) -> Result<u64, Refusal> {
        if !self.is_selected(&field.directives) {
            return Ok(0);
        }
        // What the schema does not know is refused by validation, and `__typename` is free.
        let Some(known) = parent.and_then(|parent| self.weights.of_field(parent, &field.name)) else { return Ok(0) };
        let (count, inner_sized) = self.count(field, known, sized)?;
        let inner = self.selections(&field.selection_set, Some(&known.named_type), inner_sized)?;
        let one = self.weights.of_value(known).saturating_add(inner);
        Ok(one.saturating_mul(count).saturating_add(arguments_cost(known, &field.arguments)))
    }

    /// How many values a field gives, and how long fields of those are.
    fn count(
        &self,
        field: &Field,
        known: &'w FieldWeights,
        sized: Option<Sized<'w>>,
    ) -> Result<(u64, Option<Sized<'w>>), Refusal> {
        let own =
            known.size.as_ref().map(|size| self.size(field, known, size).map(|number| (size, number))).transpose()?;
        let inner = own
            .filter(|(size, _)| !size.sized.is_empty())
            .map(|(size, number)| Sized { fields: &size.sized, size: number });
        if !known.is_list {
            return Ok((1, inner));
        }
        let told = sized.filter(|sized| sized.fields.contains(&field.name)).map(|sized| sized.size);
        let said = own.filter(|(size, _)| size.sized.is_empty()).map(|(_, number)| number);
        Ok((told.or(said).unwrap_or(super::LIST_SIZE_ASSUMED), inner))
    }

    fn size(&self, field: &Field, known: &FieldWeights, size: &ListSize) -> Result<u64, Refusal> {
        let mut given = 0;
        let mut largest = None;
        for path in &size.slicing {
            let (argument, member) = path.split_once('.').unwrap_or((path, ""));
            let stated =
                field.arguments.iter().find(|candidate| candidate.name == argument).map(|argument| &argument.value);
            let default = known.argument(argument).and_then(|argument| argument.default.as_ref());
            let found = stated.and_then(|value| self.number(value, member));
            if found.is_some() {
                given += 1;
            }
            let number = found.or_else(|| default.and_then(|value| self.number(value, member)));
            largest = largest.max(number);
        }
        if size.exactly_one && given != 1 && !(given == 0 && largest.is_some()) {
            return Err(Refusal::new(Code::SlicingArgumentRequired));
        }
        Ok(largest.unwrap_or(size.assumed))
    }

    /// A page's size in an argument's value, or in a member of it; nothing when it is absent or null.
    fn number(&self, value: &Value, path: &str) -> Option<u64> {
        match value {
            Value::Variable(name) => self.variable_number(name, path),
            Value::Int(number) if path.is_empty() => Some(number.as_str().parse().unwrap_or_else(|_| {
                // A negative page is empty, and what does not fit is as large as can be.
                if number.as_str().starts_with('-') { 0 } else { u64::MAX }
            })),
            Value::Object(members) => {
                let (member, rest) = path.split_once('.').unwrap_or((path, ""));
                let (_, value) = members.iter().find(|(name, _)| name == member)?;
                self.number(value, rest)
            }
            _ => None,
        }
    }

    fn variable_number(&self, name: &Name, path: &str) -> Option<u64> {
        let Some(variables) = self.variables else { return Some(PAGE_SIZE_UNKNOWN) };
        if let Some(value) = variables.get(name.as_str()) {
            return json_number(value, path);
        }
        let definition = self.operation.variables.iter().find(|variable| variable.name == *name)?;
        // A default holds no variables.
        definition.default_value.as_ref().and_then(|value| self.number(value, path))
    }

    /// False only when `@skip` or `@include` says so for certain.
    fn is_selected(&self, directives: &DirectiveList) -> bool {
        !self.condition(directives, "skip", true) && !self.condition(directives, "include", false)
    }

    fn condition(&self, directives: &DirectiveList, name: &str, wanted: bool) -> bool {
        let value = directives.get(name).and_then(|directive| directive.specified_argument_by_name("if"));
        match value.map(|value| &**value) {
            Some(Value::Boolean(said)) => *said == wanted,
            Some(Value::Variable(variable)) => {
                let said =
                    self.variables.and_then(|variables| variables.get(variable.as_str())).and_then(Json::as_bool);
                said == Some(wanted)
            }
            _ => false,
        }
    }
}

/// What weights the arguments that are there have.
pub(super) fn arguments_cost(known: &FieldWeights, arguments: &[Node<Argument>]) -> u64 {
    arguments.iter().fold(0, |cost, argument| {
        let weight = known.argument(&argument.name).map(|argument| argument.weight);
        cost.saturating_add(weight.unwrap_or_default())
    })
}

fn json_number(value: &Json, path: &str) -> Option<u64> {
    if path.is_empty() {
        let Json::Number(number) = value else { return None };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, as a size should")]
        return number.as_u64().or_else(|| Some(number.as_f64()? as u64));
    }
    let (member, rest) = path.split_once('.').unwrap_or((path, ""));
    json_number(value.as_object()?.get(member)?, rest)
}

/// Fragments of one list of selections: those on different objects exclude each other.
#[derive(Default)]
pub(super) struct Alternatives<'d> {
    common: u64,
    by_object: Vec<(&'d Name, u64)>,
}

impl<'d> Alternatives<'d> {
    pub(super) fn add(&mut self, weights: &Weights, parent: Option<&Name>, condition: Option<&'d Name>, cost: u64) {
        let is_abstract = |name: &Name| weights.of_type(name).is_none_or(|known| known.is_abstract);
        match condition.filter(|name| parent != Some(*name) && !is_abstract(name)) {
            None => self.common = self.common.saturating_add(cost),
            Some(name) => match self.by_object.iter_mut().find(|(known, _)| *known == name) {
                Some((_, total)) => *total = total.saturating_add(cost),
                None => self.by_object.push((name, cost)),
            },
        }
    }

    pub(super) fn cost(&self) -> u64 {
        let dearest = self.by_object.iter().map(|(_, cost)| *cost).max().unwrap_or_default();
        self.common.saturating_add(dearest)
    }
}
