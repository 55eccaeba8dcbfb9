//! One event, from what the subgraph says to what clients get.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry::Context;
use opentelemetry::trace::{
    FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json_bytes::Value;

use super::execute::{Execution, apply_rewrites};
use super::generation::{Asking, Generation};
use super::metrics::{EXECUTED, PROJECTED};
use super::plan::Plan;
use super::project::project;
use super::protocol::Object;

/// Where a subgraph says which trace an event is a part of, when it is sampled (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";

/// The parts of an event, not yet read.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
}

/// An event as a subgraph sent it.
pub(super) struct Event<'a> {
    response: &'a Bytes,
    parts: Parts<'a>,
    /// What of its extensions is not for clients, when there is some.
    traced: Option<Traced>,
}

/// The trace that an event is a part of, and its extensions without that.
struct Traced {
    traceparent: Arc<str>,
    extensions: Option<String>,
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
        let parts: Parts = serde_json::from_slice(response).ok()?;
        let traced = parts.extensions.and_then(|extensions| Traced::of(extensions.get()));
        Some(Self { response, parts, traced })
    }

    pub(super) fn position(&self) -> Position {
        self.extensions().and_then(|extensions| serde_json::from_str(extensions).ok()).unwrap_or_default()
    }

    /// Those that are for clients.
    pub(super) fn extensions(&self) -> Option<&str> {
        match &self.traced {
            Some(traced) => traced.extensions.as_deref(),
            None => self.parts.extensions.map(RawValue::get),
        }
    }

    /// The response for clients that have asked for just what came.
    pub(super) fn forwarded(&self) -> Cow<'_, str> {
        if self.traced.is_none() {
            return std::str::from_utf8(self.response).unwrap_or("null").into();
        }
        let members = [
            ("data", self.parts.data.map(RawValue::get)),
            ("errors", self.parts.errors.map(RawValue::get)),
            ("extensions", self.extensions()),
        ];
        let members = members.into_iter().filter_map(|(name, value)| Some(format!(r#""{name}":{}"#, value?)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into()
    }
}

impl Traced {
    /// Nothing without a trace, as most are.
    fn of(extensions: &str) -> Option<Self> {
        if !extensions.contains(TRACEPARENT) {
            return None;
        }
        let mut members: Object = serde_json::from_str(extensions).ok()?;
        let traceparent = members.remove(TRACEPARENT)?;
        let extensions = (!members.is_empty()).then(|| Value::Object(members).to_string());
        Some(Self { traceparent: traceparent.as_str().unwrap_or_default().into(), extensions })
    }

    /// As the parent of what is done for the event (<https://www.w3.org/TR/trace-context/#traceparent-header>).
    fn context(&self) -> Option<Context> {
        let mut fields = self.traceparent.split('-');
        let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        if version != "00" || (trace.len(), span.len(), flags.len()) != (32, 16, 2) {
            return None;
        }
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
        let parent = SpanContext::new(trace, span, flags, true, TraceState::default());
        parent.is_valid().then(|| Context::new().with_remote_span_context(parent))
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
                traceparent: event.traced.as_ref().map(|traced| Arc::clone(&traced.traceparent)),
            };
            let schema = &self.generation.schema;
            let execution = Execution { schema, variables: self.variables, subgraphs: &asking };
            let running = execution.run(rest, data, &mut errors);
            data = match event.traced.as_ref().and_then(Traced::context) {
                Some(context) => running.with_context(context).await,
                None => running.await,
            };
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
        let mut data = event.parts.data.map(read).unwrap_or_default();
        apply_rewrites(&self.generation.schema, &mut data, &self.plan.primary.output_rewrites);
        let errors = match event.parts.errors.map(read) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_for_us_and_all_else_for_clients() {
        let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let text = format!(r#"{{"data":{{"a":1}},"extensions":{{"cursor":"7","traceparent":"{traceparent}"}}}}"#);
        let response = Bytes::from(text);
        let event = Event::parse(&response).unwrap();
        assert_eq!(event.extensions(), Some(r#"{"cursor":"7"}"#));
        assert_eq!(event.forwarded(), r#"{"data":{"a":1},"extensions":{"cursor":"7"}}"#);
        assert_eq!(event.position().cursor, Some("7".into()));
        let context = event.traced.as_ref().and_then(Traced::context).unwrap();
        let span = context.span().span_context().clone();
        assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(span.is_sampled());
    }

    #[test]
    fn what_has_no_trace_is_forwarded_as_it_came_and_a_broken_one_is_left_out() {
        let response = Bytes::from_static(br#"{ "data": 1, "extensions": {"cursor":"7"} }"#);
        assert_eq!(Event::parse(&response).unwrap().forwarded().as_bytes(), &response[..]);
        let response = Bytes::from_static(br#"{"data":1,"extensions":{"traceparent":7}}"#);
        let event = Event::parse(&response).unwrap();
        assert_eq!(event.forwarded(), r#"{"data":1}"#);
        assert!(event.traced.as_ref().and_then(Traced::context).is_none());
    }
}
