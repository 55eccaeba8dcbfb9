//! The graph as a test sees it: over HTTP here, over a socket in [`ws`].

pub mod ws;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// Above every wait that the graph itself bounds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    headers: Vec<(String, String)>,
}

/// What came back, errors included: a test says itself what it expects.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Response {
    #[serde(skip)]
    pub status: u16,
    #[serde(default)]
    pub data: Value,
    #[serde(default)]
    pub errors: Vec<Value>,
    #[serde(default)]
    pub extensions: Value,
}

impl Client {
    pub fn new(url: &str) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().context("making an HTTP client")?;
        Ok(Self { http, url: url.to_owned(), token: None, headers: Vec::new() })
    }

    /// The same client, signed in.
    #[must_use]
    pub fn bearer(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same client with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub async fn send(&self, query: &str, variables: Value) -> Result<Response> {
        let body = json!({ "query": query, "variables": variables });
        let (status, text) = self.post(body.to_string()).await?;
        let mut response: Response =
            serde_json::from_str(&text).with_context(|| format!("{} answered {status}: {text}", self.url))?;
        response.status = status;
        Ok(response)
    }

    /// The data of an operation that must have no errors.
    pub async fn data(&self, query: &str, variables: Value) -> Result<Value> {
        let response = self.send(query, variables).await?;
        if !response.errors.is_empty() {
            bail!("{query}: {}", Value::from(response.errors));
        }
        Ok(response.data)
    }

    /// Any body, for what a client should not send; the status and the text of the answer.
    pub async fn post(&self, body: String) -> Result<(u16, String)> {
        let mut request = self.http.post(&self.url).header("content-type", "application/json").body(body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| format!("asking {}", self.url))?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.context("reading an answer")?))
    }
}

impl Response {
    /// `errors[0].extensions.code`, for tests of refusals.
    pub fn code(&self) -> Option<&str> {
        self.errors.first()?.get("extensions")?.get("code")?.as_str()
    }
}
