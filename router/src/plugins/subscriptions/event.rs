//! One event, from what the subgraph says to what clients get.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json_bytes::Value;

use super::execute::{Execution, apply_rewrites};
use super::generation::{Asking, Generation};
use super::metrics::{EXECUTED, PROJECTED};
use super::plan::Plan;
use super::project::project;
use super::protocol::Object;

/// The parts of an event, not yet read.
#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
}

/// What of an event's extensions is for us.
#[derive(Default, Deserialize)]
pub(super) struct Position {
    /// Where the stream is with this event.
    #[serde(default)]
    pub(super) cursor: Option<Value>,
    /// Not an event: it says where a stream starts.
    #[serde(default)]
    pub(super) positioned: bool,
}

impl<'a> Event<'a> {
    /// Nothing when it is not a response of GraphQL.
    pub(super) fn parse(response: &'a Bytes) -> Option<Self> {
        serde_json::from_slice(response).ok()
    }

    pub(super) fn position(&self) -> Position {
        self.extensions().and_then(|extensions| serde_json::from_str(extensions).ok()).unwrap_or_default()
    }

    pub(super) fn extensions(&self) -> Option<&'a str> {
        self.extensions.map(RawValue::get)
    }
}

/// What one selection makes of events, in somebody's name.
pub(super) struct Rendering<'r> {
    pub(super) generation: &'r Arc<Generation>,
    pub(super) plan: &'r Plan,
    pub(super) variables: &'r Object,
    pub(super) authorization: Option<Arc<str>>,
}

impl Rendering<'_> {
    /// The response for an event that says more than was asked.
    pub(super) fn projected(&self, response: &Bytes, event: &Event) -> String {
        PROJECTED.increment();
        let (data, errors) = self.read(response, event);
        self.response(&data, errors, event.extensions())
    }

    /// The response for an event that other subgraphs have a part in.
    pub(super) async fn executed(&self, response: &Bytes, event: &Event<'_>) -> String {
        EXECUTED.increment();
        let (mut data, mut errors) = self.read(response, event);
        if let (Some(rest), false) = (self.plan.rest.as_deref(), data.is_null()) {
            // Never closed.
            let _permit = self.generation.events.acquire().await;
            let asking = Asking {
                generation: Arc::clone(self.generation),
                authorization: self.authorization.clone(),
                event: self.name(event),
            };
            let schema = &self.generation.schema;
            let execution = Execution { schema, variables: self.variables, subgraphs: &asking };
            data = execution.run(rest, data, &mut errors).await;
        }
        self.response(&data, errors, event.extensions())
    }

    /// What tells an event from all others, if something does.
    fn name(&self, event: &Event) -> Option<Arc<str>> {
        let cursor = event.position().cursor?;
        Some(format!("{} {cursor}", self.plan.primary.subgraph_name).into())
    }

    /// An event's data and errors. Strings in them share the event's bytes.
    fn read(&self, response: &Bytes, event: &Event) -> (Value, Vec<Value>) {
        let read = |raw: &RawValue| Value::from_bytes(response.slice_ref(raw.get().as_bytes())).unwrap_or_default();
        let mut data = event.data.map(read).unwrap_or_default();
        apply_rewrites(&self.generation.schema, &mut data, &self.plan.primary.output_rewrites);
        let errors = match event.errors.map(read) {
            Some(Value::Array(errors)) => errors,
            _ => Vec::new(),
        };
        (data, errors)
    }

    fn response(&self, data: &Value, mut errors: Vec<Value>, extensions: Option<&str>) -> String {
        let data = project(self.plan, self.variables, data, &mut errors);
        let mut response = format!(r#"{{"data":{data}"#);
        if !errors.is_empty() {
            response.push_str(r#","errors":"#);
            response.push_str(&Value::Array(errors).to_string());
        }
        if let Some(extensions) = extensions {
            response.push_str(r#","extensions":"#);
            response.push_str(extensions);
        }
        response.push('}');
        response
    }
}
