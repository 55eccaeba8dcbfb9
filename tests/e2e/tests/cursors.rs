//! Cursors of live streams: what was missed comes, once each; too old ones say so; forged ones are refused.

use anyhow::{Context, Result};
use serde_json::json;
use velvet_e2e::{Person, SOON, Transport, conversation_of, live::MESSAGE_EVENTS, meet};
use velvet_kit::{
    Handle,
    client::ws::{Event, Socket},
};

/// More than an inbox keeps, with room for what Redis leaves over when it trims.
const MORE_THAN_AN_INBOX: usize = 1_300;

#[tokio::test]
async fn the_cursor_in_the_argument_and_beside_the_event_are_the_same() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
    let mut bob_hears = bob.follow(MESSAGE_EVENTS, json!({})).await?;
    alice.send(&conversation, "c1", "one").await?;
    let event = bob_hears.next_of("MessageSent").await?;
    assert_eq!(event["cursor"].as_str(), bob_hears.cursor.as_deref());
    alice.send(&conversation, "c2", "two").await?;

    let mut socket = Socket::open(&stack.info.ws_url, bob.client.token()).await?;
    let id = socket.subscribe(MESSAGE_EVENTS, json!({ "after": event["cursor"] })).await?;
    let replayed = socket.next(&id, SOON).await?.payload()?;
    assert_eq!(replayed["data"]["messageEvents"]["message"]["body"], "two");
    Ok(())
}

#[tokio::test]
async fn a_cursor_that_is_too_old_gets_one_reset_and_the_stream_goes_on() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
    let mut bob_hears = bob.follow(MESSAGE_EVENTS, json!({})).await?;
    alice.send(&conversation, "first", "first").await?;
    bob_hears.next_of("MessageSent").await?;
    let resume = bob_hears.resume();
    drop(bob_hears);
    for chunk in (0..MORE_THAN_AN_INBOX).collect::<Vec<_>>().chunks(100) {
        let sends = chunk.iter().map(|number| alice.send_owned(&conversation, format!("c{number}"), "x"));
        futures::future::try_join_all(sends).await?;
    }
    for transport in Transport::ALL {
        let mut bob_hears = bob.over(transport).follow(MESSAGE_EVENTS, resume.clone()).await?;
        let event = bob_hears.next().await?;
        assert_eq!(event["__typename"], "StreamReset", "over {transport:?}: {event}");
        assert!(event["cursor"].is_string());
        alice.send(&conversation, &format!("last over {transport:?}"), "last").await?;
        assert_eq!(bob_hears.next().await?["message"]["body"], "last", "over {transport:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_forged_or_foreign_cursor_is_refused() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
    let mut bob_hears = bob.follow(MESSAGE_EVENTS, json!({})).await?;
    alice.send(&conversation, "c1", "hello").await?;
    bob_hears.next_of("MessageSent").await?;
    let bobs = bob_hears.cursor.clone().context("a cursor")?;
    let mut forged = bobs.clone();
    forged.replace_range(0..1, if bobs.starts_with('A') { "B" } else { "A" });
    for (person, cursor) in [(&bob, forged.as_str()), (&alice, bobs.as_str()), (&bob, "nonsense"), (&bob, "")] {
        for payload in [
            json!({ "query": MESSAGE_EVENTS, "variables": { "after": cursor } }),
            json!({ "query": MESSAGE_EVENTS, "extensions": { "after": cursor } }),
        ] {
            let mut socket = Socket::open(&stack.info.ws_url, person.client.token()).await?;
            let id = socket.subscribe_with(payload).await?;
            let errors = match socket.next(&id, SOON).await? {
                Event::Errors(errors) => errors,
                Event::Next(payload) => payload["errors"].clone(),
                Event::Complete => json!(null),
            };
            assert_eq!(errors[0]["extensions"]["code"], "INVALID_ARGUMENT", "{cursor:?}");
        }
        for transport in Transport::ALL {
            let mut refused = person.over(transport).follow(MESSAGE_EVENTS, json!({ "after": cursor })).await?;
            let errors = match refused.end().await? {
                Event::Errors(errors) => errors,
                Event::Next(payload) => payload["errors"].clone(),
                Event::Complete => json!(null),
            };
            assert_eq!(errors[0]["extensions"]["code"], "INVALID_ARGUMENT", "{cursor:?} over {transport:?}");
        }
    }
    Ok(())
}
