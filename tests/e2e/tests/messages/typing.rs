//! `setTyping` and `typing`: told to the other one alone, kept nowhere, over with the conversation.

use super::chat;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;
use velvet_e2e::{Person, SOON};
use velvet_kit::{
    Handle,
    client::ws::{Event, Socket},
};

const TYPING: &str =
    "subscription($id: ID!) { typing(conversationId: $id) { conversationId user { id displayName } typing } }";
const SET: &str = "mutation($input: SetTypingInput!) { setTyping(input: $input) { __typename } }";
/// Nothing says when the stream stands, and nothing of typing is kept: so typing is repeated until it is seen.
const REPEATS: usize = 60;
const PAUSE: Duration = Duration::from_millis(250);

struct Watch {
    socket: Socket,
    id: String,
}

impl Watch {
    async fn open(stack: &Handle, person: &Person, conversation: &str) -> Result<Self> {
        let mut socket = Socket::open(&stack.info.ws_url, person.client.token()).await?;
        let id = socket.subscribe(TYPING, json!({ "id": conversation })).await?;
        Ok(Self { socket, id })
    }

    async fn next(&mut self, within: Duration) -> Result<Value> {
        Ok(self.socket.next(&self.id, within).await?.payload()?["data"]["typing"].take())
    }

    async fn end(&mut self) -> Result<Event> {
        self.socket.next(&self.id, SOON).await
    }
}

async fn set(person: &Person, conversation: &str, typing: bool) -> Result<String> {
    let input = json!({ "conversationId": conversation, "typing": typing });
    let data = person.ask(SET, json!({ "input": input })).await?;
    data["setTyping"]["__typename"].as_str().map(str::to_owned).context("a payload")
}

/// Both type until each has seen something; what each saw first.
async fn both_type(one: (&Person, &mut Watch), other: (&Person, &mut Watch), conversation: &str) -> Result<[Value; 2]> {
    let (mut first, mut second) = (None, None);
    for _ in 0..REPEATS {
        for person in [one.0, other.0] {
            assert_eq!(set(person, conversation, true).await?, "TypingSet");
        }
        if first.is_none() {
            first = one.1.next(PAUSE).await.ok();
        }
        if second.is_none() {
            second = other.1.next(PAUSE).await.ok();
        }
        if let (Some(first), Some(second)) = (&first, &second) {
            return Ok([first.clone(), second.clone()]);
        }
    }
    bail!("typing was never seen by both: {first:?} {second:?}")
}

#[tokio::test]
async fn typing_is_seen_by_the_other_side_alone_and_ends_by_itself() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob, conversation) = chat(&stack).await?;
    let (mut alices, mut bobs) =
        (Watch::open(&stack, &alice, &conversation).await?, Watch::open(&stack, &bob, &conversation).await?);
    let [alice_saw, bob_saw] = both_type((&alice, &mut alices), (&bob, &mut bobs), &conversation).await?;
    // The typist's own typing would have come first, or in between.
    let of = |person: &Person, typing: bool| {
        json!({
            "conversationId": conversation, "user": { "id": person.id, "displayName": person.name }, "typing": typing,
        })
    };
    assert_eq!((alice_saw, bob_saw), (of(&bob, true), of(&alice, true)));
    // Bob says that he stopped; alice says nothing more and has stopped after a while.
    set(&bob, &conversation, false).await?;
    assert_eq!(alices.next(SOON).await?, of(&bob, false));
    assert_eq!(bobs.next(SOON).await?, of(&alice, false));
    Ok(())
}

#[tokio::test]
async fn a_stranger_neither_types_nor_sees_it() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (_, _, conversation) = chat(&stack).await?;
    let eve = Person::sign_up(&stack, "eve").await?;
    for id in [conversation.as_str(), "nonsense", "00000000-0000-4000-8000-000000000000"] {
        assert_refused(&stack, &eve, id).await?;
    }
    Ok(())
}

async fn assert_refused(stack: &Handle, person: &Person, conversation: &str) -> Result<()> {
    assert_eq!(set(person, conversation, true).await?, "ConversationNotFound", "{}: {conversation}", person.name);
    let errors = match Watch::open(stack, person, conversation).await?.end().await? {
        Event::Errors(errors) => errors,
        Event::Next(mut payload) => payload["errors"].take(),
        Event::Complete => bail!("the stream ended without a word"),
    };
    assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND", "{}: {conversation}: {errors}", person.name);
    Ok(())
}

#[tokio::test]
async fn typing_ends_with_the_conversation() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    for end in ["unmatch", "block"] {
        let (alice, bob, conversation) = chat(&stack).await?;
        let (mut alices, mut bobs) =
            (Watch::open(&stack, &alice, &conversation).await?, Watch::open(&stack, &bob, &conversation).await?);
        both_type((&alice, &mut alices), (&bob, &mut bobs), &conversation).await?;
        let (query, id) = if end == "block" {
            ("mutation($id: ID!) { blockUser(input: { userId: $id }) { __typename } }", bob.id.clone())
        } else {
            let matches = alice.ask("{ matches { nodes { id } } }", json!({})).await?;
            let id = matches["matches"]["nodes"][0]["id"].as_str().context("a match")?.to_owned();
            ("mutation($id: ID!) { unmatch(input: { matchId: $id }) { __typename } }", id)
        };
        alice.ask(query, json!({ "id": id })).await?;
        for (watch, person) in [(&mut alices, &alice), (&mut bobs, &bob)] {
            loop {
                match watch.end().await? {
                    // Somebody had been typing.
                    Event::Next(payload) => assert!(payload["errors"].is_null(), "{end}: {payload}"),
                    Event::Complete => break,
                    Event::Errors(errors) => bail!("{end}: {errors}"),
                }
            }
            assert_refused(&stack, person, &conversation).await?;
        }
    }
    Ok(())
}
