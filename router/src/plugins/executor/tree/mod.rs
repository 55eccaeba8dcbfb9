//! What subgraphs have answered, as one tree over their bytes.
//!
//! A node is a few numbers: its kind, where its text and its key stand in the bytes, and its neighbours. Nothing is
//! copied out of the bytes until the answer is written. Only what a well-behaved subgraph sends is taken; whatever else
//! comes is [`Odd`], and Apollo Router's own execution judges it.

mod merge;
mod read;

/// What this executor does not judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Odd(
    /// Why, for those who look at the log.
    pub(super) &'static str,
);

/// A place in the bytes, without the quotes of a string.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    False,
    True,
    Number,
    String,
    Array,
    Object,
}

/// A value's number in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(u32);

impl Id {
    /// Nowhere: what a tree without a document starts with, and where a list of neighbours ends.
    const NONE: Self = Self(u32::MAX);

    fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

#[derive(Debug, Clone, Copy)]
struct Node {
    kind: Kind,
    key: Span,
    text: Span,
    /// Of an object or a list.
    first: Id,
    next: Id,
}

/// The answers of one execution.
#[derive(Debug)]
pub(super) struct Tree {
    bytes: Vec<u8>,
    nodes: Vec<Node>,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), nodes: Vec::new() }
    }

    /// How many bytes have come.
    pub(super) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn slice(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    pub(super) fn kind(&self, id: Id) -> Kind {
        self.node(id).kind
    }

    /// A number as it was written, or a string as it stands between its quotes.
    pub(super) fn text(&self, id: Id) -> &[u8] {
        self.slice(self.node(id).text)
    }

    /// Members of an object or a list.
    pub(super) fn members(&self, id: Id) -> Members<'_> {
        Members { tree: self, next: self.node(id).first }
    }

    /// The key of an object's member.
    pub(super) fn key(&self, id: Id) -> &[u8] {
        self.slice(self.node(id).key)
    }

    pub(super) fn next(&self, id: Id) -> Option<Id> {
        self.node(id).next.some()
    }

    /// A member by its key.
    pub(super) fn member(&self, object: Id, key: &[u8]) -> Option<Id> {
        self.members(object).find(|id| self.key(*id) == key)
    }

    /// A member by its key, looked for first where it is likely to be.
    pub(super) fn member_near(&self, object: Id, key: &[u8], likely: Option<Id>) -> Option<Id> {
        likely.filter(|id| self.key(*id) == key).or_else(|| self.member(object, key))
    }

    /// Writes a value as JSON.
    pub(super) fn write(&self, id: Id, into: &mut Vec<u8>) {
        let node = self.node(id);
        match node.kind {
            Kind::Null => into.extend_from_slice(b"null"),
            Kind::False => into.extend_from_slice(b"false"),
            Kind::True => into.extend_from_slice(b"true"),
            Kind::Number => into.extend_from_slice(self.slice(node.text)),
            Kind::String => quote(self.slice(node.text), into),
            Kind::Array => {
                into.push(b'[');
                for (index, item) in self.members(id).enumerate() {
                    if index > 0 {
                        into.push(b',');
                    }
                    self.write(item, into);
                }
                into.push(b']');
            }
            Kind::Object => {
                into.push(b'{');
                for (index, member) in self.members(id).enumerate() {
                    if index > 0 {
                        into.push(b',');
                    }
                    quote(self.key(member), into);
                    into.push(b':');
                    self.write(member, into);
                }
                into.push(b'}');
            }
        }
    }
}

/// What stood between quotes, between quotes again.
fn quote(text: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    into.extend_from_slice(text);
    into.push(b'"');
}

pub(super) struct Members<'t> {
    tree: &'t Tree,
    next: Id,
}

impl Iterator for Members<'_> {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        let id = self.next.some()?;
        self.next = self.tree.node(id).next;
        Some(id)
    }
}

#[cfg(test)]
mod tests;
