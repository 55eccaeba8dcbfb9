//! Calls with a key and without: by POST, by GET, by an operation's address and over the socket.

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{Router, Stack, eventually};
use crate::registry::Key;

pub const HEADER: &str = "query Header { header }";
pub const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// An answer over HTTP: its status, and its body as JSON.
pub type Answer = (u16, Value);

pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

pub fn http() -> reqwest::Client {
    reqwest::Client::new()
}

pub fn post(router: &Router, key: Option<&str>, body: &Value) -> reqwest::RequestBuilder {
    let request = http().post(router.graphql_url()).json(body);
    key.iter().fold(request, |request, key| request.header("x-api-key", *key))
}

/// By GET at the GraphQL endpoint, with the members as parameters.
pub fn get(router: &Router, key: Option<&str>, body: &Value) -> reqwest::RequestBuilder {
    let mut url = url::Url::parse(&router.graphql_url()).unwrap();
    for (name, value) in body.as_object().unwrap() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        url.query_pairs_mut().append_pair(name, &value);
    }
    let request = http().get(url).header("apollo-require-preflight", "1");
    key.iter().fold(request, |request, key| request.header("x-api-key", *key))
}

/// By an operation's own address.
pub fn at(router: &Router, key: Option<&str>, id: &str) -> reqwest::RequestBuilder {
    let request = http().get(format!("{}/op/{id}", router.graphql_url()));
    key.iter().fold(request, |request, key| request.header("x-api-key", *key))
}

pub async fn socket(router: &Router, key: &str) -> Client {
    Client::ready_with(router.port, json!({ "apiKey": key })).await
}

pub fn code(body: &Value) -> &str {
    body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

pub fn persisted(hash: &str) -> Value {
    json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } })
}

/// Waits until the router has read what was put into the registry.
pub async fn known(stack: &Stack, key: &Key, id: &str) {
    let body = json!({ "documentId": id });
    eventually("the registry is read", async || answer(post(&stack.router, Some(&key.text), &body)).await.0 == 200)
        .await;
}
