//! One execution of an operation.
//!
//! The steps of a parallel look at the same data, and those of a sequence at what came before them. The first answer that
//! is out of the ordinary ends the execution: what has been said until then goes on record.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use http::{HeaderMap, StatusCode, Uri, header};
use parking_lot::Mutex;

use super::Object;
use super::answer::{self, Written};
use super::client::{Client, Said};
use super::entities::{self, Wanted};
use super::program::{Fetch, Form, Program, Step, Types};
use super::record::{Record, Recorded};
use super::tree::{Id, Kind, Odd, Tree};

/// What an execution needs besides its operation.
pub(super) struct Surroundings {
    pub(super) types: Arc<Types>,
    pub(super) client: Client,
    pub(super) subgraphs: HashMap<String, Uri>,
}

/// An execution that was given up.
pub(super) struct GivenUp {
    pub(super) why: Odd,
    pub(super) record: Record,
}

/// Runs an operation. Subgraphs are asked with these headers.
pub(super) async fn run(
    surroundings: &Surroundings,
    program: &Program,
    form: &Form,
    variables: &Object,
    headers: &HeaderMap,
) -> Result<Written, GivenUp> {
    let state = State { tree: Tree::new(), root: None, recorded: Vec::new() };
    let execution = Execution { surroundings, variables, headers, state: Mutex::new(state) };
    let ran = match &program.step {
        Step::Fetch(fetch) => execution.fetch(fetch).await,
        step => execution.step(step).await,
    };
    let state = execution.state.into_inner();
    let written = ran.and_then(|()| answer::write(&state.tree, state.root.ok_or(Odd("no data"))?, form));
    written.map_err(|why| GivenUp { why, record: Record::new(state.recorded) })
}

struct Execution<'a> {
    surroundings: &'a Surroundings,
    variables: &'a Object,
    headers: &'a HeaderMap,
    /// Held between two requests, never during one.
    state: Mutex<State>,
}

struct State {
    tree: Tree,
    root: Option<Id>,
    recorded: Vec<Recorded>,
}

impl Execution<'_> {
    fn step<'a>(&'a self, step: &'a Step) -> BoxFuture<'a, Result<(), Odd>> {
        match step {
            Step::Fetch(fetch) => Box::pin(self.fetch(fetch)),
            Step::Sequence(steps) => Box::pin(async move {
                for step in steps {
                    self.step(step).await?;
                }
                Ok(())
            }),
            // All of them end: what was asked is on record, with what was said.
            Step::Parallel(steps) => Box::pin(async move {
                let ran = join_all(steps.iter().map(|step| self.step(step))).await;
                ran.into_iter().collect()
            }),
        }
    }

    async fn fetch(&self, fetch: &Fetch) -> Result<(), Odd> {
        let wanted = if fetch.is_of_entities() {
            let state = self.state.lock();
            let root = state.root.ok_or(Odd("no data"))?;
            let schema = &self.surroundings.types.supergraph;
            let wanted = entities::wanted(schema, &state.tree, root, &fetch.path, &fetch.requires)?;
            if wanted.places.is_empty() {
                return Ok(());
            }
            Some(wanted)
        } else {
            None
        };
        let asked = self.body(fetch, wanted.as_ref())?;
        let uri = self.surroundings.subgraphs.get(&*fetch.subgraph).ok_or(Odd("a subgraph without an address"))?;
        let said = self.surroundings.client.ask(uri, self.headers, asked.clone()).await;
        let mut state = self.state.lock();
        let taken = match &said {
            Ok(said) => state.take(said, wanted),
            Err(_) => Err(Odd("a subgraph did not answer")),
        };
        state.recorded.push(Recorded { subgraph: fetch.subgraph.clone(), asked, said });
        taken
    }

    fn body(&self, fetch: &Fetch, wanted: Option<&Wanted>) -> Result<Bytes, Odd> {
        let mut body =
            Vec::with_capacity(fetch.head.len() + 64 + wanted.map_or(0, |wanted| wanted.representations.len()));
        body.extend_from_slice(&fetch.head);
        let mut separator: &[u8] = br#","variables":{"#;
        for name in &fetch.variables {
            let Some(value) = self.variables.get(&**name) else { continue };
            body.extend_from_slice(separator);
            separator = b",";
            body.push(b'"');
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(b"\":");
            serde_json::to_writer(&mut body, value).map_err(|_| Odd("a variable cannot be written"))?;
        }
        if let Some(wanted) = wanted {
            body.extend_from_slice(separator);
            separator = b",";
            body.extend_from_slice(br#""representations":"#);
            body.extend_from_slice(&wanted.representations);
        }
        body.extend_from_slice(if separator == b"," { b"}}" } else { b"}" });
        Ok(body.into())
    }
}

impl State {
    /// Takes an answer in, when it is one without anything that is out of the ordinary.
    fn take(&mut self, said: &Said, wanted: Option<Wanted>) -> Result<(), Odd> {
        if said.parts.status != StatusCode::OK || !is_json(said) {
            return Err(Odd("no answer of GraphQL"));
        }
        let response = self.tree.read(&said.body)?;
        let data = self.data(response)?;
        match wanted {
            Some(wanted) => self.take_entities(data, wanted),
            None => match self.root {
                None => {
                    self.root = Some(data);
                    Ok(())
                }
                Some(root) => self.tree.merge(root, data),
            },
        }
    }

    fn data(&self, response: Id) -> Result<Id, Odd> {
        if self.tree.kind(response) != Kind::Object {
            return Err(Odd("no answer of GraphQL"));
        }
        let mut data = None;
        for member in self.tree.members(response) {
            match (self.tree.key(member), self.tree.kind(member)) {
                (b"data", Kind::Object) => data = Some(member),
                (b"data", _) => return Err(Odd("no data")),
                (b"errors" | b"extensions", Kind::Null) | (b"extensions", Kind::Object) => {}
                (b"errors", Kind::Array) if self.tree.members(member).next().is_none() => {}
                (b"errors", _) => return Err(Odd("errors")),
                _ => return Err(Odd("an answer with more in it")),
            }
        }
        data.ok_or(Odd("no data"))
    }

    fn take_entities(&mut self, data: Id, wanted: Wanted) -> Result<(), Odd> {
        let entities = self.tree.member(data, b"_entities").ok_or(Odd("no entities"))?;
        let found: Vec<Id> = self.tree.members(entities).collect();
        if self.tree.kind(entities) != Kind::Array || found.len() != wanted.places.len() {
            return Err(Odd("other entities than were asked for"));
        }
        for (entity, places) in found.into_iter().zip(wanted.places) {
            match self.tree.kind(entity) {
                Kind::Null => {}
                Kind::Object => {
                    let Some((last, others)) = places.split_last() else { continue };
                    for place in others {
                        let copy = self.tree.copied(entity);
                        self.tree.merge(*place, copy)?;
                    }
                    self.tree.merge(*last, entity)?;
                }
                _ => return Err(Odd("other entities than were asked for")),
            }
        }
        Ok(())
    }
}

fn is_json(said: &Said) -> bool {
    let value = said.parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).map(str::trim);
    let encoded = said.parts.headers.contains_key(header::CONTENT_ENCODING);
    matches!(essence, Some("application/json" | "application/graphql-response+json")) && !encoded
}
