//! One operation against the graph, and whether its answer is a good one.

use serde_json::{Value, json};
use velvet_kit::client::Client;

use crate::schedule::Answer;

/// Longer causes are cut: they are counted by their text.
const CAUSE_LENGTH_MAX: usize = 90;

/// A request's body.
pub fn body(query: &str, variables: &Value) -> String {
    json!({ "query": query, "variables": variables }).to_string()
}

/// Sends it and reads the data; anything else is an error by its kind.
pub async fn ask(client: &Client, body: String) -> Result<Value, String> {
    let (status, text) = client.post(body).await.map_err(|cause| cut(&cause.root_cause().to_string()))?;
    if status != 200 {
        return Err(format!("status {status}"));
    }
    let mut answer: Value = serde_json::from_str(&text).map_err(|_| "no JSON".to_owned())?;
    match answer["errors"].as_array().and_then(|errors| errors.first()) {
        Some(error) => {
            let code = error["extensions"]["code"].as_str().unwrap_or_default();
            Err(cut(&format!("{code} {}", error["message"].as_str().unwrap_or_default())))
        }
        None => Ok(answer["data"].take()),
    }
}

/// Sends a mutation whose payload must be of this type.
pub async fn mutate(client: &Client, body: String, field: &str, typename: &str) -> Answer {
    let data = ask(client, body).await?;
    match data[field]["__typename"].as_str() {
        Some(named) if named == typename => Ok(()),
        Some(named) => Err(named.to_owned()),
        None => Err(format!("no {field}")),
    }
}

fn cut(cause: &str) -> String {
    cause.trim().chars().take(CAUSE_LENGTH_MAX).collect()
}
