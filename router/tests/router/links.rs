//! What a subgraph says of its fields by directives of ours, each from a link of its own.

use serde_json::json;

use crate::client::Client;
use crate::process::{compose, start};
use crate::subgraphs::{World, schemas};

const TICKERS: &str = "subscription { tickers }";

/// A schema of one subgraph with both links, in this order.
fn linked(order: [&str; 2]) -> String {
    let links = order.map(|name| {
        let (version, import) = match name {
            "cost" => ("https://velvet.dev/cost/v1.0", "@cost"),
            _ => ("https://velvet.dev/streams/v1.0", "@independent"),
        };
        format!(
            "extend schema @link(url: \"{version}\", import: [\"{import}\"]) @composeDirective(name: \"{import}\")\n"
        )
    });
    links.concat()
        + r#"extend schema @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@composeDirective"])
directive @cost(weight: String!) on FIELD_DEFINITION
directive @independent(signedIn: Boolean) on FIELD_DEFINITION
type Query { a: Int @cost(weight: "4") }
type Subscription { b: Int @cost(weight: "5") @independent(signedIn: true) }
"#
}

#[test]
fn two_links_of_one_subgraph_compose_whichever_comes_first() {
    let composed = |order| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::read_to_string(compose(folder.path(), &[("one", linked(order))], "http://api:1")).unwrap()
    };
    for supergraph in [composed(["cost", "streams"]), composed(["streams", "cost"])] {
        let has = |text: &str| supergraph.lines().any(|line| line.contains(text));
        assert!(has(r#"@link(url: "https://velvet.dev/cost/v1.0""#), "{supergraph}");
        assert!(has(r#"@link(url: "https://velvet.dev/streams/v1.0""#), "{supergraph}");
        let field = supergraph.lines().find(|line| line.trim_start().starts_with("b: Int")).unwrap();
        assert!(field.contains(r#"@cost(weight: "5")"#) && field.contains("@independent(signedIn: true)"), "{field}");
    }
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let supergraph = std::fs::read_to_string(compose(folder.path(), &schemas(&world), "http://api:1")).unwrap();
    let field = supergraph.lines().find(|line| line.trim_start().starts_with("tickers:")).unwrap();
    assert!(field.contains(r#"@cost(weight: "9")"#) && field.contains("@independent"), "{field}");
}

#[tokio::test]
async fn a_field_with_a_cost_and_a_stream_for_all_is_weighed_and_shared() {
    let stack = start("plugins: {velvet.limits: {anonymous: {cost: 8}, user: {cost: 9}}}").await;
    let mut anon = stack.anon().await;
    anon.subscribe("s", TICKERS).await;
    let refused = anon.message().await;
    let expected = json!({ "code": "OPERATION_TOO_COSTLY", "limit": 8, "actual": 9 });
    assert_eq!(refused["payload"][0]["extensions"], expected, "{refused}");

    let mut followers: Vec<Client> = Vec::new();
    for subject in ["alice", "bob", "carol"] {
        let mut follower = stack.viewer(subject).await;
        follower.subscribe_with("s", json!({ "query": TICKERS, "extensions": { "position": true } })).await;
        assert_eq!(follower.event("s").await["extensions"]["positioned"], true);
        followers.push(follower);
    }
    stack.world().post("news", "ann");
    for follower in &mut followers {
        assert_eq!(follower.event("s").await["data"], json!({ "tickers": "news" }));
    }
    let subscribes = stack.world().subscribes.lock().unwrap().clone();
    assert_eq!(subscribes.len(), 1, "one stream of the subgraph for all of them");
    assert_eq!(subscribes[0]["extensions"], json!({ "position": true }), "in nobody's name");
    assert_eq!(stack.router.metric("velvet_router_streams_shared").await, 1);
}
