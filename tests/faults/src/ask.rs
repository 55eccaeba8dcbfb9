//! A client of the routers that writes down what it asks and what it is told.

use crate::{
    graph::Operation,
    history::{History, Request, What},
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;
use velvet_kit::Handle;

/// Longer than the graph's own waits; then nobody waits any more.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// Someone who asks.
#[derive(Debug, Clone)]
pub struct Client {
    pub who: String,
    pub token: Option<String>,
    history: History,
    urls: Arc<[String]>,
    http: reqwest::Client,
}

impl Client {
    pub fn new(stack: &Handle, history: &History, who: &str) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().context("making an HTTP client")?;
        let urls = stack.info.router_urls.iter().map(|url| format!("{url}/graphql")).collect();
        Ok(Self { who: who.to_owned(), token: None, history: history.clone(), urls, http })
    }

    /// A request that can be sent more than once.
    pub fn request(&self, operation: &Operation, key: Option<&str>, input: Value) -> Arc<Request> {
        let trace = Uuid::new_v4().simple().to_string();
        let (id, operation) = (self.history.fresh(), operation.field);
        Arc::new(Request { id, operation, key: key.map(str::to_owned), input, trace })
    }

    /// Sends a request once to one of the routers. Gives what stands under the field, if the graph has answered.
    pub async fn send(&self, operation: &Operation, request: &Arc<Request>, router: usize) -> Option<Value> {
        let router = router % self.urls.len();
        self.history.note(&self.who, What::Asked { request: Arc::clone(request), router });
        let body = json!({ "query": operation.document, "variables": { "input": request.input } });
        let (id, told) = (request.id, self.post(&self.urls[router], &request.trace, &body).await);
        let (code, why) = match told {
            Err(cause) => (None, format!("{cause:#}")),
            Ok(mut response) => match response["errors"].as_array().and_then(|errors| errors.first()) {
                None => {
                    let payload = response["data"][operation.field].take();
                    self.history.note(&self.who, What::Answered { request: id, payload: payload.clone() });
                    return Some(payload);
                }
                Some(error) => (error["extensions"]["code"].as_str().map(str::to_owned), error.to_string()),
            },
        };
        self.history.note(&self.who, What::Failed { request: id, code, why });
        None
    }

    /// Asks without writing it down.
    pub async fn look(&self, operation: &Operation, variables: Value) -> Result<Value> {
        let body = json!({ "query": operation.document, "variables": variables });
        let mut response = self.post(&self.urls[0], &Uuid::new_v4().simple().to_string(), &body).await?;
        anyhow::ensure!(response["errors"].is_null(), "{}: {}", operation.field, response["errors"]);
        Ok(response["data"][operation.field].take())
    }

    async fn post(&self, url: &str, trace: &str, body: &Value) -> Result<Value> {
        let mut request =
            self.http.post(url).header("traceparent", format!("00-{trace}-{}-00", &trace[..16])).json(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.context("no answer")?;
        let status = response.status();
        response.json().await.with_context(|| format!("an answer with the status {status}"))
    }
}
