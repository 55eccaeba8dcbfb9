//! A router gets a new schema while it serves: the old one with a field that no client asks for yet.

use crate::HEALED;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use velvet_kit::{Handle, until};

const QUERY: &str = "type Query ";
const FIELD: &str = "rolledOut";
const FIELDS: &str = "{ __type(name: \"Query\") { fields { name } } }";

/// The schema with the field, as a release of a subgraph would add it.
fn with_field(supergraph: &str) -> Result<String> {
    let query = supergraph.find(QUERY).context("a schema without queries")?;
    let begins = supergraph[query..].find("{\n").context("a type without fields")? + query + 2;
    let field = format!("  \"\"\"Came with a release.\"\"\"\n  {FIELD}: String @join__field(graph: ACCOUNTS)\n");
    Ok(format!("{}{field}{}", &supergraph[..begins], &supergraph[begins..]))
}

fn file(stack: &Handle, router: &str) -> Result<String> {
    let path = stack.info.faults.supergraphs.get(router).with_context(|| format!("{router} follows no schema"))?;
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Gives a router the schema with the field, and waits until it serves that.
pub async fn forth(stack: &Handle, router: &str) -> Result<()> {
    stack.roll(router, &with_field(&file(stack, router)?)?)?;
    serves(stack, router, true).await
}

/// Gives it the old one, and waits until it serves that.
pub async fn back(stack: &Handle, router: &str) -> Result<()> {
    let now = file(stack, router)?;
    let added = with_field("type Query {\n}")?;
    let added = added.trim_start_matches("type Query {\n").trim_end_matches('}');
    if now.contains(added) {
        stack.roll(router, &now.replace(added, ""))?;
    }
    serves(stack, router, false).await
}

async fn serves(stack: &Handle, router: &str, wanted: bool) -> Result<()> {
    let index: usize = router.split_once('-').map_or(Ok(0), |(_, index)| index.parse())?;
    let url = stack.info.router_urls.get(index).with_context(|| format!("there is no {router}"))?;
    until(&format!("the schema of {router}"), HEALED, || async {
        let asked = reqwest::Client::new().post(format!("{url}/graphql"));
        let answer = asked.json(&json!({ "query": FIELDS })).send().await?.json::<Value>().await?;
        let fields = answer["data"]["__type"]["fields"].as_array().context("no fields")?;
        let there = fields.iter().any(|field| field["name"] == FIELD);
        ensure!(there == wanted, "{FIELD} is {}there", if there { "" } else { "not " });
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_the_first_of_the_queries() -> Result<()> {
        let schema = "type Query @join__type(graph: ACCOUNTS) {\n  me: Account!\n}\n";
        let rolled = with_field(schema)?;
        assert_eq!(rolled.lines().nth(2), Some("  rolledOut: String @join__field(graph: ACCOUNTS)"));
        assert!(rolled.ends_with("  me: Account!\n}\n"));
        assert!(with_field("type Mutation {\n}").is_err());
        Ok(())
    }
}
