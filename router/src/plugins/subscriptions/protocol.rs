//! graphql-transport-ws: its messages and close codes
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>).

use axum::extract::ws::Utf8Bytes;
pub(super) use velvet_edge::protocol::{ClientMessage, Credentials, Envelope, Object, Operation, Signed, object};

use super::transport::Transport;

/// The subprotocol's name.
pub(super) const SUBPROTOCOL: &str = "graphql-transport-ws";

/// Why a socket is closed. Reasons are for people; programs read the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

impl Close {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }

    /// The one operation of a stream is over.
    pub(super) const COMPLETED: Self = Self::new(1000, "Completed");
    /// The router stops or retires the socket's schema. Come back; resume by cursors.
    pub(super) const GOING_AWAY: Self = Self::new(1001, "Going away");
    /// Frames that are against the WebSocket protocol itself (RFC 6455, 7.4.1).
    pub(super) const BROKEN_FRAMES: Self = Self::new(1002, "Protocol error");
    /// A text that is not UTF-8.
    pub(super) const NO_TEXT: Self = Self::new(1007, "Invalid UTF-8");
    pub(super) const TOO_LARGE: Self = Self::new(1009, "Message too large");
    /// Too many sockets of the viewer or the key, or the token's keys cannot be had. Come back later.
    pub(super) const TRY_LATER: Self = Self::new(1013, "Try again later");
    /// The client reads slower than its events come. Come back; resume by cursors.
    pub(super) const SLOW: Self = Self::new(4008, "Slow consumer");
    /// Nothing came after a ping.
    pub(super) const SILENT: Self = Self::new(4499, "No pong");
    pub(super) const INVALID: Self = Self::new(4400, "Invalid message");
    pub(super) const UNAUTHORIZED: Self = Self::new(4401, "Unauthorized");
    pub(super) const FORBIDDEN: Self = Self::new(4403, "Forbidden");
    /// The access token ended. Come back with a new one.
    pub(super) const EXPIRED: Self = Self::new(4403, "Token expired");
    /// The partner's key ended. Come back with another one.
    pub(super) const KEY_ENDED: Self = Self::new(4403, "Key ended");
    pub(super) const SUBPROTOCOL: Self = Self::new(4406, "Subprotocol not acceptable");
    pub(super) const INIT_TIMEOUT: Self = Self::new(4408, "Connection initialisation timeout");
    pub(super) const DUPLICATE: Self = Self::new(4409, "Subscriber already exists");
    pub(super) const TOO_MANY_INITS: Self = Self::new(4429, "Too many initialisation requests");

    /// Whether the client has been told by the messages of its operations.
    pub(super) fn is_told(self) -> bool {
        matches!(self, Self::COMPLETED | Self::EXPIRED | Self::KEY_ENDED)
    }
}

/// The protocol on a client's socket.
pub(super) struct TransportWs;

impl Transport for TransportWs {
    fn name(&self) -> &'static str {
        SUBPROTOCOL
    }

    fn next(&self, id: &str, response: &str, _extensions: Option<&str>) -> Utf8Bytes {
        format!(r#"{{"id":{},"type":"next","payload":{response}}}"#, quoted(id)).into()
    }

    fn error(&self, id: &str, errors: &str) -> Utf8Bytes {
        format!(r#"{{"id":{},"type":"error","payload":{errors}}}"#, quoted(id)).into()
    }

    fn complete(&self, id: &str) -> Utf8Bytes {
        complete(id)
    }
}

pub(super) fn connection_ack() -> Utf8Bytes {
    Utf8Bytes::from_static(r#"{"type":"connection_ack"}"#)
}

pub(super) fn pong() -> Utf8Bytes {
    Utf8Bytes::from_static(r#"{"type":"pong"}"#)
}

pub(super) fn complete(id: &str) -> Utf8Bytes {
    format!(r#"{{"id":{},"type":"complete"}}"#, quoted(id)).into()
}

/// One GraphQL error as a list, for [`Transport::error`].
pub(super) fn failure(code: &str, message: &str) -> String {
    serde_json::json!([{ "message": message, "extensions": { "code": code } }]).to_string()
}

/// What ends a stream early, as a list of errors with the code that a socket would be closed with.
pub(super) fn failure_of_close(close: Close) -> String {
    let extensions = serde_json::json!({ "code": "UNAVAILABLE", "closeCode": close.code });
    serde_json::json!([{ "message": close.reason, "extensions": extensions }]).to_string()
}

fn quoted(id: &str) -> String {
    serde_json::Value::from(id).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_quoted_on_its_way_back() {
        assert_eq!(complete("a\"b").as_str(), r#"{"id":"a\"b","type":"complete"}"#);
    }
}
