//! What a valid operation does not tell of itself: whether the variables that its callers send still fit, and whether
//! they get answers of the form that they know. It takes the schema before the change and the one after.

use std::collections::HashSet;

use apollo_compiler::ast::Type;
use apollo_compiler::executable::{Field, Selection, SelectionSet};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{ExecutableDocument, Name, Schema};

use super::checker::Problem;

/// One operation, as it is in two schemas.
pub struct Compared<'a> {
    /// The schema that its callers know.
    pub before: &'a Schema,
    /// The operation in that.
    pub document_before: &'a ExecutableDocument,
    /// The schema that is to come.
    pub after: &'a Schema,
    /// The operation in that.
    pub document_after: &'a ExecutableDocument,
}

/// What the change does to an operation.
#[derive(Debug, Default)]
pub struct Changes {
    /// What would break its callers.
    pub breaks: Vec<Problem>,
    /// What its callers may not be prepared for.
    pub warnings: Vec<Problem>,
}

impl Compared<'_> {
    /// Compares variables and answers. Both documents are of one text, so they are of one form.
    pub fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        self.variables(&mut changes);
        let mut enums = HashSet::new();
        let pairs = self.document_before.operations.iter().zip(self.document_after.operations.iter());
        for (before, after) in pairs {
            self.selections(&before.selection_set, &after.selection_set, &mut enums, &mut changes);
        }
        for (name, before) in &self.document_before.fragments {
            if let Some(after) = self.document_after.fragments.get(name) {
                self.selections(&before.selection_set, &after.selection_set, &mut enums, &mut changes);
            }
        }
        changes
    }

    fn variables(&self, changes: &mut Changes) {
        for operation in self.document_after.operations.iter() {
            for variable in &operation.variables {
                let mut inputs = Inputs { compared: self, seen: HashSet::new(), found: Vec::new() };
                inputs.of_type(variable.ty.inner_named_type());
                let name = &variable.name;
                for found in inputs.found {
                    let message = format!("${name}: {found}");
                    changes.breaks.push(Problem::at(message, name.location(), &self.document_after.sources));
                }
            }
        }
    }

    fn selections(
        &self,
        before: &SelectionSet,
        after: &SelectionSet,
        enums: &mut HashSet<Name>,
        changes: &mut Changes,
    ) {
        for pair in before.selections.iter().zip(&after.selections) {
            match pair {
                (Selection::Field(before), Selection::Field(after)) => {
                    self.field(before, after, &before_type(before, &after.definition.ty), enums, changes);
                    self.selections(&before.selection_set, &after.selection_set, enums, changes);
                }
                (Selection::InlineFragment(before), Selection::InlineFragment(after)) => {
                    self.selections(&before.selection_set, &after.selection_set, enums, changes);
                }
                _ => {}
            }
        }
    }

    fn field(&self, before: &Field, after: &Field, known: &Type, enums: &mut HashSet<Name>, changes: &mut Changes) {
        let place = |message| Problem::at(message, after.name.location(), &self.document_after.sources);
        let ty = &after.definition.ty;
        if !ty.is_assignable_to(known) {
            let (name, was) = (&after.name, &before.definition.ty);
            changes.breaks.push(place(format!("`{name}` becomes `{ty}`; callers know it as `{was}`")));
        }
        let named = ty.inner_named_type();
        if enums.insert(named.clone()) {
            for value in added_values(self.before, self.after, named) {
                changes.warnings.push(place(format!("`{named}` has a new value, `{value}`")));
            }
        }
    }
}

/// The type that callers know, under the name that it has now when what is selected of it is named anyway.
fn before_type(before: &Field, after: &Type) -> Type {
    let known = before.definition.ty.clone();
    if before.selection_set.selections.is_empty() { known } else { renamed(known, after.inner_named_type()) }
}

fn renamed(ty: Type, name: &Name) -> Type {
    match ty {
        Type::Named(_) => Type::Named(name.clone()),
        Type::NonNullNamed(_) => Type::NonNullNamed(name.clone()),
        Type::List(inner) => Type::List(Box::new(renamed(*inner, name))),
        Type::NonNullList(inner) => Type::NonNullList(Box::new(renamed(*inner, name))),
    }
}

fn added_values(before: &Schema, after: &Schema, name: &Name) -> Vec<Name> {
    let (Some(ExtendedType::Enum(before)), Some(ExtendedType::Enum(after))) =
        (before.types.get(name), after.types.get(name))
    else {
        return Vec::new();
    };
    after.values.keys().filter(|value| !before.values.contains_key(*value)).cloned().collect()
}

/// What a variable may carry.
struct Inputs<'a> {
    compared: &'a Compared<'a>,
    seen: HashSet<Name>,
    found: Vec<String>,
}

impl Inputs<'_> {
    fn of_type(&mut self, name: &Name) {
        if !self.seen.insert(name.clone()) {
            return;
        }
        let Compared { before, after, .. } = *self.compared;
        match (before.types.get(name), after.types.get(name)) {
            (Some(ExtendedType::Enum(before)), Some(ExtendedType::Enum(after))) => {
                for value in before.values.keys().filter(|value| !after.values.contains_key(*value)) {
                    self.found.push(format!("`{name}` no longer has the value `{value}`"));
                }
            }
            (Some(ExtendedType::InputObject(before)), Some(ExtendedType::InputObject(after))) => {
                for (field, known) in &before.fields {
                    match after.fields.get(field) {
                        None => self.found.push(format!("`{name}.{field}` is gone")),
                        Some(now) => {
                            self.member(name, field, &known.ty, &now.ty, now.default_value.is_some());
                            self.of_type(known.ty.inner_named_type());
                        }
                    }
                }
                let added = after.fields.iter().filter(|(field, _)| !before.fields.contains_key(*field));
                for (field, _) in added.filter(|(_, definition)| definition.is_required()) {
                    self.found.push(format!("`{name}.{field}` is new and required"));
                }
            }
            _ => {}
        }
    }

    fn member(&mut self, name: &Name, field: &Name, known: &Type, now: &Type, has_default: bool) {
        // With a default, what is required may still be left out, though not be null.
        let takes = known.is_assignable_to(now) || (has_default && known.is_assignable_to(&now.clone().nullable()));
        if !takes {
            self.found.push(format!("`{name}.{field}` becomes `{now}`; callers send `{known}`"));
        }
    }
}
