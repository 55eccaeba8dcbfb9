//! How what an operation says stands on the way to its client. There is one for each protocol; all else about a client
//! is the same whatever it speaks: its queue and bounds, its operations, its viewer.

use axum::extract::ws::Utf8Bytes;

/// A protocol's messages. An empty one is not sent.
pub(super) trait Transport: Send + Sync {
    /// What tells it from the other protocols.
    fn name(&self) -> &'static str;

    /// A result. `extensions` are the response's own, as far as they are known apart from it.
    fn next(&self, id: &str, response: &str, extensions: Option<&str>) -> Utf8Bytes;

    /// A list of GraphQL errors in the place of any further result; the operation is over with it.
    fn error(&self, id: &str, errors: &str) -> Utf8Bytes;

    /// The same when it is not the operation that failed but its way to the client.
    fn failure(&self, id: &str, errors: &str) -> Utf8Bytes {
        self.error(id, errors)
    }

    /// Nothing follows.
    fn complete(&self, id: &str) -> Utf8Bytes;

    /// Where a stream stands before its first event, for a client that did not ask.
    fn position(&self, _extensions: &str) -> Option<Utf8Bytes> {
        None
    }

    /// Whether a connection carries one operation and ends with it.
    fn one_operation(&self) -> bool {
        false
    }
}
