//! What the graph shows a person of their own: Redis' account of what happened.

use crate::{ask::Client, graph};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What one person sees.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct View {
    pub me: Value,
    /// By the other person's id.
    pub matches: BTreeMap<String, Value>,
    /// By id, each with all of its messages under `messages`.
    pub conversations: BTreeMap<String, Value>,
}

impl View {
    pub async fn read(client: &Client) -> Result<Self> {
        let me = client.look(&graph::ME, json!({})).await?;
        let matches = client.look(&graph::MATCHES, json!({})).await?;
        let matches = by(&matches["nodes"], |node| &node["with"]["id"]);
        let listed = client.look(&graph::CONVERSATIONS, json!({})).await?;
        let mut conversations = by(&listed["nodes"], |node| &node["id"]);
        for (id, conversation) in &mut conversations {
            conversation["messages"] = Value::from(history(client, id).await?);
        }
        Ok(Self { me, matches, conversations })
    }
}

fn by(nodes: &Value, key: impl Fn(&Value) -> &Value) -> BTreeMap<String, Value> {
    let keyed =
        nodes.as_array().into_iter().flatten().map(|node| (key(node).as_str().unwrap_or_default(), node.clone()));
    keyed.map(|(key, node)| (key.to_owned(), node)).collect()
}

async fn history(client: &Client, conversation: &str) -> Result<Vec<Value>> {
    let mut messages = Vec::new();
    let mut after = Value::Null;
    loop {
        let page = client.look(&graph::HISTORY, json!({ "input": conversation, "after": after })).await?;
        let page = &page["messages"];
        for node in page["nodes"].as_array().with_context(|| format!("no page: {page}"))? {
            let mut node = node.clone();
            sort_reactions(&mut node["reactions"]);
            messages.push(node);
        }
        if page["pageInfo"]["hasNextPage"] != true {
            return Ok(messages);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

fn sort_reactions(reactions: &mut Value) {
    for reaction in reactions.as_array_mut().into_iter().flatten() {
        if let Some(ids) = reaction["userIds"].as_array_mut() {
            ids.sort_by_key(ToString::to_string);
        }
    }
    if let Some(reactions) = reactions.as_array_mut() {
        reactions.sort_by_key(|reaction| reaction["emoji"].to_string());
    }
}
