//! `sendMessage`, `editMessage`, `deleteMessage`, `reactToMessage`, paging; in their folder `conversations` and `typing`.

#[path = "messages/conversations.rs"]
mod conversations;
#[path = "messages/typing.rs"]
mod typing;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use velvet_e2e::{Person, SOON, Transport, conversation_of, live::MESSAGE_EVENTS, meet};
use velvet_kit::{Handle, until};

const EDIT: &str = "mutation($id: ID!, $body: String!) { editMessage(input: { messageId: $id, body: $body }) {
    __typename ... on MessageEdited { message { position body editedAt } } ... on InputInvalid { fields { field } }
} }";
const DELETE: &str = "mutation($id: ID!) { deleteMessage(input: { messageId: $id }) { __typename ... on MessageDeleted { messageId } } }";
const REACT: &str = "mutation($id: ID!, $emoji: String!, $remove: Boolean) {
    reactToMessage(input: { messageId: $id, emoji: $emoji, remove: $remove }) {
        __typename ... on MessageReacted { message { reactions { emoji userIds } } } ... on InputInvalid { fields { field } }
} }";
const PAGE: &str = "query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) { conversation(id: $id) {
    messages(first: $first, after: $after, last: $last, before: $before) {
        nodes { position } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
} } }";

async fn chat(stack: &Handle) -> Result<(Person, Person, String)> {
    let (alice, bob) = (Person::sign_up(stack, "alice").await?, Person::sign_up(stack, "bob").await?);
    let match_id = meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;
    Ok((alice, bob, conversation))
}

async fn said(person: &Person, conversation: &str, client_id: &str, body: &str) -> Result<String> {
    let sent = person.send(conversation, client_id, body).await?;
    sent["message"]["id"].as_str().map(str::to_owned).with_context(|| format!("not sent: {sent}"))
}

#[tokio::test]
async fn the_same_client_id_again_is_the_same_message() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, _, conversation) = chat(&stack).await?;
    let first = alice.send(&conversation, "once", "hello").await?;
    assert_eq!(alice.send(&conversation, "once", "hello").await?["message"]["id"], first["message"]["id"]);
    assert_eq!(alice.send(&conversation, "twice", "hello").await?["message"]["position"], 2);
    Ok(())
}

#[tokio::test]
async fn edits_deletions_and_reactions_reach_the_other_side_live() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    for transport in Transport::ALL {
        changes_arrive(&stack, transport).await.with_context(|| format!("over {transport:?}"))?;
    }
    Ok(())
}

async fn changes_arrive(stack: &Handle, transport: Transport) -> Result<()> {
    let (alice, bob, conversation) = chat(stack).await?;
    let bob = bob.over(transport);
    let mut bob_hears = bob.follow(MESSAGE_EVENTS, json!({})).await?;
    let id = said(&alice, &conversation, "c1", "helo").await?;

    let edited = alice.ask(EDIT, json!({ "id": id, "body": "hello" })).await?;
    assert_eq!(edited["editMessage"]["message"]["body"], "hello");
    assert!(edited["editMessage"]["message"]["editedAt"].is_string());
    assert_eq!(bob_hears.next_of("MessageEdited").await?["message"]["body"], "hello");

    let reacted = bob.ask(REACT, json!({ "id": id, "emoji": "👍" })).await?;
    assert_eq!(reacted["reactToMessage"]["message"]["reactions"], json!([{ "emoji": "👍", "userIds": [bob.id] }]));
    let heard = bob_hears.next_of("MessageReacted").await?;
    assert_eq!(heard["message"]["reactions"], json!([{ "emoji": "👍", "userIds": [bob.id] }]));
    let removed = bob.ask(REACT, json!({ "id": id, "emoji": "👍", "remove": true })).await?;
    assert_eq!(removed["reactToMessage"]["message"]["reactions"], json!([]));

    let deleted = alice.ask(DELETE, json!({ "id": id })).await?;
    assert_eq!(deleted["deleteMessage"]["messageId"], id);
    assert_eq!(bob_hears.next_of("MessageDeleted").await?["messageId"], id);
    let look = "query($id: ID!) { conversation(id: $id) { lastMessage { body deleted position } } }";
    let seen = bob.ask(look, json!({ "id": conversation })).await?;
    assert_eq!(seen["conversation"]["lastMessage"], json!({ "body": "", "deleted": true, "position": 1 }));
    Ok(())
}

#[tokio::test]
async fn only_the_sender_edits_and_deletes() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob, conversation) = chat(&stack).await?;
    let eve = Person::sign_up(&stack, "eve").await?;
    let id = said(&alice, &conversation, "c1", "mine").await?;
    for other in [&bob, &eve] {
        let edited = other.ask(EDIT, json!({ "id": id, "body": "yours" })).await?;
        assert_eq!(edited["editMessage"]["__typename"], "MessageNotFound", "{}", other.name);
        let deleted = other.ask(DELETE, json!({ "id": id })).await?;
        assert_eq!(deleted["deleteMessage"]["__typename"], "MessageNotFound", "{}", other.name);
    }
    let reacted = eve.ask(REACT, json!({ "id": id, "emoji": "👍" })).await?;
    assert_eq!(reacted["reactToMessage"]["__typename"], "MessageNotFound");
    assert_eq!(bob.history(&conversation).await?, [(1, "mine".to_owned())]);
    Ok(())
}

#[tokio::test]
async fn a_foreign_conversation_is_not_found() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (_, _, conversation) = chat(&stack).await?;
    let eve = Person::sign_up(&stack, "eve").await?;
    for id in [conversation.as_str(), "nonsense", "00000000-0000-4000-8000-000000000000"] {
        assert_eq!(eve.send(id, "c1", "hello").await?["__typename"], "ConversationNotFound");
        let data = eve.ask("query($id: ID!) { conversation(id: $id) { id } }", json!({ "id": id })).await?;
        assert!(data["conversation"].is_null());
    }
    Ok(())
}

#[tokio::test]
async fn bodies_and_client_ids_have_bounds() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, _, conversation) = chat(&stack).await?;
    assert_eq!(alice.send(&conversation, "edge", &"é".repeat(2000)).await?["__typename"], "MessageSent");
    assert_eq!(alice.send(&conversation, &"c".repeat(128), "hello").await?["__typename"], "MessageSent");
    let long = "x".repeat(2001);
    let long_id = "c".repeat(129);
    for (client_id, body, field) in [
        ("c", "", "body"),
        ("c", "  \n ", "body"),
        ("c", &long, "body"),
        ("", "x", "clientId"),
        (&long_id, "x", "clientId"),
    ] {
        let answer = alice.send(&conversation, client_id, body).await?;
        assert_eq!(answer["__typename"], "InputInvalid", "{field}");
        assert_eq!(answer["fields"][0]["field"], field);
    }
    Ok(())
}

#[tokio::test]
async fn history_pages_both_ways_and_beyond_what_redis_keeps_warm() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob, conversation) = chat(&stack).await?;
    for number in 1..=45 {
        said(&alice, &conversation, &format!("c{number}"), "x").await?;
    }
    let page = |variables: Value| {
        let (bob, conversation) = (&bob, conversation.clone());
        async move {
            let mut variables = variables;
            variables["id"] = json!(conversation);
            let data = bob.ask(PAGE, variables).await?;
            let messages = data["conversation"]["messages"].clone();
            let positions: Vec<i64> = messages["nodes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|node| node["position"].as_i64())
                .collect();
            Ok::<_, anyhow::Error>((positions, messages["pageInfo"].clone()))
        }
    };
    let (positions, info) = page(json!({})).await?;
    assert_eq!(positions, (26..=45).collect::<Vec<_>>(), "the last 20 without an argument");
    assert_eq!((&info["hasPreviousPage"], &info["hasNextPage"]), (&json!(true), &json!(false)));
    let (positions, info) = page(json!({ "last": 10, "before": info["startCursor"] })).await?;
    assert_eq!(positions, (16..=25).collect::<Vec<_>>());
    let (positions, _) = page(json!({ "first": 3, "after": info["endCursor"] })).await?;
    assert_eq!(positions, [26, 27, 28]);
    let (positions, info) = page(json!({ "first": 5 })).await?;
    assert_eq!(positions, [1, 2, 3, 4, 5]);
    assert_eq!((&info["hasPreviousPage"], &info["hasNextPage"]), (&json!(false), &json!(true)));

    forget_messages(&stack, &conversation).await?;
    assert_eq!(bob.history(&conversation).await?.len(), 45, "read back from PostgreSQL's replica");
    Ok(())
}

/// Drops the messages of a conversation from Redis, as their lifetime would.
async fn forget_messages(stack: &Handle, conversation: &str) -> Result<()> {
    until("the messages in PostgreSQL", SOON, || async {
        let rows = velvet_e2e::database::messages(stack, conversation).await?;
        ensure!(rows.len() == 45, "only {} rows so far", rows.len());
        Ok(())
    })
    .await?;
    let dropped = velvet_e2e::redis::delete_matching(stack, &format!("messaging:messages:{{{conversation}}}*")).await?;
    ensure!(dropped > 0, "no messages were in Redis");
    Ok(())
}
