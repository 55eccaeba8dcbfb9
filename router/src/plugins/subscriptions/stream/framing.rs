//! What a protocol over HTTP has beyond its messages.

use axum::extract::ws::Utf8Bytes;
use http::HeaderMap;

use super::super::protocol::{Close, Operation};
use super::super::transport::Transport;

/// How messages become one HTTP response.
pub(super) trait Framing: Transport {
    /// The response's `Content-Type`.
    fn content_type(&self) -> &'static str;

    /// What the response starts with, before there is anything to say.
    fn opening(&self) -> Utf8Bytes;

    /// What shows that the connection is alive.
    fn heartbeat(&self) -> Utf8Bytes;

    /// What the response ends with.
    fn ending(&self, close: Close) -> Utf8Bytes;

    /// Whether queries, mutations and refused operations are answered in the protocol as well.
    fn carries_queries(&self) -> bool;

    /// Takes the place to go on from out of the request's headers, where the protocol has it there.
    fn resume(&self, _headers: &HeaderMap, _operation: &mut Operation) {}
}
