//! graphql-sse, "distinct connections mode" (<https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>), in the
//! format of <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! An event's id is the stream's cursor, so that whoever reconnects with `Last-Event-ID` goes on behind it.

use std::fmt::Write as _;

use axum::extract::ws::Utf8Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json_bytes::Value;

use super::super::protocol::{Close, Operation};
use super::super::transport::Transport;
use super::framing::Framing;

const LAST_EVENT_ID: &str = "last-event-id";

/// With an empty `data`: a browser passes over an event that has none.
const COMPLETE: &str = "event: complete\ndata:\n\n";

pub(super) struct EventStream;

/// What of a response's extensions says where the stream is.
#[derive(Deserialize)]
struct Position {
    #[serde(default)]
    cursor: Option<String>,
}

impl Transport for EventStream {
    fn name(&self) -> &'static str {
        "graphql-sse"
    }

    fn next(&self, _id: &str, response: &str, extensions: Option<&str>) -> Utf8Bytes {
        let mut event = String::with_capacity(response.len() + 64);
        event.push_str("event: next\n");
        if let Some(cursor) = extensions.and_then(cursor) {
            let _ = writeln!(event, "id: {cursor}");
        }
        // Line ends stand between the tokens of JSON, never within one.
        for line in response.split(['\r', '\n']) {
            let _ = writeln!(event, "data: {line}");
        }
        event.push('\n');
        event.into()
    }

    fn error(&self, id: &str, errors: &str) -> Utf8Bytes {
        let response = format!(r#"{{"errors":{errors}}}"#);
        format!("{}{COMPLETE}", self.next(id, &response, None)).into()
    }

    fn complete(&self, _id: &str) -> Utf8Bytes {
        Utf8Bytes::from_static(COMPLETE)
    }

    /// An id alone: a browser notes it and tells nobody.
    fn position(&self, extensions: &str) -> Option<Utf8Bytes> {
        cursor(extensions).map(|cursor| format!("id: {cursor}\n\n").into())
    }

    fn one_operation(&self) -> bool {
        true
    }
}

impl Framing for EventStream {
    fn content_type(&self) -> &'static str {
        "text/event-stream; charset=utf-8"
    }

    fn opening(&self) -> Utf8Bytes {
        self.heartbeat()
    }

    fn heartbeat(&self) -> Utf8Bytes {
        Utf8Bytes::from_static(":\n\n")
    }

    /// Without `complete`: clients take it for a lost connection, which it is, and come back by themselves.
    fn ending(&self, close: Close) -> Utf8Bytes {
        if close.is_told() {
            return Utf8Bytes::default();
        }
        format!(": {} {}\n\n", close.code, close.reason).into()
    }

    fn carries_queries(&self) -> bool {
        true
    }

    /// A client that reconnects repeats its request: what it has seen since stands in the header.
    fn resume(&self, headers: &HeaderMap, operation: &mut Operation) {
        let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).filter(|last| !last.is_empty());
        if let Some(last) = last {
            operation.extensions.get_or_insert_default().insert("after", Value::from(last));
        }
    }
}

/// The cursor, if it can be an id.
fn cursor(extensions: &str) -> Option<String> {
    let position: Position = serde_json::from_str(extensions).ok()?;
    position.cursor.filter(|cursor| !cursor.is_empty() && cursor.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_lines_of_data_with_the_cursor_as_its_id() {
        let event = EventStream.next("", "{\"data\":\n1}", Some(r#"{"cursor":"abc"}"#));
        assert_eq!(event.as_str(), "event: next\nid: abc\ndata: {\"data\":\ndata: 1}\n\n");
        for extensions in [None, Some("{}"), Some(r#"{"cursor":7}"#), Some(r#"{"cursor":"a\nb"}"#), Some("7")] {
            assert_eq!(EventStream.next("", "{}", extensions).as_str(), "event: next\ndata: {}\n\n", "{extensions:?}");
        }
    }

    #[test]
    fn an_error_is_the_last_result() {
        let event = EventStream.error("", "[]");
        assert_eq!(event.as_str(), "event: next\ndata: {\"errors\":[]}\n\nevent: complete\ndata:\n\n");
    }

    #[test]
    fn only_what_is_really_over_is_complete() {
        assert_eq!(EventStream.ending(Close::COMPLETED).as_str(), "");
        assert_eq!(EventStream.ending(Close::GOING_AWAY).as_str(), ": 1001 Going away\n\n");
    }

    #[test]
    fn the_last_event_goes_before_the_cursor_of_the_request() {
        let mut operation: Operation = serde_json::from_str(r#"{"extensions":{"after":"old"}}"#).unwrap();
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static(LAST_EVENT_ID),
            http::HeaderValue::from_static("new"),
        )]);
        EventStream.resume(&headers, &mut operation);
        assert_eq!(operation.extensions.unwrap().get("after").unwrap(), "new");
    }
}
