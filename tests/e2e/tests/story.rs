//! Two strangers meet: the whole way through the router, live.

use anyhow::{Context, Result};
use serde_json::json;
use velvet_e2e::{
    Person, SOON, Transport, conversation_of,
    live::{MATCH_EVENTS, MESSAGE_EVENTS},
};
use velvet_kit::{Handle, until};

#[tokio::test]
async fn two_strangers_like_each_other_and_both_see_the_match_with_its_conversation_live() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    for transport in Transport::ALL {
        they_match(&stack, transport).await.with_context(|| format!("over {transport:?}"))?;
    }
    Ok(())
}

async fn they_match(stack: &Handle, transport: Transport) -> Result<()> {
    let (alice, bob) = (Person::sign_up(stack, "alice").await?, Person::sign_up(stack, "bob").await?);
    let mut alice_hears = alice.over(transport).follow(MATCH_EVENTS, json!({})).await?;
    let mut bob_hears = bob.over(transport).follow(MATCH_EVENTS, json!({})).await?;

    assert_eq!(alice.swipe(&bob.id, "LIKE").await?, json!({ "__typename": "Swiped", "match": null }));
    let swiped = bob.swipe(&alice.id, "LIKE").await?;
    assert_eq!(swiped["match"]["with"]["id"], alice.id);

    for (hears, other) in [(&mut alice_hears, &bob), (&mut bob_hears, &alice)] {
        let event = hears.next().await?;
        assert_eq!(event["__typename"], "MatchCreated");
        assert_eq!(event["match"]["id"], swiped["match"]["id"]);
        assert_eq!(event["match"]["with"], json!({ "id": other.id, "displayName": other.name }));
        assert_eq!(event["match"]["conversation"]["open"], true);
        assert!(event["cursor"].is_string());
    }
    Ok(())
}

#[tokio::test]
async fn they_chat_live_and_one_who_was_away_has_missed_nothing() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    for transport in Transport::ALL {
        they_chat(&stack, transport).await.with_context(|| format!("over {transport:?}"))?;
    }
    Ok(())
}

async fn they_chat(stack: &Handle, transport: Transport) -> Result<()> {
    let (alice, bob) = (Person::sign_up(stack, "alice").await?, Person::sign_up(stack, "bob").await?);
    let bob = bob.over(transport);
    let match_id = velvet_e2e::meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;
    let mut bob_hears = bob.follow(MESSAGE_EVENTS, json!({})).await?;

    let sent = alice.send(&conversation, "c1", "hello").await?;
    assert_eq!(sent["__typename"], "MessageSent");
    assert_eq!(sent["message"]["position"], 1);
    assert_eq!(sent["cursor"], json!(null));
    let event = bob_hears.next_of("MessageSent").await?;
    assert_eq!(event["message"]["body"], "hello");
    assert_eq!(event["message"]["sender"], json!({ "id": alice.id, "displayName": "alice" }));

    let resume = bob_hears.resume();
    drop(bob_hears);
    for number in 2..=30 {
        alice.send(&conversation, &format!("c{number}"), &format!("message {number}")).await?;
    }
    let mut bob_hears = bob.follow(MESSAGE_EVENTS, resume).await?;
    for number in 2..=30 {
        let event = bob_hears.next_of("MessageSent").await?;
        assert_eq!(event["message"]["position"], number);
        assert_eq!(event["message"]["body"], format!("message {number}"));
    }
    alice.send(&conversation, "c31", "and live again").await?;
    assert_eq!(bob_hears.next_of("MessageSent").await?["message"]["position"], 31);
    Ok(())
}

#[tokio::test]
async fn what_was_said_is_in_postgresql_exactly_once() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let match_id = velvet_e2e::meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;
    for number in 1..=5 {
        alice.send(&conversation, &format!("c{number}"), &format!("message {number}")).await?;
    }
    let rows = until("the messages in PostgreSQL", SOON, || async {
        let rows = velvet_e2e::database::messages(&stack, &conversation).await?;
        anyhow::ensure!(rows.len() >= 5, "only {} rows so far", rows.len());
        Ok(rows)
    })
    .await?;
    let expected: Vec<(i64, String)> = (1..=5).map(|number| (number, format!("message {number}"))).collect();
    assert_eq!(rows, expected);
    Ok(())
}

#[tokio::test]
async fn counting_unread_messages_is_arithmetic_over_positions() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let match_id = velvet_e2e::meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;
    for number in 1..=3 {
        alice.send(&conversation, &format!("c{number}"), "hello").await?;
    }
    let look = "query($id: ID!) { conversation(id: $id) { unreadCount readByOther lastMessage { position } } }";
    let seen = bob.ask(look, json!({ "id": conversation })).await?;
    assert_eq!(seen["conversation"], json!({ "unreadCount": 3, "readByOther": 3, "lastMessage": { "position": 3 } }));

    let mark =
        "mutation($input: MarkReadInput!) { markRead(input: $input) { __typename ... on ReadMarked { position } } }";
    for (position, stands) in [(2, 2), (1, 2), (99, 3)] {
        let input = json!({ "conversationId": conversation, "position": position });
        let marked = bob.ask(mark, json!({ "input": input })).await?;
        assert_eq!(marked["markRead"]["position"], stands, "after marking {position}");
    }
    let seen = bob.ask(look, json!({ "id": conversation })).await?;
    assert_eq!(seen["conversation"]["unreadCount"], 0);
    let seen = alice.ask(look, json!({ "id": conversation })).await?;
    let read = seen["conversation"]["readByOther"].as_i64().context("a position")?;
    assert_eq!(read, 3);
    Ok(())
}
