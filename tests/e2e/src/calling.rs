//! The ways in which a partner can call an operation by its id, and what each of them answers.

use crate::SOON;
use anyhow::{Context, Result, bail};
use hmac::{Hmac, Mac};
use reqwest::{Method, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};
use uuid::Uuid;
use velvet_kit::{
    Handle,
    client::ws::{Event, Frame, PROTOCOL, Socket},
};

/// By which protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `POST /graphql`.
    Post,
    /// `GET /graphql/op/<id>`.
    Address,
    /// graphql-transport-ws.
    WebSocket,
    /// graphql-sse, for a query or mutation too.
    EventStream,
    /// What Apollo Client asks for when it subscribes.
    Multipart,
}

/// How a call is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    None,
    Good,
    /// The signature is that of another request.
    Tampered,
}

/// A call, good or bad.
#[derive(Debug, Clone)]
pub struct Call {
    pub key: String,
    pub id: String,
    pub variables: Value,
    /// A text beside the id.
    pub text: Option<String>,
    /// `extensions.persistedQuery.sha256Hash`.
    pub hash: Option<String>,
    pub signing: Signing,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// None on a socket.
    pub status: Option<u16>,
    /// The first error's, or that of a close frame; empty when there was none.
    pub code: String,
    pub message: String,
    pub data: Value,
    /// All that a caller could tell two answers apart by, the date left out.
    pub whole: String,
}

impl Call {
    /// A good call of that operation.
    pub fn of(key: &str, id: &str, variables: &Value) -> Self {
        let (key, id, variables) = (key.to_owned(), id.to_owned(), variables.clone());
        Self { key, id, variables, text: None, hash: None, signing: Signing::None }
    }

    fn payload(&self) -> Value {
        // A subscription says at once that it stands.
        let position = json!({ "position": true });
        let mut payload = json!({ "documentId": self.id, "variables": self.variables, "extensions": position });
        if let Some(text) = &self.text {
            payload["query"] = json!(text);
        }
        if let Some(hash) = &self.hash {
            payload["extensions"]["persistedQuery"] = json!({ "version": 1, "sha256Hash": hash });
        }
        payload
    }

    fn address(&self) -> String {
        let mut url = reqwest::Url::parse("http://a/graphql/op/").unwrap_or_else(|_| unreachable!("it is one"));
        url.set_path(&format!("/graphql/op/{}", self.id));
        let mut members = url.query_pairs_mut();
        members.append_pair("variables", &self.variables.to_string());
        for (name, value) in [("query", &self.text), ("extensions", &self.hash)] {
            let Some(value) = value else { continue };
            let extensions = json!({ "persistedQuery": { "version": 1, "sha256Hash": value } }).to_string();
            members.append_pair(name, if name == "query" { value } else { &extensions });
        }
        drop(members);
        format!("{}?{}", url.path(), url.query().unwrap_or_default())
    }

    /// Timestamp, nonce and signature of a request with that body.
    fn signature(&self, method: &str, path_and_query: &str, body: &str) -> Option<(u64, String, String)> {
        let path_and_query = match self.signing {
            Signing::None => return None,
            Signing::Good => path_and_query.to_owned(),
            Signing::Tampered => format!("{path_and_query}&more"),
        };
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let nonce = Uuid::new_v4().simple().to_string();
        let secret = hmac(&hex(&Sha256::digest(&self.key)), "velvet-signing-v1");
        let body = hex(&Sha256::digest(body));
        let signature = hmac(&secret, &format!("{timestamp}\n{nonce}\n{method}\n{path_and_query}\n{body}"));
        Some((timestamp, nonce, signature))
    }
}

impl Way {
    /// Those that carry a query.
    pub const ALL: [Self; 5] = [Self::Post, Self::Address, Self::WebSocket, Self::EventStream, Self::Multipart];
    /// Those that carry a subscription of a partner.
    pub const LIVE: &[Self] = &[Self::WebSocket, Self::EventStream, Self::Multipart];

    /// Calls, and reads the first answer.
    pub async fn ask(self, stack: &Handle, call: &Call) -> Result<Told> {
        let asking = async {
            match self {
                Self::WebSocket => over_socket(stack, call).await,
                _ => self.over_http(stack, call).await,
            }
        };
        tokio::time::timeout(SOON, asking).await.with_context(|| format!("{self:?} gives no answer"))?
    }

    async fn over_http(self, stack: &Handle, call: &Call) -> Result<Told> {
        let (method, path, body) = match self {
            Self::Address => (Method::GET, call.address(), String::new()),
            _ => (Method::POST, "/graphql".to_owned(), call.payload().to_string()),
        };
        let url = format!("{}{path}", stack.info.router_url);
        let mut request = reqwest::Client::new().request(method.clone(), url).header("x-api-key", &call.key);
        if let Some((timestamp, nonce, signature)) = call.signature(method.as_str(), &path, &body) {
            request = request.header("x-velvet-timestamp", timestamp);
            request = request.header("x-velvet-nonce", nonce).header("x-velvet-signature", signature);
        }
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.header(header::ACCEPT, self.accept()).send().await?;
        let status = response.status().as_u16();
        let mut headers: Vec<String> = response
            .headers()
            .iter()
            .filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()))
            // What is left of a limit changes with each call; that it is told is part of the answer.
            .map(|(name, value)| match name.as_str() {
                "ratelimit" => name.to_string(),
                _ => format!("{name}: {value:?}"),
            })
            .collect();
        headers.sort();
        let body = first_part(response).await?;
        let whole = format!("{status}\n{}\n\n{body}", headers.join("\n"));
        Ok(Told::of(Some(status), &answer_in(&body)?, whole))
    }

    fn accept(self) -> &'static str {
        match self {
            Self::EventStream => "text/event-stream",
            Self::Multipart => {
                "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json"
            }
            _ => "application/graphql-response+json",
        }
    }
}

impl Told {
    fn of(status: Option<u16>, answer: &Value, whole: String) -> Self {
        let error = &answer["errors"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (code, message) = (text(&error["extensions"]["code"]), text(&error["message"]));
        Self { status, code, message, data: answer["data"].clone(), whole }
    }
}

/// The body of a response that ends, and of one that does not as far as its first event.
async fn first_part(mut response: reqwest::Response) -> Result<String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.context("reading an answer")? {
        body.extend_from_slice(&chunk);
        let text = String::from_utf8_lossy(&body);
        let has_event = text.contains("event: next") && text.contains("data: ") && text.ends_with("\n\n");
        if has_event || text.contains("{\"payload\"") && text.contains("\r\n--graphql") {
            break;
        }
    }
    String::from_utf8(body).context("reading an answer")
}

/// The GraphQL response in it, whatever stands around it.
fn answer_in(body: &str) -> Result<Value> {
    let in_event = body.lines().find_map(|line| line.strip_prefix("data: "));
    let in_part = body.lines().find(|line| line.starts_with("{\"payload\""));
    let text = in_event.or(in_part).unwrap_or(body);
    let mut answer: Value = serde_json::from_str(text).with_context(|| format!("not a response: {body}"))?;
    let has_payload = answer["payload"].is_object();
    Ok(if has_payload { answer["payload"].take() } else { answer })
}

async fn over_socket(stack: &Handle, call: &Call) -> Result<Told> {
    let mut socket = Socket::connect(&stack.info.ws_url, Some(PROTOCOL)).await?;
    let mut init = json!({ "apiKey": call.key });
    if let Some((timestamp, nonce, signature)) = call.signature("GET", "/ws", "") {
        init["signature"] = json!({ "timestamp": timestamp, "nonce": nonce, "signature": signature });
    }
    socket.send(&json!({ "type": "connection_init", "payload": init })).await?;
    match socket.frame(SOON).await? {
        Frame::Json(frame) if frame["type"] == "connection_ack" => {}
        Frame::Closed(code, reason) => {
            let whole = format!("{code} {reason}");
            return Ok(Told { status: None, code: code.to_string(), message: reason, data: Value::Null, whole });
        }
        other @ Frame::Json(_) => bail!("expected connection_ack and got {other:?}"),
    }
    let id = socket.subscribe_with(call.payload()).await?;
    let answer = match socket.next(&id, SOON).await? {
        Event::Next(payload) => payload,
        Event::Errors(errors) => json!({ "errors": errors }),
        Event::Complete => bail!("it was completed without an answer"),
    };
    Ok(Told::of(None, &answer, answer.to_string()))
}

/// Registers operations, each by its id and text, as a partner does; the status and the report.
pub async fn publish(stack: &Handle, key: &str, operations: &[(&str, &str)]) -> Result<(u16, Value)> {
    let url = format!("{}/graphql/op?client=app&idempotencyKey={}", stack.info.router_url, Uuid::new_v4());
    let manifest: Value = operations.iter().map(|(id, text)| ((*id).to_owned(), json!(text))).collect();
    let response = reqwest::Client::new().post(url).header("x-api-key", key).json(&manifest).send().await?;
    Ok((response.status().as_u16(), response.json().await?))
}

fn hmac(secret: &str, message: &str) -> String {
    // A key of any length is taken, so that there is no error to report.
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(message.as_bytes());
            hex(&mac.finalize().into_bytes())
        },
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
