//! The answer that a client gets, out of what the subgraphs have said: `CompleteValue` of the GraphQL specification
//! (§6.4.3) where every value is as the schema says. Where one is not, it is for Apollo Router to say what becomes of it.

use super::program::{Form, Of, Set, Value};
use super::tree::{Id, Kind, Odd, Tree};

/// An answer's `data`.
pub(super) struct Written {
    pub(super) data: Vec<u8>,
    /// What it has cost besides its operation, when that can be said of the form alone.
    pub(super) cost: u64,
}

/// Writes the `data` of an answer.
pub(super) fn write(tree: &Tree, root: Id, form: &Form) -> Result<Written, Odd> {
    let mut writer = Writer { tree, form, data: Vec::with_capacity(tree.bytes_len()), cost: 0 };
    writer.object(root, &form.sets[form.root])?;
    Ok(Written { data: writer.data, cost: writer.cost })
}

struct Writer<'a> {
    tree: &'a Tree,
    form: &'a Form,
    data: Vec<u8>,
    cost: u64,
}

impl Writer<'_> {
    fn object(&mut self, object: Id, set: &Set) -> Result<(), Odd> {
        self.data.push(b'{');
        let mut likely = self.tree.members(object).next();
        for (number, field) in set.fields.iter().enumerate() {
            if number > 0 {
                self.data.push(b',');
            }
            self.data.extend_from_slice(&field.written_key);
            let Some(value) = &field.value else {
                self.string(&set.typename);
                continue;
            };
            let member = self.tree.member_near(object, &field.key, likely).ok_or(Odd("a field is missing"))?;
            likely = self.tree.next(member);
            self.cost = self.cost.saturating_add(field.cost);
            self.value(member, value, field.value_cost)?;
        }
        self.data.push(b'}');
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.data.push(b'"');
        self.data.extend_from_slice(text);
        self.data.push(b'"');
    }

    fn value(&mut self, id: Id, value: &Value, cost: u64) -> Result<(), Odd> {
        let kind = self.tree.kind(id);
        if kind == Kind::Null {
            if !value.nullable {
                return Err(Odd("a null that may not be"));
            }
            self.data.extend_from_slice(b"null");
            return Ok(());
        }
        if let Of::List(item) = &value.of {
            return self.list(id, kind, item, cost);
        }
        if kind == Kind::Array && matches!(value.of, Of::Anything) {
            self.cost = self.cost.saturating_add(cost.saturating_mul(self.values_in(id)));
        } else {
            self.cost = self.cost.saturating_add(cost);
        }
        match (&value.of, kind) {
            (Of::Anything, _) => self.tree.write(id, &mut self.data),
            (Of::Int, Kind::Number) if is_int(self.tree.text(id)) => self.data.extend_from_slice(self.tree.text(id)),
            (Of::Float, Kind::Number) => self.data.extend_from_slice(self.tree.text(id)),
            (Of::String, Kind::String) => self.string(self.tree.text(id)),
            (Of::Boolean, Kind::True) => self.data.extend_from_slice(b"true"),
            (Of::Boolean, Kind::False) => self.data.extend_from_slice(b"false"),
            (Of::Enum(values), Kind::String) if values.iter().any(|value| **value == *self.tree.text(id)) => {
                self.string(self.tree.text(id));
            }
            (Of::Object(set), Kind::Object) => {
                let set = &self.form.sets[*set];
                let said = self.tree.member(id, b"__typename");
                if said
                    .is_some_and(|said| self.tree.kind(said) != Kind::String || self.tree.text(said) != &*set.typename)
                {
                    return Err(Odd("an object of another type"));
                }
                self.object(id, set)?;
            }
            (Of::Abstract(sets), Kind::Object) => {
                let said = self.tree.member(id, b"__typename").ok_or(Odd("an object of no type"))?;
                let named = self.tree.text(said);
                let mut sets = sets.iter().map(|set| &self.form.sets[*set]);
                let set = sets.find(|set| *set.typename == *named).ok_or(Odd("an object of another type"))?;
                self.object(id, set)?;
            }
            _ => return Err(Odd("a value of another type")),
        }
        Ok(())
    }

    fn list(&mut self, id: Id, kind: Kind, item: &Value, cost: u64) -> Result<(), Odd> {
        if kind != Kind::Array {
            return Err(Odd("no list"));
        }
        self.data.push(b'[');
        for (number, member) in self.tree.members(id).enumerate() {
            if number > 0 {
                self.data.push(b',');
            }
            self.value(member, item, cost)?;
        }
        self.data.push(b']');
        Ok(())
    }

    /// A list in a scalar of the graph's own counts by its values, as any list does.
    fn values_in(&self, id: Id) -> u64 {
        match self.tree.kind(id) {
            Kind::Null => 0,
            Kind::Array => self.tree.members(id).map(|item| self.values_in(item)).sum(),
            _ => 1,
        }
    }
}

/// A whole number of 32 bits, as it has to be written.
fn is_int(text: &[u8]) -> bool {
    text != b"-0" && std::str::from_utf8(text).is_ok_and(|text| text.parse::<i32>().is_ok())
}
