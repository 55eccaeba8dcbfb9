//! Throws bytes at whatever reads what a client sends. A target panics when what it promises does not hold.
//!
//! `dev/fuzz <target> <seconds>` mutates the inputs of `corpus/<target>/` and keeps there what breaks the target; the tests
//! run every input of the corpus once. Mutations are blind: nothing measures which code an input reaches, so an input that
//! reaches new code is added to the corpus by hand.

pub mod corpus;
pub mod mutate;
mod targets;

/// What bytes are thrown at.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and its folder's in the corpus.
    pub name: &'static str,
    /// Reads an input; it must neither panic nor take long.
    pub run: fn(&[u8]),
    /// What inputs are made of, by kind.
    pub words: &'static [&'static [&'static str]],
}

/// All targets. Whatever else reads a client's bytes gets a line here and a folder of inputs.
pub const TARGETS: &[Target] = &[
    Target { name: "operation", run: targets::operation, words: &[targets::GRAPHQL] },
    Target { name: "body", run: targets::body, words: &[targets::JSON, targets::BODIES] },
    Target { name: "socket", run: targets::socket, words: &[targets::JSON, targets::MESSAGES] },
    Target { name: "cursor", run: targets::cursor, words: &[targets::CURSORS] },
    Target { name: "manifest", run: targets::manifest, words: &[targets::JSON, targets::MANIFESTS] },
    Target { name: "key", run: targets::key, words: &[targets::KEYS] },
];

/// A target by its name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
