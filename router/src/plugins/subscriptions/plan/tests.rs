use serde_json_bytes::json;

use super::super::fixture::{plan, planner, try_plan};
use super::*;

async fn delivery(query: &str) -> Delivery {
    plan(query).await.delivery
}

#[tokio::test]
async fn what_the_client_selects_decides_what_is_done_to_events() {
    let forwarded = [
        "subscription { changes { __typename ... on Emptied { reason } ... on Added { owner { id } } } }",
        "subscription { changes { ... on Emptied { reason __typename } ... on Added { owner { id __typename } } __typename } }",
        "subscription($k: String) { c: changes(kind: $k) { ...E __typename } } fragment E on Emptied { why: reason }",
    ];
    for query in forwarded {
        assert_eq!(delivery(query).await, Delivery::Forward, "{query}");
    }
    // The planner adds the type's name; directives may leave fields out; one key is selected twice.
    let projected = [
        "subscription { changes { ... on Emptied { reason } } }",
        "subscription($no: Boolean!) { changes { __typename ... on Emptied { reason @skip(if: $no) } } }",
        "subscription { changes { __typename ... on Added { owner { id } owner { id } } } }",
    ];
    for query in projected {
        assert_eq!(delivery(query).await, Delivery::Project, "{query}");
    }
    let executed = "subscription { changes { __typename ... on Added { owner { name } } } }";
    assert_eq!(delivery(executed).await, Delivery::Execute);
}

#[tokio::test]
async fn a_plan_is_made_once() {
    let planner = planner();
    let query = "subscription { changes { __typename } }";
    assert!(planner.known(query, None).is_none());
    let Ok(Planned::Subscription(made)) = planner.plan(query.to_owned(), None).await else { panic!() };
    let Some(Planned::Subscription(known)) = planner.known(query, None) else { panic!() };
    assert!(Arc::ptr_eq(&made, &known));
    assert!(matches!(planner.known("{ best }", None), Some(Planned::Other)));
}

#[tokio::test]
async fn an_operation_that_is_not_valid_is_refused_with_its_place() {
    let Err(Refused(errors)) = try_plan("subscription {\n  nothing }").await else { panic!() };
    assert_eq!(errors[0]["locations"], json!([{ "line": 2, "column": 3 }]));
    assert_eq!(errors[0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
}

#[tokio::test]
async fn variables_are_checked_and_get_their_defaults() {
    let plan = plan("subscription($k: String = \"a\") { changes(kind: $k) { __typename } }").await;
    assert_eq!(plan.coerce(&Object::new()).unwrap().get("k"), Some(&json!("a")));
    let mut wrong = Object::new();
    wrong.insert("k", json!(7));
    assert!(plan.coerce(&wrong).is_err());
}
