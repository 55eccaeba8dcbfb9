//! What a client should not send: each with a clear, typed answer, and nothing breaks.

#[path = "bad_input/bounds.rs"]
mod bounds;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use velvet_e2e::{Person, SOON};
use velvet_kit::{
    Handle,
    client::ws::{Event, Frame, PROTOCOL, Socket},
};

#[tokio::test]
async fn pages_of_no_or_too_many_entries_are_refused() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    for field in ["matches", "conversations"] {
        let refused = Some("INVALID_ARGUMENT");
        // What is above every page is refused by the router already.
        for (first, expected) in [(1, None), (100, None), (0, refused), (-1, refused), (101, Some("LIST_TOO_LARGE"))] {
            let query = format!("{{ {field}(first: {first}) {{ nodes {{ id }} }} }}");
            let answer = alice.client.send(&query, json!({})).await?;
            assert_eq!(answer.code(), expected, "{query}");
        }
        let query = format!("{{ {field}(after: \"nonsense\") {{ nodes {{ id }} }} }}");
        assert_eq!(alice.client.send(&query, json!({})).await?.code(), Some("INVALID_ARGUMENT"), "{query}");
    }
    Ok(())
}

#[tokio::test]
async fn places_beyond_the_globe_and_profiles_beyond_their_bounds_are_refused() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let set = "mutation($input: SetLocationInput!) { setLocation(input: $input) { __typename } }";
    for (latitude, longitude, answer) in [
        (90.0, 180.0, "LocationSet"),
        (-90.0, -180.0, "LocationSet"),
        (90.1, 0.0, "InputInvalid"),
        (0.0, 180.1, "InputInvalid"),
    ] {
        let input = json!({ "latitude": latitude, "longitude": longitude });
        let data = alice.ask(set, json!({ "input": input })).await?;
        assert_eq!(data["setLocation"]["__typename"], answer, "{latitude} {longitude}");
    }
    let update = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) {
        __typename ... on InputInvalid { fields { field } }
    } }";
    let cases = [
        (json!({ "bio": "x".repeat(500) }), true),
        (json!({ "bio": "x".repeat(501) }), false),
        (json!({ "displayName": "" }), false),
        (json!({ "avatarUrl": "javascript:alert(1)" }), false),
        (json!({ "preferences": { "ageMin": 17 } }), false),
        (json!({ "preferences": { "ageMin": 40, "ageMax": 30 } }), false),
        (json!({ "preferences": { "distanceKmMax": 0 } }), false),
        (json!({ "preferences": { "distanceKmMax": 51 } }), false),
        (json!({ "preferences": { "genders": [] } }), false),
    ];
    for (input, fits) in cases {
        let data = alice.ask(update, json!({ "input": input })).await?;
        let expected = if fits { "ProfileUpdated" } else { "InputInvalid" };
        assert_eq!(data["updateProfile"]["__typename"], expected, "{input}");
    }
    Ok(())
}

#[tokio::test]
async fn an_oversized_body_is_refused_and_the_next_request_is_answered() -> Result<()> {
    let stack = Handle::from_env()?;
    let client = stack.client()?;
    // Refused before it is read: a client that is still sending then finds the connection closed, so this is a body
    // that has left before.
    let body = json!({ "query": "{ __typename }", "variables": { "x": "x".repeat(1_000_000) } }).to_string();
    let (status, _) = client.post(body).await?;
    assert_eq!(status, 413);
    for body in ["", "{", "[]", "null", "{\"query\": 1}"] {
        let (status, _) = client.post(body.to_owned()).await?;
        assert!((400..500).contains(&status), "{body:?} was answered with {status}");
    }
    assert_eq!(client.data("{ __typename }", json!({})).await?["__typename"], "Query");
    Ok(())
}

async fn close_code(stack: &Handle, protocol: &str, frames: &[Message]) -> Result<u16> {
    let mut socket = Socket::connect(&stack.info.ws_url, Some(protocol)).await?;
    for frame in frames {
        socket.send_raw(frame.clone()).await?;
    }
    Ok(socket.closed(SOON).await?.0)
}

fn frame(value: &Value) -> Message {
    Message::text(value.to_string())
}

#[tokio::test]
async fn wrong_sequences_and_malformed_frames_close_the_socket_with_the_protocols_codes() -> Result<()> {
    let stack = Handle::from_env()?;
    let init = frame(&json!({ "type": "connection_init" }));
    let endless = |id: &str| frame(&json!({ "id": id, "type": "subscribe", "payload": { "query": "{ __typename }" } }));
    let cases: [(&str, Vec<Message>, u16); 6] = [
        ("no JSON", vec![Message::text("hello")], 4400),
        ("an unknown type", vec![frame(&json!({ "type": "hello" }))], 4400),
        ("a binary frame", vec![init.clone(), Message::binary(vec![0_u8, 1, 2])], 4400),
        ("subscribing before the init", vec![endless("1")], 4401),
        ("a second init", vec![init.clone(), init.clone()], 4429),
        (
            "a forged token",
            vec![frame(&json!({ "type": "connection_init", "payload": { "authorization": "Bearer x.y.z" } }))],
            4403,
        ),
    ];
    for (what, frames, code) in cases {
        assert_eq!(close_code(&stack, PROTOCOL, &frames).await?, code, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn one_id_twice_closes_the_socket() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let mut socket = Socket::open(&stack.info.ws_url, alice.client.token()).await?;
    for _ in 0..2 {
        let payload = json!({ "query": "subscription { matchEvents { __typename } }" });
        socket.send(&json!({ "id": "same", "type": "subscribe", "payload": payload })).await?;
    }
    assert_eq!(socket.closed(SOON).await?.0, 4409);
    Ok(())
}

#[tokio::test]
async fn ten_thousand_operations_on_one_socket_are_refused_beyond_its_limit_and_leave_it_usable() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let mut socket = Socket::open(&stack.info.ws_url, alice.client.token()).await?;
    let mut refused = 0;
    let mut first_refused = None;
    for number in 0..10_000 {
        let payload = json!({ "query": "subscription { matchEvents { __typename } }" });
        socket.send(&json!({ "id": format!("op-{number}"), "type": "subscribe", "payload": payload })).await?;
        // Reading on the way, as a client does.
        while let Ok(Frame::Json(frame)) =
            socket.frame(Duration::from_millis(if number == 9_999 { 2_000 } else { 0 })).await
        {
            if frame["type"] == "error" {
                assert_eq!(frame["payload"][0]["extensions"]["code"], "RATE_LIMITED", "{frame}");
                first_refused.get_or_insert(frame["id"].clone());
                refused += 1;
            }
        }
    }
    assert!(refused >= 9_000, "only {refused} were refused");
    first_refused.context("a first refusal")?;
    // The socket has as many operations as it may have. One that ends makes room for another, on this very socket.
    socket.complete("op-0").await?;
    let id = socket.subscribe("{ me { email } }", json!({})).await?;
    assert_eq!(socket.next(&id, SOON).await?.payload()?["data"]["me"]["email"], alice.email);
    assert_eq!(socket.next(&id, SOON).await?, Event::Complete);
    Ok(())
}

#[tokio::test]
async fn queries_and_mutations_go_over_the_socket_too() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let mut socket = Socket::open(&stack.info.ws_url, alice.client.token()).await?;
    let id = socket.subscribe("{ me { email } }", json!({})).await?;
    assert_eq!(socket.next(&id, SOON).await?.payload()?["data"]["me"]["email"], alice.email);
    assert_eq!(socket.next(&id, SOON).await?, Event::Complete);
    let id = socket.subscribe("{ nonsense }", json!({})).await?;
    assert!(matches!(socket.next(&id, SOON).await?, Event::Errors(_)));
    Ok(())
}
