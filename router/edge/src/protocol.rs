//! What clients of graphql-transport-ws say (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json_bytes::{ByteString, Map, Value};

/// A JSON object whose strings share the bytes that they were read from.
pub type Object = Map<ByteString, Value>;

/// A message as it stands on the wire, its payload not yet read.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    /// The message's type.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// Which operation is meant.
    #[serde(borrow, default)]
    pub id: Option<Cow<'a, str>>,
    /// What stands in it depends on the type.
    #[serde(borrow, default)]
    pub payload: Option<&'a RawValue>,
}

/// The payload of `connection_init` and, to renew the token, of `ping`.
#[derive(Default, Deserialize)]
pub struct Credentials {
    /// `Bearer <access token>`.
    #[serde(default, alias = "Authorization")]
    pub authorization: Option<String>,
    /// A partner's key; in `connection_init` alone.
    #[serde(default, rename = "apiKey")]
    pub api_key: Option<String>,
    /// The proof that the caller holds the key.
    #[serde(default)]
    pub signature: Option<Signed>,
}

/// The parts of a signature; what is signed is the `GET` of the socket's path, without a body.
#[derive(Deserialize)]
pub struct Signed {
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Used once.
    pub nonce: String,
    /// In hexadecimal digits.
    pub signature: String,
}

/// The payload of `subscribe`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The text.
    #[serde(default)]
    pub query: Option<String>,
    /// A registered operation, in place of a text.
    #[serde(default)]
    pub document_id: Option<String>,
    /// Which operation of the text is meant.
    #[serde(default)]
    pub operation_name: Option<String>,
    /// The variables, by name.
    #[serde(default)]
    pub variables: Option<Object>,
    /// Whatever else client and router have agreed on.
    #[serde(default)]
    pub extensions: Option<Object>,
}

/// What a client asks for.
pub enum ClientMessage {
    /// Who asks.
    Init(Credentials),
    /// Whether the router is there, or a new token.
    Ping(Credentials),
    /// The client is there.
    Pong,
    /// Run an operation under this id.
    Subscribe(String, Box<Operation>),
    /// No more of the operation of this id.
    Complete(String),
}

impl ClientMessage {
    /// Nothing when the message is not of the protocol.
    pub fn parse(text: &str) -> Option<Self> {
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
pub fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    text.trim_start().starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
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
}
