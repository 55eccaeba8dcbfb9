//! Every bound of every field, at its edge and past it, as a client meets it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use velvet_e2e::{Person, conversation_of, meet};
use velvet_kit::Handle;

const INVALID: Option<&str> = Some("INVALID_ARGUMENT");
const UPDATE: &str = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) {
    __typename ... on InputInvalid { fields { field } }
} }";
const EDIT: &str = "mutation($input: EditMessageInput!) { editMessage(input: $input) {
    __typename ... on InputInvalid { fields { field } }
} }";
const REACT: &str = "mutation($input: ReactToMessageInput!) { reactToMessage(input: $input) {
    __typename ... on InputInvalid { fields { field } }
} }";
const MARK: &str = "mutation($input: MarkReadInput!) { markRead(input: $input) {
    __typename ... on ReadMarked { position }
} }";
const PAGE: &str = "query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) { conversation(id: $id) {
    messages(first: $first, after: $after, last: $last, before: $before) { nodes { position } }
} }";

/// Asks each; the code of the refusal, or none.
async fn codes(person: &Person, query: &str, cases: &[(Value, Option<&str>)]) -> Result<()> {
    for (variables, expected) in cases {
        let answer = person.client.send(query, variables.clone()).await?;
        assert_eq!(answer.code(), *expected, "{query} with {variables}: {answer:?}");
    }
    Ok(())
}

/// Sends each as the input; its one problem's field, or none when it fits.
async fn problems(person: &Person, mutation: &str, cases: &[(Value, Option<&str>)]) -> Result<()> {
    for (input, expected) in cases {
        let data = person.ask(mutation, json!({ "input": input })).await?;
        let payload = data.as_object().and_then(|data| data.values().next()).context("a payload")?;
        assert_eq!(payload["fields"][0]["field"].as_str(), *expected, "{mutation:.40} with {input}: {payload}");
        assert_eq!(payload["__typename"] == "InputInvalid", expected.is_some(), "{payload}");
    }
    Ok(())
}

#[tokio::test]
async fn a_deck_has_1_to_50_cards_and_a_filter_what_preferences_could_have() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let sizes = [(1, None), (50, None), (0, INVALID), (-1, INVALID), (51, INVALID)];
    let sizes = sizes.map(|(first, code)| (json!({ "first": first }), code));
    codes(&alice, "query($first: Int) { deck(first: $first) { distanceKm } }", &sizes).await?;
    let filters = [
        (json!({}), None),
        (json!({ "ageMin": 18, "ageMax": 120 }), None),
        (json!({ "ageMin": 30, "ageMax": 30 }), None),
        (json!({ "ageMin": 17 }), INVALID),
        (json!({ "ageMin": 121 }), INVALID),
        (json!({ "ageMax": 17 }), INVALID),
        (json!({ "ageMax": 121 }), INVALID),
        (json!({ "ageMin": 31, "ageMax": 30 }), INVALID),
        (json!({ "distanceKmMax": 1 }), None),
        (json!({ "distanceKmMax": i32::MAX }), None),
        (json!({ "distanceKmMax": 0 }), INVALID),
        (json!({ "distanceKmMax": -1 }), INVALID),
        (json!({ "genders": ["FEMALE"] }), None),
        (json!({ "genders": [] }), INVALID),
    ];
    let filters = filters.map(|(filter, code)| (json!({ "filter": filter }), code));
    codes(&alice, "query($filter: DeckFilter) { deck(filter: $filter) { distanceKm } }", &filters).await
}

#[tokio::test]
async fn the_idempotency_key_of_a_swipe_has_1_to_128_characters() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let keys = [("k".to_owned(), None), ("é".repeat(128), None), (String::new(), INVALID), ("k".repeat(129), INVALID)];
    let keys = keys
        .map(|(key, code)| (json!({ "input": { "userId": bob.id, "action": "LIKE", "idempotencyKey": key } }), code));
    codes(&alice, "mutation($input: SwipeInput!) { swipe(input: $input) { __typename } }", &keys).await
}

#[tokio::test]
async fn a_page_of_messages_has_1_to_100_and_is_read_one_way() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, _, conversation) = chat(&stack).await?;
    let too_large = Some("LIST_TOO_LARGE");
    let pages = [
        (json!({ "first": 1 }), None),
        (json!({ "first": 100 }), None),
        (json!({ "last": 1 }), None),
        (json!({ "last": 100 }), None),
        (json!({ "first": 0 }), INVALID),
        (json!({ "first": -1 }), INVALID),
        (json!({ "last": 0 }), INVALID),
        (json!({ "last": -1 }), INVALID),
        (json!({ "first": 101 }), too_large),
        (json!({ "last": 101 }), too_large),
        (json!({ "first": 1, "last": 1 }), INVALID),
        (json!({ "first": 1, "after": "nonsense" }), INVALID),
        (json!({ "last": 1, "before": "nonsense" }), INVALID),
    ];
    let pages = pages.map(|(mut page, code)| {
        page["id"] = json!(conversation);
        (page, code)
    });
    codes(&alice, PAGE, &pages).await?;
    // Behind the router, the subgraph has the bound itself.
    let alone = stack.subgraph_client("messaging")?.bearer(alice.client.token().context("a token")?);
    let answer = alone.send(PAGE, json!({ "id": conversation, "first": 101 })).await?;
    assert_eq!(answer.code(), INVALID, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn an_edited_body_and_a_reaction_have_the_bounds_of_new_ones() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, _, conversation) = chat(&stack).await?;
    let sent = alice.send(&conversation, "c1", "hello").await?;
    let id = sent["message"]["id"].as_str().context("a message")?;
    let body = Some("body");
    let bodies = [
        ("x".to_owned(), None),
        ("é".repeat(2_000), None),
        (String::new(), body),
        (" \n ".to_owned(), body),
        ("x".repeat(2_001), body),
        ("bell\u{7}".to_owned(), body),
    ];
    let bodies = bodies.map(|(text, field)| (json!({ "messageId": id, "body": text }), field));
    problems(&alice, EDIT, &bodies).await?;
    let emoji = Some("emoji");
    let largest = format!("👍{}", "\u{200d}👍".repeat(4));
    assert_eq!(largest.len(), 32);
    let symbols = [
        ("👍".to_owned(), None),
        (largest.clone(), None),
        (largest + "\u{301}", emoji),
        (String::new(), emoji),
        ("a".to_owned(), emoji),
        ("👍👍".to_owned(), emoji),
    ];
    let symbols = symbols.map(|(text, field)| (json!({ "messageId": id, "emoji": text }), field));
    problems(&alice, REACT, &symbols).await
}

#[tokio::test]
async fn a_read_mark_stays_between_nothing_and_the_last_message() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob, conversation) = chat(&stack).await?;
    for number in 1..=3 {
        bob.send(&conversation, &format!("c{number}"), "hello").await?;
    }
    for (position, stands) in [(0, 0), (-1, 0), (i32::MIN, 0), (1, 1), (0, 1), (i32::MAX, 3), (2, 3)] {
        let input = json!({ "conversationId": conversation, "position": position });
        let marked = alice.ask(MARK, json!({ "input": input })).await?;
        let expected = json!({ "__typename": "ReadMarked", "position": stands });
        assert_eq!(marked["markRead"], expected, "position {position}");
    }
    Ok(())
}

#[tokio::test]
async fn a_profile_is_refused_past_its_bounds_and_taken_at_them() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let url = |bytes: usize| json!({ "avatarUrl": format!("https://a.example/{}", "p".repeat(bytes - 18)) });
    let preferences = |preferences: Value| json!({ "preferences": preferences });
    let (youngest, oldest) = (Some("preferences.ageMin"), Some("preferences.ageMax"));
    let (distance, genders) = (Some("preferences.distanceKmMax"), Some("preferences.genders"));
    let cases = [
        (json!({}), None),
        (json!({ "displayName": "é".repeat(50) }), None),
        (json!({ "displayName": "x".repeat(51) }), Some("displayName")),
        (url(2_048), None),
        (url(2_049), Some("avatarUrl")),
        (preferences(json!({ "ageMin": 18, "ageMax": 120 })), None),
        (preferences(json!({ "ageMin": 120, "ageMax": 120 })), None),
        (preferences(json!({ "ageMin": 17 })), youngest),
        (preferences(json!({ "ageMin": 121, "ageMax": 121 })), youngest),
        (preferences(json!({ "ageMax": 121 })), oldest),
        (preferences(json!({ "ageMin": 31, "ageMax": 30 })), oldest),
        (preferences(json!({ "distanceKmMax": 1 })), None),
        (preferences(json!({ "distanceKmMax": 50 })), None),
        (preferences(json!({ "distanceKmMax": 0 })), distance),
        (preferences(json!({ "distanceKmMax": 51 })), distance),
        (preferences(json!({ "genders": ["FEMALE", "MALE", "NON_BINARY"] })), None),
        (preferences(json!({ "genders": [] })), genders),
        (preferences(json!({ "genders": ["MALE", "MALE"] })), genders),
    ];
    problems(&alice, UPDATE, &cases).await
}

async fn chat(stack: &Handle) -> Result<(Person, Person, String)> {
    let (alice, bob) = (Person::sign_up(stack, "alice").await?, Person::sign_up(stack, "bob").await?);
    let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
    Ok((alice, bob, conversation))
}
