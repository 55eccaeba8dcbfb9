//! Apollo Router's plan as it writes it out, and what of it is run here.

use std::collections::HashSet;

use apollo_compiler::ast::Document;
use apollo_federation::query_plan::requires_selection::Selection;
use apollo_router::services::execution::QueryPlan;
use serde::Deserialize;
use serde_json::Value;

use super::Unfit;

/// Fetches of one operation. Larger plans are Apollo Router's.
const FETCHES_MAX: usize = 100;

#[derive(Deserialize)]
struct Written {
    root: Node,
    query: Query,
}

#[derive(Deserialize)]
struct Query {
    filtered_query: Option<Filtered>,
    unauthorized: Unauthorized,
}

/// What of the operation is for everybody.
#[derive(Deserialize)]
struct Filtered {
    string: String,
}

#[derive(Deserialize)]
struct Unauthorized {
    paths: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Node {
    Sequence {
        nodes: Vec<Self>,
    },
    Parallel {
        nodes: Vec<Self>,
    },
    Fetch(Box<FetchNode>),
    Flatten {
        path: Vec<Value>,
        node: Box<Self>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FetchNode {
    service_name: String,
    #[serde(default)]
    requires: Vec<Selection>,
    variable_usages: Vec<String>,
    operation: String,
    operation_name: Option<String>,
    operation_kind: String,
    input_rewrites: Option<Value>,
    output_rewrites: Option<Value>,
    context_rewrites: Option<Value>,
}

/// A part of a plan.
pub(in super::super) enum Step {
    Fetch(Box<Fetch>),
    Sequence(Vec<Self>),
    Parallel(Vec<Self>),
}

/// On the way to entities.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Stop {
    Key(Box<[u8]>),
    Each,
}

/// One request to a subgraph.
pub(in super::super) struct Fetch {
    pub(in super::super) subgraph: Box<str>,
    /// Where the entities are; without any, root fields are fetched.
    pub(in super::super) path: Vec<Stop>,
    pub(in super::super) requires: Vec<Selection>,
    /// The body up to its variables.
    pub(in super::super) head: Box<[u8]>,
    pub(in super::super) variables: Vec<Box<str>>,
}

impl Fetch {
    pub(in super::super) fn is_of_entities(&self) -> bool {
        !self.requires.is_empty()
    }
}

/// Reads a plan; whatever this executor does not know makes it unfit.
pub(super) fn read(plan: &QueryPlan, text: &str) -> Result<Step, Unfit> {
    let written = serde_json::to_value(plan).map_err(|_| Unfit("the plan cannot be written"))?;
    let written: Written = serde_json::from_value(written).map_err(|_| Unfit("the plan cannot be read"))?;
    // It is there as well when the text is merely laid out in another way than Apollo Router would.
    let whole = Document::parse(text, "operation.graphql").map_err(|_| Unfit("the text does not parse"))?.to_string();
    let is_whole = written.query.filtered_query.is_none_or(|filtered| filtered.string == whole);
    if !is_whole || !written.query.unauthorized.paths.is_empty() {
        return Err(Unfit("parts of the operation are not for everybody"));
    }
    let mut fetches = 0;
    step(written.root, &[], &mut fetches)
}

fn step(node: Node, at: &[Value], fetches: &mut usize) -> Result<Step, Unfit> {
    let mut all = |nodes: Vec<Node>| nodes.into_iter().map(|node| step(node, at, fetches)).collect::<Result<_, _>>();
    match node {
        Node::Sequence { nodes } => Ok(Step::Sequence(all(nodes)?)),
        Node::Parallel { nodes } => Ok(Step::Parallel(all(nodes)?)),
        Node::Flatten { path, node } => {
            let below: Vec<Value> = at.iter().cloned().chain(path).collect();
            step(*node, &below, fetches)
        }
        Node::Fetch(node) => {
            *fetches += 1;
            if *fetches > FETCHES_MAX {
                return Err(Unfit("too many fetches"));
            }
            fetch(*node, at).map(Box::new).map(Step::Fetch)
        }
        Node::Other => Err(Unfit("the plan has a node of another kind")),
    }
}

fn fetch(node: FetchNode, at: &[Value]) -> Result<Fetch, Unfit> {
    let has_some =
        |rewrites: &Option<Value>| rewrites.as_ref().is_some_and(|rewrites| *rewrites != Value::Array(vec![]));
    if [&node.input_rewrites, &node.output_rewrites, &node.context_rewrites].into_iter().any(has_some) {
        return Err(Unfit("the plan rewrites data"));
    }
    if !matches!(node.operation_kind.as_str(), "query" | "mutation") {
        return Err(Unfit("a fetch of another kind"));
    }
    if node.requires.is_empty() != at.is_empty() {
        return Err(Unfit("root fields below the root"));
    }
    let path = at.iter().filter(|stop| stop.as_str() != Some("")).map(stop).collect::<Result<_, _>>()?;
    let mut head = br#"{"query":"#.to_vec();
    let unwritten = |_| Unfit("the fetch cannot be written");
    serde_json::to_writer(&mut head, &node.operation).map_err(unwritten)?;
    if let Some(name) = &node.operation_name {
        head.extend_from_slice(br#","operationName":"#);
        serde_json::to_writer(&mut head, name).map_err(unwritten)?;
    }
    let mut seen = HashSet::new();
    let variables = node.variable_usages.into_iter().filter(|name| seen.insert(name.clone()));
    Ok(Fetch {
        subgraph: node.service_name.into(),
        path,
        requires: node.requires,
        head: head.into(),
        variables: variables.map(Into::into).collect(),
    })
}

/// Conditions on types and fragments are Apollo Router's.
fn stop(element: &Value) -> Result<Stop, Unfit> {
    match element.as_str() {
        Some("@") => Ok(Stop::Each),
        Some(key) if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
            Ok(Stop::Key(key.as_bytes().into()))
        }
        _ => Err(Unfit("a path with conditions")),
    }
}
