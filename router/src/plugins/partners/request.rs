//! GraphQL over HTTP as far as it is needed here: what operation is meant, and the request with its text in it.

use std::sync::Arc;

use apollo_router::services::router;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json_bytes::{ByteString, Map, Value};
use tower::BoxError;
use url::form_urlencoded;

use super::refusal::Refusal;
use crate::plugins::executor::Offered;

/// Where an operation's hash stands in the extensions (Apollo's automatic persisted queries).
const PERSISTED_QUERY: &str = "persistedQuery";

/// A request's members. What else a body holds is no part of GraphQL and is left out.
#[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variables: Option<Map<ByteString, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extensions: Option<Map<ByteString, Value>>,
    #[serde(default, skip_serializing)]
    document_id: Option<String>,
}

/// How an operation is meant: what a call says about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meant<'a> {
    /// Its text.
    pub text: Option<&'a str>,
    /// `documentId`.
    pub document_id: Option<&'a str>,
    /// `extensions.persistedQuery.sha256Hash`.
    pub hash: Option<&'a str>,
}

impl<'a> Meant<'a> {
    /// From the members of a request.
    pub fn of(
        text: Option<&'a str>,
        document_id: Option<&'a str>,
        extensions: Option<&'a Map<ByteString, Value>>,
    ) -> Result<Self, Refusal> {
        let hash = match extensions.and_then(|extensions| extensions.get(PERSISTED_QUERY)) {
            None | Some(Value::Null) => None,
            Some(persisted) => Some(persisted.get("sha256Hash").and_then(Value::as_str).ok_or(Refusal::Request)?),
        };
        // An empty text is what some clients send when they mean none.
        Ok(Self { text: text.filter(|text| !text.is_empty()), document_id, hash })
    }
}

impl<'a> Meant<'a> {
    /// The id that is meant.
    pub fn id(self) -> Option<&'a str> {
        self.document_id.or(self.hash)
    }
}

/// Takes the hash out: the text now stands for itself.
pub fn without_hash(extensions: &mut Map<ByteString, Value>) {
    extensions.remove(PERSISTED_QUERY);
}

/// Whether the request may name an operation by an id; false for all that say nothing like it.
pub(super) fn may_name_an_id(parts: &Parts, body: &[u8]) -> bool {
    let text = if parts.method == Method::GET { parts.uri.query().unwrap_or_default().as_bytes() } else { body };
    // A name may be written with escapes, which then are there to be seen.
    let hints: [&[u8]; 4] = [b"documentId", b"persistedQuery", b"\\u", b"%"];
    hints.iter().any(|hint| memmem::find(text, hint).is_some())
}

impl Asked {
    pub(super) fn read(parts: &Parts, body: &[u8]) -> Result<Self, Refusal> {
        if parts.method == Method::GET {
            return Self::from_query(parts.uri.query().unwrap_or_default());
        }
        // Serde would take a list for a struct, member by member.
        let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        is_object.then(|| serde_json::from_slice(body).ok()).flatten().ok_or(Refusal::Request)
    }

    fn from_query(query: &str) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let twice = match &*name {
                "query" => asked.query.replace(value.into_owned()).is_some(),
                "operationName" => asked.operation_name.replace(value.into_owned()).is_some(),
                "documentId" => asked.document_id.replace(value.into_owned()).is_some(),
                "variables" => std::mem::replace(&mut asked.variables, object(&value)?).is_some(),
                "extensions" => std::mem::replace(&mut asked.extensions, object(&value)?).is_some(),
                _ => false,
            };
            if twice {
                return Err(Refusal::Request);
            }
        }
        Ok(asked)
    }

    pub(super) fn meant(&self) -> Result<Meant<'_>, Refusal> {
        Meant::of(self.query.as_deref(), self.document_id.as_deref(), self.extensions.as_ref())
    }

    /// The operation of that text, for whoever runs it without a pipeline.
    pub(super) fn offered(&self, text: &Arc<str>) -> Offered {
        Offered {
            text: Arc::clone(text),
            operation_name: self.operation_name.as_deref().map(Into::into),
            variables: self.variables.clone().unwrap_or_default(),
            extensions: self.extensions.clone().unwrap_or_default(),
        }
    }

    /// The request for the pipeline, with that text in it. It is sent on as a POST, since an address has no room for a
    /// long text; whether it may come by GET has been looked at.
    pub(super) fn into_request(
        mut self,
        text: &str,
        mut parts: Parts,
    ) -> Result<http::Request<router::Body>, BoxError> {
        self.query = Some(text.to_owned());
        if let Some(extensions) = &mut self.extensions {
            without_hash(extensions);
        }
        parts.method = Method::POST;
        parts.uri = parts.uri.path().parse()?;
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_ENCODING);
        Ok(http::Request::from_parts(parts, router::body::from_bytes(Bytes::from(serde_json::to_vec(&self)?))))
    }
}

fn object(text: &str) -> Result<Option<Map<ByteString, Value>>, Refusal> {
    serde_json::from_str(text).map_err(|_| Refusal::Request)
}

/// The address of an operation that is called by its id, as the pipeline takes it.
pub(super) fn address_of(path: &str, id: &str, query: &str) -> Result<String, Refusal> {
    let mut members = form_urlencoded::Serializer::new(String::new());
    members.append_pair("documentId", id);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "variables" | "extensions" | "operationName" => members.append_pair(&name, &value),
            // The id in the path is the one that is meant.
            "query" | "documentId" => return Err(Refusal::Request),
            _ => continue,
        };
    }
    Ok(format!("{path}?{}", members.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: Method, query: &str, body: &str) -> Result<Asked, Refusal> {
        let uri = format!("http://a/graphql?{query}");
        let (parts, ()) = http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
        Asked::read(&parts, body.as_bytes())
    }

    #[test]
    fn an_operation_is_meant_by_text_by_id_or_by_hash() {
        let get = read(Method::GET, "documentId=a&variables=%7B%22a%22%3A1%7D", "").unwrap();
        assert_eq!(get.meant(), Ok(Meant { document_id: Some("a"), ..Meant::default() }));
        let post = read(Method::POST, "documentId=ignored", r#"{"query":"","documentId":"a","variables":{"a":1}}"#);
        assert_eq!(post.as_ref().unwrap().meant(), get.meant());
        let hashed = read(Method::POST, "", r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#);
        assert_eq!(hashed.unwrap().meant(), Ok(Meant { hash: Some("ab"), ..Meant::default() }));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for body in ["", "[]", "[{}]", r#"[null,null,null,null,"a"]"#, "{", r#"{"variables":[]}"#, r#"{"query":1}"#] {
            assert_eq!(read(Method::POST, "", body), Err(Refusal::Request), "{body}");
        }
        for query in ["variables=x", "variables=[]", "documentId=a&documentId=b", "variables=%7B%7D&variables=%7B%7D"] {
            assert_eq!(read(Method::GET, query, ""), Err(Refusal::Request), "{query}");
        }
        let odd = read(Method::POST, "", r#"{"extensions":{"persistedQuery":{"sha256Hash":1}}}"#).unwrap();
        assert_eq!(odd.meant(), Err(Refusal::Request));
    }

    #[test]
    fn an_address_keeps_the_calls_own_members() {
        let address = address_of("/graphql", "ab", "variables=%7B%7D&other=1").unwrap();
        assert_eq!(address, "/graphql?documentId=ab&variables=%7B%7D");
        assert_eq!(address_of("/graphql", "ab", "query=%7Ba%7D"), Err(Refusal::Request));
    }
}
