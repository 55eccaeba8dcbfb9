//! A client of the protocols over HTTP, read as they come.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::process::{PATIENCE, Stack, eventually};

pub const SSE: &str = "text/event-stream";
pub const MULTIPART: &str = "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0,application/json";

/// What came next on a stream.
#[derive(Debug, PartialEq)]
pub enum Item {
    /// A response, and the event's id if it has one.
    Next(Value, Option<String>),
    /// What ended the stream early.
    Failure(Value),
    /// An id without an event.
    Position(String),
    /// A sign of life: a comment or an empty part.
    Alive(String),
    /// The operation is over.
    Complete,
    /// The response is.
    End,
}

pub struct Stream {
    response: Response,
    buffer: String,
    multipart: bool,
}

/// The bearer token of a viewer.
pub fn token(stack: &Stack, subject: &str) -> String {
    format!("Bearer {}", stack.world().issuer.token(subject, 900))
}

/// Posts an operation; `headers` go along.
pub async fn post(stack: &Stack, accept: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut request = reqwest::Client::new().post(stack.router.graphql_url()).header("accept", accept).json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Posts more than the kernel's buffers and a client's queue hold, until the one who does not read has lost its place.
pub async fn overrun_one(stack: &Stack) {
    let text = "x".repeat(50_000);
    for _ in 0..500 {
        stack.world().post(&text, "ann");
    }
    eventually("the slow one is found", async || stack.router.metric("velvet_router_sockets_slow_total").await == 1)
        .await;
    eventually("it holds no place", async || stack.router.metric("velvet_router_sockets").await == 0).await;
}

/// The status and the code of the first error of an answer in JSON. Apollo Router's refusal of a request that was not
/// preflighted does not say that it is JSON.
pub async fn refusal(response: Response) -> (u16, String) {
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap());
    assert!(content_type.is_none_or(|value| value.starts_with("application/json")), "{response:?}");
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    (status, body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned())
}

impl Stream {
    /// Subscribes as a viewer.
    pub async fn open(stack: &Stack, accept: &str, subject: &str, query: &str) -> Self {
        let token = token(stack, subject);
        Self::of(post(stack, accept, &[("authorization", &token)], &json!({ "query": query })).await)
    }

    pub fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let multipart = content_type == r#"multipart/mixed;boundary="graphql";subscriptionSpec=1.0"#;
        assert!(multipart || content_type == "text/event-stream; charset=utf-8", "{content_type}");
        Self { response, buffer: String::new(), multipart }
    }

    pub async fn item(&mut self) -> Item {
        let delimiter = if self.multipart { "\r\n--graphql" } else { "\n\n" };
        loop {
            if let Some((item, rest)) = self.buffer.split_once(delimiter) {
                let (item, rest) = (item.to_owned(), rest.to_owned());
                self.buffer = rest;
                // Before the first boundary there is nothing.
                if item.is_empty() {
                    continue;
                }
                return if self.multipart { part(&item) } else { event(&item) };
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("nothing came").unwrap();
            match chunk {
                Some(chunk) => self.buffer.push_str(std::str::from_utf8(&chunk).unwrap()),
                None if self.multipart && self.buffer == "--\r\n" => {
                    self.buffer.clear();
                    return Item::Complete;
                }
                None => {
                    assert_eq!(self.buffer, "", "the response ended in the middle");
                    return Item::End;
                }
            }
        }
    }

    /// The next thing that is not a sign of life.
    pub async fn said(&mut self) -> Item {
        loop {
            match self.item().await {
                Item::Alive(_) | Item::Position(_) => {}
                item => return item,
            }
        }
    }

    pub async fn event(&mut self) -> Value {
        match self.said().await {
            Item::Next(response, _) => response,
            other => panic!("an event was expected: {other:?}"),
        }
    }
}

fn part(text: &str) -> Item {
    let body = text.strip_prefix("\r\ncontent-type: application/json\r\n\r\n").expect("the headers of a part");
    let mut body: Value = serde_json::from_str(body).unwrap();
    match (body.get("payload").is_some(), body.get("errors").is_some()) {
        (false, false) => Item::Alive(String::new()),
        (true, false) => Item::Next(body["payload"].take(), None),
        _ => {
            assert_eq!(body["payload"], json!(null));
            Item::Failure(body["errors"].take())
        }
    }
}

fn event(text: &str) -> Item {
    let (mut kind, mut id, mut data) = (None, None, Vec::new());
    for line in text.lines() {
        match line.split_once(':').unwrap() {
            ("", comment) => return Item::Alive(comment.trim().to_owned()),
            ("event", value) => kind = Some(value.trim()),
            ("id", value) => id = Some(value.trim().to_owned()),
            ("data", value) => data.push(value.strip_prefix(' ').unwrap_or(value)),
            other => panic!("no field of an event: {other:?}"),
        }
    }
    match (kind, id) {
        (Some("next"), id) => Item::Next(serde_json::from_str(&data.join("\n")).unwrap(), id),
        (Some("complete"), None) => {
            assert_eq!(data, [""], "a browser passes over an event without data");
            Item::Complete
        }
        (None, Some(id)) => Item::Position(id),
        other => panic!("no event of the protocol: {other:?}"),
    }
}
