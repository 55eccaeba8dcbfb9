//! Which entities a fetch asks for, and what of them it shows the subgraph.

use std::collections::HashMap;

use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use apollo_federation::query_plan::requires_selection::{Field, Selection};

use super::program::Stop;
use super::tree::{Id, Kind, Odd, Tree};

const TYPENAME: &str = "__typename";

/// Distinct representations, and where each one's entity goes.
#[derive(Default)]
pub(super) struct Wanted {
    /// A list in JSON.
    pub(super) representations: Vec<u8>,
    pub(super) places: Vec<Vec<Id>>,
}

/// What a fetch wants of the data that is there.
pub(super) fn wanted(
    schema: &Schema,
    tree: &Tree,
    root: Id,
    path: &[Stop],
    requires: &[Selection],
) -> Result<Wanted, Odd> {
    let mut wanted = Wanted { representations: b"[".to_vec(), places: Vec::new() };
    let mut known = HashMap::new();
    let mut failed = None;
    let mut one = Vec::new();
    select(tree, root, path, &mut |entity| {
        one.clear();
        match represent(schema, tree, entity, requires, &mut one) {
            Ok(true) => {
                if let Some(index) = known.get(&one) {
                    let places: &mut Vec<Id> = &mut wanted.places[*index];
                    places.push(entity);
                    return;
                }
                known.insert(one.clone(), wanted.places.len());
                if !wanted.places.is_empty() {
                    wanted.representations.push(b',');
                }
                wanted.representations.extend_from_slice(&one);
                wanted.places.push(vec![entity]);
            }
            Ok(false) => {}
            Err(odd) => failed = Some(odd),
        }
    });
    wanted.representations.push(b']');
    failed.map_or(Ok(wanted), Err)
}

/// Calls `found` for each object that the path leads to. Nulls and what is missing lead nowhere.
fn select(tree: &Tree, at: Id, path: &[Stop], found: &mut impl FnMut(Id)) {
    let Some((stop, rest)) = path.split_first() else {
        if tree.kind(at) == Kind::Object {
            found(at);
        }
        return;
    };
    match (stop, tree.kind(at)) {
        (Stop::Key(key), Kind::Object) => {
            if let Some(member) = tree.member(at, key) {
                select(tree, member, rest, found);
            }
        }
        (Stop::Key(_), Kind::Array) => tree.members(at).for_each(|item| select(tree, item, path, found)),
        (Stop::Each, Kind::Array) => tree.members(at).for_each(|item| select(tree, item, rest, found)),
        _ => {}
    }
}

/// Writes what is required of an object; false when that is nothing.
fn represent(
    schema: &Schema,
    tree: &Tree,
    object: Id,
    requires: &[Selection],
    into: &mut Vec<u8>,
) -> Result<bool, Odd> {
    into.push(b'{');
    let mut keys = Vec::new();
    members(schema, tree, object, requires, &mut keys, into)?;
    into.push(b'}');
    Ok(!keys.is_empty())
}

fn members<'r>(
    schema: &Schema,
    tree: &Tree,
    object: Id,
    requires: &'r [Selection],
    keys: &mut Vec<&'r str>,
    into: &mut Vec<u8>,
) -> Result<(), Odd> {
    for selection in requires {
        match selection {
            Selection::Field(field) => member(schema, tree, object, field, keys, into)?,
            Selection::InlineFragment(fragment) => {
                let Some(condition) = &fragment.type_condition else { continue };
                let said = tree.member(object, TYPENAME.as_bytes()).filter(|said| tree.kind(*said) == Kind::String);
                let said = said.and_then(|said| std::str::from_utf8(tree.text(said)).ok());
                let object_type = said.ok_or(Odd("an entity of no type"))?;
                if is_of(schema, object_type, condition)? {
                    members(schema, tree, object, &fragment.selections, keys, into)?;
                }
            }
        }
    }
    Ok(())
}

fn member<'r>(
    schema: &Schema,
    tree: &Tree,
    object: Id,
    field: &'r Field,
    keys: &mut Vec<&'r str>,
    into: &mut Vec<u8>,
) -> Result<(), Odd> {
    let key = field.alias.as_ref().unwrap_or(&field.name).as_str();
    if keys.contains(&key) {
        return if field.selections.is_empty() { Ok(()) } else { Err(Odd("a part of an entity is required twice")) };
    }
    let value = tree.member(object, key.as_bytes()).ok_or(Odd("a part of an entity is missing"))?;
    if !keys.is_empty() {
        into.push(b',');
    }
    keys.push(key);
    into.push(b'"');
    into.extend_from_slice(key.as_bytes());
    into.extend_from_slice(b"\":");
    if field.selections.is_empty() {
        tree.write(value, into);
        return Ok(());
    }
    match tree.kind(value) {
        Kind::Array => {
            into.push(b'[');
            for (number, item) in tree.members(value).enumerate() {
                if number > 0 {
                    into.push(b',');
                }
                part(schema, tree, item, &field.selections, into)?;
            }
            into.push(b']');
            Ok(())
        }
        _ => part(schema, tree, value, &field.selections, into),
    }
}

fn part(schema: &Schema, tree: &Tree, value: Id, selected: &[Selection], into: &mut Vec<u8>) -> Result<(), Odd> {
    match tree.kind(value) {
        Kind::Null => into.extend_from_slice(b"null"),
        Kind::Object => drop(represent(schema, tree, value, selected, into)?),
        _ => return Err(Odd("a part of an entity is of another type")),
    }
    Ok(())
}

/// Whether an object's type is one, or one of its interfaces or unions.
fn is_of(schema: &Schema, object: &str, condition: &str) -> Result<bool, Odd> {
    let Some(ExtendedType::Object(object)) = schema.types.get(object) else {
        return Err(Odd("an entity of another kind of type"));
    };
    Ok(object.name == condition
        || match schema.types.get(condition) {
            Some(ExtendedType::Interface(condition)) => object.implements_interfaces.contains(&condition.name),
            Some(ExtendedType::Union(condition)) => condition.members.contains(&object.name),
            _ => false,
        })
}
