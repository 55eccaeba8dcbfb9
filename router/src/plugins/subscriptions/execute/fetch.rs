//! One fetch of a plan: entities by their representations, or root fields.

use apollo_federation::query_plan::{FetchDataPathElement, FetchNode};
use serde_json_bytes::{ByteString, Value, json};

use super::path::{Step, select};
use super::represent::representation;
use super::rewrite;
use super::{Execution, Object, Outcome, SubgraphAnswer, SubgraphCall};

/// The field by which a subgraph gives entities.
const ENTITIES: &str = "_entities";

/// Distinct representations and the places that each one's entity goes to.
#[derive(Default)]
struct Wanted {
    representations: Vec<Value>,
    places: Vec<Vec<Vec<Step>>>,
}

impl Execution<'_> {
    pub(super) async fn fetch(&self, node: &FetchNode, at: &[FetchDataPathElement], data: &Value) -> Outcome {
        let mut variables = self.used_variables(node);
        if node.requires.is_empty() {
            let places = self.places(at, data);
            if places.is_empty() {
                return Outcome::default();
            }
            let answer = self.ask(node, variables).await;
            return self.root_fields(node, &places, answer);
        }
        let wanted = self.wanted(node, at, data);
        if wanted.representations.is_empty() {
            return Outcome::default();
        }
        variables.insert(ByteString::from("representations"), Value::Array(wanted.representations));
        let answer = self.ask(node, variables).await;
        self.entities(node, &wanted.places, answer)
    }

    fn used_variables(&self, node: &FetchNode) -> Object {
        node.variable_usages
            .iter()
            .filter_map(|name| self.variables.get_key_value(name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn places(&self, at: &[FetchDataPathElement], data: &Value) -> Vec<Vec<Step>> {
        let mut places = Vec::new();
        select(self.schema, data, at, &mut |place, _| places.push(place.to_vec()));
        places
    }

    /// Each entity once, however many places want it.
    fn wanted(&self, node: &FetchNode, at: &[FetchDataPathElement], data: &Value) -> Wanted {
        let mut wanted = Wanted::default();
        select(self.schema, data, at, &mut |place, entity| {
            let Some(object) = representation(self.schema, entity, &node.requires) else {
                return;
            };
            let mut value = Value::Object(object);
            rewrite::apply(self.schema, &mut value, &node.input_rewrites);
            // An event holds a handful of entities; a hash would cost more than the walk.
            if let Some(index) = wanted.representations.iter().position(|known| *known == value) {
                wanted.places[index].push(place.to_vec());
            } else {
                wanted.representations.push(value);
                wanted.places.push(vec![place.to_vec()]);
            }
        });
        wanted
    }

    async fn ask(&self, node: &FetchNode, variables: Object) -> SubgraphAnswer {
        let call = SubgraphCall {
            subgraph: &node.subgraph_name,
            query: node.operation_document.as_serialized(),
            operation_name: node.operation_name.as_deref(),
            variables,
        };
        self.subgraphs.call(call).await
    }

    fn root_fields(&self, node: &FetchNode, places: &[Vec<Step>], answer: SubgraphAnswer) -> Outcome {
        let mut data = answer.data;
        rewrite::apply(self.schema, &mut data, &node.output_rewrites);
        let errors = answer.errors.into_iter().flat_map(|error| {
            let below = error_path(&error).unwrap_or_default();
            places.iter().map(move |place| located(&error, place, &below)).collect::<Vec<_>>()
        });
        Outcome {
            errors: errors.collect(),
            patches: places.iter().map(|place| (place.clone(), data.clone())).collect(),
        }
    }

    fn entities(&self, node: &FetchNode, places: &[Vec<Vec<Step>>], answer: SubgraphAnswer) -> Outcome {
        let mut outcome = Outcome::default();
        for error in &answer.errors {
            match entity_index(error, places.len()) {
                Some((index, below)) if index < places.len() => {
                    outcome.errors.extend(places[index].iter().map(|place| located(error, place, &below)));
                }
                // Of no entity in particular: it concerns each of them, and is said once, at the first.
                _ => {
                    let first = places.first().and_then(|places| places.first());
                    outcome.errors.extend(first.map(|place| located(error, place, &[])));
                }
            }
        }
        let Value::Object(mut data) = answer.data else {
            return outcome;
        };
        let Some(Value::Array(entities)) = data.remove(ENTITIES) else {
            return outcome;
        };
        for (mut entity, places) in entities.into_iter().zip(places) {
            rewrite::apply(self.schema, &mut entity, &node.output_rewrites);
            for place in places {
                outcome.patches.push((place.clone(), entity.clone()));
            }
        }
        outcome
    }
}

impl SubgraphAnswer {
    /// Whether the subgraph, or something behind it, is away for the moment.
    pub(in super::super) fn is_unavailable(&self) -> bool {
        let code = |error: &Value| error.get("extensions")?.get("code")?.as_str().map(str::to_owned);
        self.errors.iter().any(|error| code(error).as_deref() == Some("UNAVAILABLE"))
    }

    /// What clients learn of a subgraph that did not answer. Why it did not is in the log.
    pub(in super::super) fn unavailable() -> Self {
        Self {
            data: Value::Null,
            errors: vec![json!({
                "message": "a part of the graph did not answer",
                "extensions": { "code": "UNAVAILABLE" },
            })],
        }
    }
}

fn error_path(error: &Value) -> Option<Vec<Value>> {
    error.get("path").and_then(Value::as_array).cloned()
}

/// The number of the entity that an error is about, and the path below it. async-graphql leaves the number out; with
/// one entity asked for there is nothing to tell apart.
fn entity_index(error: &Value, asked: usize) -> Option<(usize, Vec<Value>)> {
    let path = error_path(error)?;
    let (field, rest) = path.split_first()?;
    if field.as_str() != Some(ENTITIES) {
        return None;
    }
    match rest.split_first().and_then(|(index, below)| Some((index.as_u64()?, below))) {
        Some((index, below)) => Some((usize::try_from(index).ok()?, below.to_vec())),
        None => (asked == 1).then(|| (0, rest.to_vec())),
    }
}

/// A subgraph's error as the client sees it: at its place in the client's answer, without the positions in a query that
/// the client never wrote.
fn located(error: &Value, place: &[Step], below: &[Value]) -> Value {
    let mut error = error.clone();
    if let Some(error) = error.as_object_mut() {
        error.remove("locations");
        let path: Vec<_> = place.iter().map(Step::to_json).chain(below.iter().cloned()).collect();
        error.insert(ByteString::from("path"), Value::Array(path));
    }
    error
}
