use std::fmt::Write as _;

use apollo_compiler::Schema;
use proptest::prelude::*;
use serde_json_bytes::json;

use super::*;
use crate::limits::Code;

const SCHEMA: &str = r#"
    directive @cost(weight: String!) on ARGUMENT_DEFINITION | ENUM | FIELD_DEFINITION | INPUT_FIELD_DEFINITION | OBJECT | SCALAR
    directive @listSize(assumedSize: Int, slicingArguments: [String!], sizedFields: [String!],
        requireOneSlicingArgument: Boolean = true) on FIELD_DEFINITION
    type Query {
        me: User
        users(first: Int = 10): [User!]!
        friends(first: Int, last: Int, after: String): UserConnection!
        tags: [String!]!
        search(text: String! @cost(weight: "3"), filter: Filter): [Found!]! @listSize(assumedSize: 5)
        strict(limit: Int, top: Int): [User] @listSize(slicingArguments: ["limit", "top"])
        paged(page: Page): UserConnection! @listSize(slicingArguments: ["page.size"], sizedFields: ["edges"])
        report: Report! @cost(weight: "7.2")
    }
    type Mutation { rename(name: String!): User }
    type Subscription { changed: User }
    input Filter { name: String }
    input Page { size: Int }
    type User { id: ID! name: String! friends(first: Int): UserConnection! score: Score }
    type Report @cost(weight: "100") { rows: [Row] @listSize(assumedSize: 50) }
    type Row { cell: String @cost(weight: "2") }
    scalar Score @cost(weight: "4")
    type UserConnection { edges: [UserEdge!]! nodes: [User!]! total: Int }
    type UserEdge { node: User! }
    union Found = User | Report
"#;

fn weights() -> Weights {
    Weights::of(&Schema::parse(SCHEMA, "schema.graphql").unwrap()).unwrap()
}

fn document(text: &str) -> Document {
    Document::parse(text, 100_000).unwrap()
}

fn try_cost(text: &str, variables: Option<&Value>) -> Result<u64, Refusal> {
    let variables = variables.map(|variables| variables.as_object().unwrap());
    Ok(estimate(&weights(), &document(text), None, variables)?.unwrap().cost)
}

fn cost(text: &str) -> u64 {
    try_cost(text, Some(&json!({}))).unwrap()
}

#[test]
fn an_object_costs_one_a_scalar_nothing_and_a_mutation_ten_more() {
    for (text, expected) in [
        ("{ __typename }", 0),
        ("{ me { id name } }", 1),
        ("mutation { rename(name: \"a\") { id } }", 11),
        ("subscription { changed { id } }", 1),
        ("{ a: me { id } b: me { id } }", 2),
        ("{ me { score } }", 5),
        ("{ report { __typename } }", 8),
        ("{ nothing { id } }", 0),
    ] {
        assert_eq!(cost(text), expected, "{text}");
    }
}

#[test]
fn a_list_costs_its_entries_times_its_size() {
    for (text, expected) in [
        ("{ users { id } }", 10),
        ("{ users(first: 3) { id } }", 3),
        ("{ users(first: 0) { id } }", 0),
        ("{ users(first: -3) { id } }", 0),
        ("{ tags }", 0),
        ("{ friends(first: 4) { edges { node { id } } total } }", 9),
        ("{ friends(first: 4) { nodes { id } } }", 5),
        ("{ friends(first: 4, last: 6) { nodes { id } } }", 7),
        ("{ friends { nodes { id } } }", 21),
        ("{ users(first: 5) { friends(first: 4) { nodes { friends(first: 3) { nodes { id } } } } } }", 110),
        ("{ paged(page: { size: 7 }) { edges { node { id } } } }", 1 + 15),
        ("{ report { rows { cell } } }", 8 + 50 * 3),
        ("{ search(text: \"a\") { ... on User { id } } }", 3 + 5),
        ("{ search(text: \"a\", filter: { name: \"b\" }) { __typename } }", 3 + 1 + 5),
    ] {
        assert_eq!(cost(text), expected, "{text}");
    }
}

#[test]
fn a_fragment_carries_the_size_of_the_connection_that_it_is_spread_in() {
    let text =
        "{ a: friends(first: 2) { ...F } b: friends(first: 5) { ...F } } fragment F on UserConnection { nodes { id } }";
    assert_eq!(cost(text), 3 + 6);
}

#[test]
fn of_fragments_that_exclude_each_other_the_dearest_counts() {
    let text = "{ search(text: \"a\") { ... on User { friends(first: 2) { nodes { id } } } ... on Report { rows { cell } } } }";
    assert_eq!(cost(text), 3 + 5 * (1 + 150));
    // On one and the same object they add up.
    assert_eq!(cost("{ me { ... on User { friends { total } } ... { friends { total } } } }"), 3);
}

#[test]
fn variables_say_how_long_a_page_is() {
    let text = "query($n: Int = 30) { users(first: $n) { id } }";
    assert_eq!(try_cost(text, Some(&json!({ "n": 7 }))), Ok(7));
    assert_eq!(try_cost(text, Some(&json!({}))), Ok(30));
    assert_eq!(try_cost(text, Some(&json!({ "n": null }))), Ok(10), "the schema's default stands for null");
    assert_eq!(try_cost(text, None), Ok(PAGE_SIZE_UNKNOWN), "nobody has called it yet");
    let nested = "query($p: Page) { paged(page: $p) { edges { node { id } } } }";
    assert_eq!(try_cost(nested, Some(&json!({ "p": { "size": 3 } }))), Ok(1 + 7));
}

#[test]
fn what_is_skipped_for_certain_costs_nothing() {
    let text = "query($y: Boolean!) { me @include(if: $y) { id } report @skip(if: true) { __typename } }";
    assert_eq!(try_cost(text, Some(&json!({ "y": false }))), Ok(0));
    assert_eq!(try_cost(text, Some(&json!({ "y": true }))), Ok(1));
    assert_eq!(try_cost(text, None), Ok(1));
}

#[test]
fn a_list_that_wants_one_size_gets_one() {
    let refused = Err(Refusal::new(Code::SlicingArgumentRequired));
    assert_eq!(try_cost("{ strict(limit: 2) { id } }", None), Ok(2));
    assert_eq!(try_cost("{ strict { id } }", None), refused);
    assert_eq!(try_cost("{ strict(limit: 2, top: 2) { id } }", None), refused);
}

#[test]
fn a_weight_must_be_a_number_that_is_not_negative() {
    for weight in ["\"much\"", "\"-1\"", "\"NaN\"", "true"] {
        let text =
            format!("directive @cost(weight: String!) on OBJECT type Query @cost(weight: {weight}) {{ a: Int }}");
        assert!(Weights::of(&Schema::parse(text, "schema.graphql").unwrap()).is_err(), "{weight}");
    }
}

#[test]
fn an_operation_that_is_not_there_has_no_cost() {
    assert_eq!(estimate(&weights(), &document("query A { me { id } }"), Some("B"), None), Ok(None));
}

#[test]
fn what_came_is_what_a_response_cost() {
    let weights = weights();
    let actual = |text: &str, data: Value| actual(&weights, &document(text), None, &data).unwrap();
    let friends = "{ me { friends(first: 50) { nodes { id } total } } tags }";
    let nodes = json!([{ "id": "1" }, null, { "id": "2" }]);
    let data = json!({ "me": { "friends": { "nodes": nodes, "total": 3 } }, "tags": ["a"] });
    assert_eq!(actual(friends, data), 1 + 1 + 2);
    assert_eq!(actual(friends, json!({ "me": null, "tags": [] })), 0);
    assert_eq!(actual(friends, Value::Null), 0);
    let found = "{ search(text: \"a\") { ... on User { score } ... on Report { rows { cell } } } }";
    let data = json!({ "search": [{ "score": 1 }, { "rows": [{ "cell": "x" }] }] });
    assert_eq!(actual(found, data), 3 + (1 + 4) + (1 + 3));
    assert_eq!(actual("mutation { r: rename(name: \"a\") { id } }", json!({ "r": { "id": "1" } })), 11);
}

/// Fragments that double each time, with a page on each level.
fn bomb(levels: usize) -> String {
    let mut text = "{ me { ...F0 } }".to_owned();
    for number in 0..levels {
        let next = number + 1;
        let _ = write!(
            text,
            " fragment F{number} on User {{ a: friends(first: 99) {{ nodes {{ ...F{next} }} }} \
             b: friends(first: 98) {{ nodes {{ ...F{next} }} }} }}"
        );
    }
    let _ = write!(text, " fragment F{levels} on User {{ id }}");
    text
}

#[test]
fn a_bomb_is_weighed_at_once() {
    assert_eq!(cost(&bomb(60)), u64::MAX);
}

fn selection() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![Just("id".to_owned()), Just("name".to_owned()), Just("score".to_owned())];
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 1..4), 0..200_u32).prop_map(|(inner, number)| {
                format!("f{number}: friends(first: $n) {{ nodes {{ {} }} }}", inner.join(" "))
            }),
            (proptest::collection::vec(inner, 1..4), any::<u32>()).prop_map(|(inner, size)| format!(
                "... on User {{ g: friends(first: {size}) {{ edges {{ node {{ {} }} }} }} }}",
                inner.join(" ")
            )),
        ]
    })
}

proptest! {
    #[test]
    fn a_longer_page_is_never_cheaper(selection in selection(), short in 0..1_000_000_u64, more in 0..u64::MAX / 2) {
        let text = format!("query($n: Int) {{ me {{ {selection} }} }}");
        let of = |size: u64| try_cost(&text, Some(&json!({ "n": size }))).unwrap();
        prop_assert!(of(short) <= of(short.saturating_add(more)));
    }

    #[test]
    fn any_text_is_weighed(text in "(\\{|\\}| |me|friends|nodes|\\.\\.\\.|F|on|User|fragment|\\(first: |9|\\)|query|id|@skip\\(if: true\\)){0,80}") {
        if let Ok(document) = Document::parse(&text, 1_000) {
            let _ = estimate(&weights(), &document, None, None);
        }
    }
}
