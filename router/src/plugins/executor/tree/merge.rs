//! One answer into another: what an entity's subgraph adds to the entity.

use super::{Id, Kind, Odd, Tree};

const TYPENAME: &[u8] = b"__typename";

/// What two subgraphs say of one value that they both gave.
const CONTRADICTION: Odd = Odd("two subgraphs contradict each other");

impl Tree {
    /// A copy of an object's members; another place may change what it gets.
    pub(in super::super) fn copied(&mut self, id: Id) -> Id {
        let node = *self.node(id);
        let mut first = Id::NONE;
        let mut last = Id::NONE;
        let mut member = node.first;
        while let Some(next) = member.some() {
            let copy = self.copied(next);
            if first == Id::NONE {
                first = copy;
            } else {
                self.node_mut(last).next = copy;
            }
            last = copy;
            member = self.node(next).next;
        }
        self.push(super::Node { first, next: Id::NONE, ..node })
    }

    #[expect(clippy::cast_possible_truncation, reason = "copies are of entities that were written out by a subgraph")]
    fn push(&mut self, node: super::Node) -> Id {
        let id = Id(self.nodes.len() as u32);
        self.nodes.push(node);
        id
    }

    /// Adds the members of `from` to `into`; both are objects. `from` is used up.
    pub(in super::super) fn merge(&mut self, into: Id, from: Id) -> Result<(), Odd> {
        let mut last = self.members(into).last();
        let mut member = self.node(from).first;
        while let Some(id) = member.some() {
            member = self.node(id).next;
            if let Some(existing) = self.member(into, self.key(id)) {
                self.merge_value(existing, id)?;
                continue;
            }
            match last {
                None => self.node_mut(into).first = id,
                Some(last) => self.node_mut(last).next = id,
            }
            self.node_mut(id).next = Id::NONE;
            last = Some(id);
        }
        Ok(())
    }

    fn merge_value(&mut self, into: Id, from: Id) -> Result<(), Odd> {
        match (self.kind(into), self.kind(from)) {
            (_, Kind::Null) => Ok(()),
            (Kind::Object, Kind::Object) => self.merge(into, from),
            (Kind::Array, Kind::Array) => self.merge_items(into, from),
            (Kind::Object | Kind::Array, _) | (_, Kind::Object | Kind::Array) => Err(CONTRADICTION),
            _ if self.key(into) == TYPENAME => {
                if self.text(into) == self.text(from) {
                    Ok(())
                } else {
                    Err(CONTRADICTION)
                }
            }
            _ => {
                let (kind, text) = (self.node(from).kind, self.node(from).text);
                let node = self.node_mut(into);
                (node.kind, node.text) = (kind, text);
                Ok(())
            }
        }
    }

    fn merge_items(&mut self, into: Id, from: Id) -> Result<(), Odd> {
        if self.members(into).count() != self.members(from).count() {
            return Err(CONTRADICTION);
        }
        let (mut existing, mut item) = (self.node(into).first, self.node(from).first);
        while let (Some(one), Some(other)) = (existing.some(), item.some()) {
            (existing, item) = (self.node(one).next, self.node(other).next);
            self.merge_value(one, other)?;
        }
        Ok(())
    }
}
