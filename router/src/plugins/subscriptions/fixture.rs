//! A small supergraph for the tests of planning, execution and projection.

use std::num::NonZeroUsize;
use std::sync::Arc;

use apollo_federation::Supergraph;
use apollo_federation::composition::{CompositionOptions, compose};
use apollo_federation::subgraph::typestate::Subgraph;

use super::plan::{Plan, Planned, Planner, Refused};

const LINK: &str = r#"extend schema @link(url: "https://specs.apollo.dev/federation/v2.5",
    import: ["@key", "@requires", "@external", "@shareable"])"#;

const PEOPLE: &str = r#"
    type Query { person: User }
    type User @key(fields: "id") { id: ID! name: String! rank: Int }
"#;

const SHELF: &str = r#"
    type Query { first: Item }
    type Subscription { changes(kind: String): Change }
    union Change = Added | Emptied
    type Added { items: [Item] kept: [Item!] owner: User }
    type Emptied { reason: String! }
    interface Item { id: ID! }
    type Book implements Item @key(fields: "id") { id: ID! title: String author: User }
    type Song implements Item @key(fields: "id") { id: ID! singer: User }
    type User @key(fields: "id", resolvable: false) { id: ID! }
"#;

const RATINGS: &str = r#"
    type Query { best: Int }
    type Book @key(fields: "id") { id: ID! stars: Int author: User @external
      label: String @requires(fields: "author { rank }") }
    type User @key(fields: "id") { id: ID! rank: Int @external }
"#;

pub(super) fn supergraph() -> Supergraph {
    let subgraphs = [("people", PEOPLE), ("shelf", SHELF), ("ratings", RATINGS)]
        .map(|(name, sdl)| Subgraph::parse(name, &format!("http://{name}/graphql"), &format!("{LINK}{sdl}")).unwrap());
    let composed = compose(subgraphs.into(), CompositionOptions::default()).unwrap();
    Supergraph::new_with_router_specs(&composed.schema().schema().to_string()).unwrap()
}

pub(super) fn planner() -> Planner {
    Planner::new(&supergraph(), NonZeroUsize::new(8).unwrap(), 1).unwrap()
}

pub(super) async fn try_plan(query: &str) -> Result<Planned, Refused> {
    planner().plan(query.to_owned(), None).await
}

pub(super) async fn plan(query: &str) -> Arc<Plan> {
    match try_plan(query).await.unwrap() {
        Planned::Subscription(plan) => plan,
        Planned::Other => panic!("a subscription was expected"),
    }
}
