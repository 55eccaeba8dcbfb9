//! graphql-transport-ws: its messages and close codes
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>).

use std::borrow::Cow;

use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json_bytes::{ByteString, Map, Value};

use super::transport::Transport;

/// The subprotocol's name.
pub(super) const SUBPROTOCOL: &str = "graphql-transport-ws";

/// A JSON object whose strings share the bytes that they were read from.
pub(super) type Object = Map<ByteString, Value>;

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
    pub(super) const TOO_LARGE: Self = Self::new(1009, "Message too large");
    /// Too many sockets of the viewer, or the token's keys cannot be had. Come back later.
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
    pub(super) const SUBPROTOCOL: Self = Self::new(4406, "Subprotocol not acceptable");
    pub(super) const INIT_TIMEOUT: Self = Self::new(4408, "Connection initialisation timeout");
    pub(super) const DUPLICATE: Self = Self::new(4409, "Subscriber already exists");
    pub(super) const TOO_MANY_INITS: Self = Self::new(4429, "Too many initialisation requests");

    /// Whether the client has been told by the messages of its operations.
    pub(super) fn is_told(self) -> bool {
        matches!(self, Self::COMPLETED | Self::EXPIRED)
    }
}

/// The protocol on a client's socket.
pub(super) struct TransportWs;

impl Transport for TransportWs {
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

/// A message as it stands on the wire, its payload not yet read.
#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) payload: Option<&'a RawValue>,
}

/// The payload of `connection_init` and, to renew the token, of `ping`.
#[derive(Default, Deserialize)]
pub(super) struct Credentials {
    /// `Bearer <access token>`.
    #[serde(default, alias = "Authorization")]
    pub(super) authorization: Option<String>,
    /// A partner's key; in `connection_init` alone.
    #[serde(default, rename = "apiKey")]
    pub(super) api_key: Option<String>,
    /// The proof that the caller holds the key.
    #[serde(default)]
    pub(super) signature: Option<Signed>,
}

/// The parts of a signature; what is signed is the `GET` of the socket's path, without a body.
#[derive(Deserialize)]
pub(super) struct Signed {
    pub(super) timestamp: u64,
    pub(super) nonce: String,
    pub(super) signature: String,
}

/// The payload of `subscribe`.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the protocol's own names")]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    #[serde(default)]
    pub(super) query: Option<String>,
    /// A registered operation, in place of a text.
    #[serde(default)]
    pub(super) document_id: Option<String>,
    #[serde(default)]
    pub(super) operation_name: Option<String>,
    #[serde(default)]
    pub(super) variables: Option<Object>,
    #[serde(default)]
    pub(super) extensions: Option<Object>,
}

/// What a client asks for.
pub(super) enum ClientMessage {
    Init(Credentials),
    Ping(Credentials),
    Pong,
    Subscribe(String, Box<Operation>),
    Complete(String),
}

impl ClientMessage {
    /// Nothing when the message is not of the protocol.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let envelope: Envelope = object(text)?;
        let id = |id: Option<Cow<str>>| id.filter(|id| !id.is_empty()).map(Cow::into_owned);
        match envelope.kind.as_ref() {
            "connection_init" => credentials(envelope.payload).map(Self::Init),
            "ping" => credentials(envelope.payload).map(Self::Ping),
            "pong" => Some(Self::Pong),
            "complete" => Some(Self::Complete(id(envelope.id)?)),
            "subscribe" => {
                let operation = object(envelope.payload?.get())?;
                Some(Self::Subscribe(id(envelope.id)?, Box::new(operation)))
            }
            _ => None,
        }
    }
}

/// The payload must be an object, null or absent; what else stands in it is the client's own.
fn credentials(payload: Option<&RawValue>) -> Option<Credentials> {
    match payload.map(RawValue::get) {
        None | Some("null") => Some(Credentials::default()),
        Some(payload) => object(payload),
    }
}

/// Serde takes a list for a struct as well, member by member; JSON's objects are meant here.
pub(super) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
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
    fn what_is_not_of_the_protocol_is_not_a_message() {
        for text in [
            "",
            "hello",
            "[]",
            "{}",
            r#"{"type":"start"}"#,
            r#"{"type":"subscribe","payload":{"query":"{ me }"}}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{ me }"}}"#,
            r#"{"type":"subscribe","id":7,"payload":{"query":"{ me }"}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":7}}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"connection_init","payload":[]}"#,
            r#"{"type":"subscribe","id":"1","payload":[]}"#,
            r#"["ping"]"#,
            r#"{"type":"connection_init","payload":{"authorization":7}}"#,
        ] {
            assert!(ClientMessage::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_id_is_quoted_on_its_way_back() {
        assert_eq!(complete("a\"b").as_str(), r#"{"id":"a\"b","type":"complete"}"#);
    }
}
