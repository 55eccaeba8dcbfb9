use std::sync::Arc;

use apollo_compiler::name;
use apollo_federation::query_plan::{FetchDataKeyRenamer, FetchDataRewrite, FetchDataValueSetter};
use parking_lot::Mutex;
use serde_json_bytes::json;

use super::super::fixture::{plan, supergraph};
use super::super::project::project;
use super::*;

/// Answers for entities by their ids, and remembers what it was asked.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<(String, Value)>>,
    /// Does not answer.
    away: Option<&'static str>,
}

impl Subgraphs for Fake {
    fn call<'a>(&'a self, call: SubgraphCall<'a>) -> BoxFuture<'a, SubgraphAnswer> {
        let representations = call.variables.get("representations").cloned().unwrap();
        self.asked.lock().push((call.subgraph.to_owned(), representations.clone()));
        let entity = |asked: &Value| {
            let id = asked["id"].as_str().unwrap();
            match call.subgraph {
                _ if id == "missing" => Value::Null,
                "people" => json!({ "name": id.to_uppercase(), "rank": id.len() }),
                _ => json!({ "stars": 5, "label": format!("by {}", asked["author"]["rank"]) }),
            }
        };
        let answer = if self.away == Some(call.subgraph) {
            SubgraphAnswer::unavailable()
        } else {
            let entities: Vec<_> = representations.as_array().unwrap().iter().map(entity).collect();
            SubgraphAnswer { data: json!({ "_entities": entities }), errors: Vec::new() }
        };
        Box::pin(async { answer })
    }
}

/// What the client gets of an event.
async fn answer(query: &str, variables: Value, data: Value, fake: &Fake) -> (Value, Vec<Value>) {
    let plan = plan(query).await;
    let supergraph = supergraph();
    let variables = plan.coerce(variables.as_object().unwrap()).unwrap();
    let execution = Execution { schema: supergraph.schema.schema(), variables: &variables, subgraphs: fake };
    let mut errors = Vec::new();
    let data = execution.run(plan.rest.as_ref().unwrap(), data, &mut errors).await;
    let data = project(&plan, &variables, &data, &mut errors);
    (data, errors)
}

fn book(id: &str, author: &str) -> Value {
    json!({ "__typename": "Book", "id": id, "author": { "__typename": "User", "id": author } })
}

#[tokio::test]
async fn steps_follow_one_another_and_ask_for_each_entity_once() {
    let query = "subscription { changes { ... on Added { items { id ... on Book { label author { name } } \
                 ... on Song { singer { name } } } } } }";
    let song = json!({ "__typename": "Song", "id": "s", "singer": { "__typename": "User", "id": "ann" } });
    let items = [book("a", "ann"), Value::Null, song, book("b", "ann"), book("c", "bo")];
    let data = json!({ "changes": { "__typename": "Added", "items": items } });
    let fake = Fake::default();
    let (data, errors) = answer(query, json!({}), data, &fake).await;
    assert!(errors.is_empty(), "{errors:?}");
    let expected = json!([
        { "id": "a", "label": "by 3", "author": { "name": "ANN" } },
        null,
        { "id": "s", "singer": { "name": "ANN" } },
        { "id": "b", "label": "by 3", "author": { "name": "ANN" } },
        { "id": "c", "label": "by 2", "author": { "name": "BO" } },
    ]);
    assert_eq!(data["changes"]["items"], expected);
    let asked = fake.asked.lock();
    assert_eq!(asked.last().unwrap().0, "ratings");
    assert_eq!(asked.last().unwrap().1.as_array().unwrap().len(), 3);
    for (subgraph, representations) in asked.iter().filter(|(subgraph, _)| subgraph == "people") {
        let representations = representations.as_array().unwrap();
        let distinct: std::collections::HashSet<_> = representations.iter().map(ToString::to_string).collect();
        assert_eq!(representations.len(), distinct.len(), "{subgraph}");
    }
}

#[tokio::test]
async fn a_subgraph_that_is_away_costs_its_own_fields_only() {
    let query = "subscription { changes { ... on Added { owner { name } items { ... on Book { title stars } } } } }";
    let mut first = book("a", "ann");
    first["title"] = json!("A");
    let data = json!({ "changes": { "__typename": "Added", "owner": { "__typename": "User", "id": "bo" }, "items": [first] } });
    let fake = Fake { away: Some("people"), ..Fake::default() };
    let (data, errors) = answer(query, json!({}), data, &fake).await;
    assert_eq!(data["changes"], json!({ "owner": null, "items": [{ "title": "A", "stars": 5 }] }));
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (&errors[0]["path"], &errors[0]["extensions"]["code"]),
        (&json!(["changes", "owner"]), &json!("UNAVAILABLE"))
    );
}

#[tokio::test]
async fn a_null_goes_up_to_what_may_be_null() {
    let query = "subscription { changes { ... on Added { items { id ... on Book { author { name } } } \
                 kept { id ... on Book { author { name } } } } } }";
    let kept = [book("a", "ann"), json!({ "__typename": "Book", "author": null })];
    let data = json!({ "changes": { "__typename": "Added", "items": [book("b", "missing")], "kept": kept } });
    let (data, errors) = answer(query, json!({}), data, &Fake::default()).await;
    // `name` is never null and `author` may be; `id` is never null, nor are the members of `kept`, and `kept` may be.
    assert_eq!(data["changes"], json!({ "items": [{ "id": "b", "author": null }], "kept": null }));
    assert_eq!(errors[0]["path"], json!(["changes", "items", 0, "author", "name"]));
}

#[tokio::test]
async fn a_condition_that_does_not_hold_asks_nobody() {
    let query = "subscription($with: Boolean!) { changes { __typename ... on Added { owner { id ...N @include(if: $with) } } } } \
                 fragment N on User { name }";
    for (with, owner, calls) in [(false, json!({ "id": "bo" }), 0), (true, json!({ "id": "bo", "name": "BO" }), 1)] {
        let owner_data = json!({ "__typename": "User", "id": "bo" });
        let data = json!({ "changes": { "__typename": "Added", "owner": owner_data } });
        let fake = Fake::default();
        let (data, _) = answer(query, json!({ "with": with }), data, &fake).await;
        assert_eq!(data["changes"]["owner"], owner);
        assert_eq!(fake.asked.lock().len(), calls);
    }
}

fn key(name: &str) -> FetchDataPathElement {
    FetchDataPathElement::Key(apollo_compiler::Name::new(name).unwrap(), None)
}

#[test]
fn a_pattern_finds_its_places_in_lists_of_lists_and_by_type() {
    let supergraph = supergraph();
    let data =
        json!({ "rows": [[{ "__typename": "Book", "n": 1 }, { "__typename": "Song", "n": 2 }], null, []], "n": 3 });
    let pattern = [
        key("rows"),
        FetchDataPathElement::AnyIndex(None),
        FetchDataPathElement::AnyIndex(None),
        FetchDataPathElement::TypenameEquals(name!("Book")),
        key("n"),
    ];
    let found = |pattern: &[FetchDataPathElement]| {
        let mut found = Vec::new();
        path::select(supergraph.schema.schema(), &data, pattern, &mut |at, value| {
            found.push((Value::Array(at.iter().map(Step::to_json).collect()), value.clone()));
        });
        found
    };
    assert_eq!(found(&pattern), [(json!(["rows", 0, 0, "n"]), json!(1))]);
    let any_item = [key("rows"), FetchDataPathElement::TypenameEquals(name!("Item")), key("n")];
    assert_eq!(found(&any_item).len(), 2, "an interface's types, in lists that the pattern does not mention");
    assert_eq!(found(&[key("n"), key("m")]).len(), 0);
}

#[test]
fn patches_add_and_never_take_away() {
    let mut data = json!({ "list": [{ "a": 1 }, null] });
    let at = [Step::Key("list".into()), Step::Index(0)];
    path::merge(path::place(&mut data, &at).unwrap(), json!({ "b": { "c": 2 }, "a": null }));
    path::merge(path::place(&mut data, &at).unwrap(), json!({ "b": { "d": [1] } }));
    path::merge(path::place(&mut data, &at).unwrap(), Value::Null);
    assert_eq!(data, json!({ "list": [{ "a": 1, "b": { "c": 2, "d": [1] } }, null] }));
    assert!(path::place(&mut data, &[Step::Key("list".into()), Step::Index(9)]).is_none());
}

#[test]
fn rewrites_rename_keys_and_set_values_of_the_types_that_they_name() {
    let supergraph = supergraph();
    let book = FetchDataPathElement::TypenameEquals(name!("Book"));
    let renamer = FetchDataKeyRenamer { path: vec![book.clone(), key("title__0")], rename_key_to: name!("title") };
    let setter = FetchDataValueSetter { path: vec![book, key("__typename")], set_value_to: json!("Item") };
    let rewrites = [FetchDataRewrite::KeyRenamer(renamer), FetchDataRewrite::ValueSetter(setter)].map(Arc::new);
    let mut data = json!([{ "__typename": "Book", "title__0": "A" }, { "__typename": "Song", "title__0": "B" }]);
    apply_rewrites(supergraph.schema.schema(), &mut data, &rewrites);
    assert_eq!(data, json!([{ "__typename": "Item", "title": "A" }, { "__typename": "Song", "title__0": "B" }]));
}
