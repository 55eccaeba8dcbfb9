//! A partner's own program: it knows the router and its key.

use crate::SOON;
use anyhow::{Context, Result, ensure};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use velvet_kit::{Handle, until};

/// The program.
#[derive(Debug)]
pub struct Program {
    http: reqwest::Client,
    router: String,
    key: String,
}

impl Program {
    /// One that has this key.
    pub fn new(stack: &Handle, key: String) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(SOON).build().context("making an HTTP client")?;
        Ok(Self { http, router: stack.info.router_url.clone(), key })
    }

    /// Registers operations, each by its id and text, and waits until the router knows them.
    pub async fn publish(&self, operations: &[(&str, &str)]) -> Result<()> {
        let manifest: Value = operations.iter().map(|(id, text)| ((*id).to_owned(), json!(text))).collect();
        let url = format!("{}/graphql/op?client=app&idempotencyKey=publish", self.router);
        until("the key is known to the router", SOON, || async {
            let answer = self.http.post(&url).header("x-api-key", &self.key).json(&manifest).send().await?;
            let (status, report) = (answer.status(), answer.text().await?);
            ensure!(status == StatusCode::OK, "{status}: {report}");
            Ok(())
        })
        .await?;
        for (id, _) in operations {
            until("the operation is known to the router", SOON, || async {
                let (status, ..) = self.get(id, &json!({}), None).await?;
                ensure!(status != StatusCode::NOT_FOUND, "{id}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Calls an operation by its address; with the tag of an answer that it has.
    pub async fn get(&self, id: &str, variables: &Value, tag: Option<&str>) -> Result<(StatusCode, HeaderMap, Value)> {
        let request = self.http.get(format!("{}/graphql/op/{id}", self.router));
        let request = request.query(&[("variables", variables.to_string())]).header("x-api-key", &self.key);
        let request = tag.iter().fold(request, |request, tag| request.header("if-none-match", *tag));
        let answer = request.send().await?;
        let (status, headers, text) = (answer.status(), answer.headers().clone(), answer.text().await?);
        Ok((status, headers, serde_json::from_str(&text).unwrap_or_default()))
    }
}
