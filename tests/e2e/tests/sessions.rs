//! `login`, `refreshSession`, `logout`, and tokens of every bad kind.

#![expect(clippy::disallowed_methods, reason = "tests make addresses up as they go")]

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::try_join_all;
use serde_json::{Value, json};
use velvet_e2e::{Person, SOON, person::PASSWORD};
use velvet_kit::{
    Handle,
    client::{Client, ws::Socket},
};

const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) {
    __typename
    ... on Session { accessToken refreshToken account { user { id displayName } email } }
    ... on CredentialsRefused { reason }
    ... on TooManyAttempts { retryAfterSeconds }
} }";
const REFRESH: &str = "mutation($input: RefreshSessionInput!) { refreshSession(input: $input) {
    __typename ... on Session { accessToken refreshToken account { email } }
} }";
const LOGOUT: &str = "mutation($input: LogoutInput!) { logout(input: $input) { ... on LoggedOut { ok } } }";

async fn login(client: &Client, email: &str, password: &str) -> Result<Value> {
    let input = json!({ "email": email, "password": password });
    Ok(client.data(LOGIN, json!({ "input": input })).await?["login"].take())
}

async fn refresh(client: &Client, token: &str) -> Result<Value> {
    Ok(client.data(REFRESH, json!({ "input": { "refreshToken": token } })).await?["refreshSession"].take())
}

fn token_of(session: &Value) -> String {
    session["refreshToken"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_right_password_signs_in_whatever_the_case_of_the_address() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let session = login(&client, &alice.email.to_uppercase(), PASSWORD).await?;
    assert_eq!(session["account"]["user"]["id"], alice.id);
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_look_the_same() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let wrong = login(&client, &alice.email, "not her password").await?;
    let unknown = login(&client, "nobody@example.test", "not her password").await?;
    assert_eq!(wrong["__typename"], "CredentialsRefused");
    assert_eq!(wrong, unknown);
    Ok(())
}

#[tokio::test]
async fn guessing_is_slowed_down_per_account() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let mut answers = Vec::new();
    for _ in 0..12 {
        answers.push(login(&client, &alice.email, "a wrong password").await?);
    }
    let last = answers.last().cloned().unwrap_or_default();
    assert_eq!(last["__typename"], "TooManyAttempts", "{answers:?}");
    assert!(last["retryAfterSeconds"].as_i64() > Some(0));
    Ok(())
}

/// Attempts that one address has in the window that they are counted in.
const ATTEMPTS_PER_ADDRESS: usize = 50;

#[tokio::test]
async fn guessing_is_slowed_down_per_address_whatever_the_account_and_the_way() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let (address, other) = (fresh_address(), fresh_address());
    // What the ingress writes stands last; what a client wrote itself does not count.
    let ways = |address: &str| -> Result<[Client; 2]> {
        let hops = format!("{}, {address}", fresh_address());
        Ok([stack.client()?, stack.subgraph_client("accounts")?].map(|client| client.header("x-forwarded-for", &hops)))
    };
    let [router, subgraph] = ways(&address)?;
    for number in 0..ATTEMPTS_PER_ADDRESS {
        let client = if number % 2 == 0 { &router } else { &subgraph };
        let refused = login(client, &format!("nobody-{number}@example.test"), "a wrong password").await?;
        assert_eq!(refused["__typename"], "CredentialsRefused", "attempt {number}: {refused}");
    }
    for client in [&router, &subgraph] {
        let late = login(client, &alice.email, PASSWORD).await?;
        assert_eq!(late["__typename"], "TooManyAttempts", "{late}");
        assert!(late["retryAfterSeconds"].as_i64() > Some(0), "{late}");
    }
    // A socket is no way around it: it comes from where it was opened from.
    for (address, expected) in [(&address, "TooManyAttempts"), (&other, "Session")] {
        let mut socket = Socket::open_with(&stack.info.ws_url, None, &[("x-forwarded-for", address)]).await?;
        let input = json!({ "email": alice.email, "password": PASSWORD });
        let id = socket.subscribe(LOGIN, json!({ "input": input })).await?;
        let answer = socket.next(&id, SOON).await?.payload()?;
        assert_eq!(answer["data"]["login"]["__typename"], expected, "{answer}");
    }
    for client in ways(&other)? {
        assert_eq!(login(&client, &alice.email, PASSWORD).await?["__typename"], "Session");
    }
    Ok(())
}

/// An address that nobody else asks from.
fn fresh_address() -> String {
    let parts = uuid::Uuid::new_v4();
    let parts: Vec<String> =
        parts.as_bytes()[..12].chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
    format!("2001:db8:{}", parts.join(":"))
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_the_one_just_replaced_once_more() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let second = refresh(&client, &alice.refresh_token).await?;
    assert_eq!(second["account"]["email"], alice.email);
    // A phone that lost the answer asks again.
    let third = refresh(&client, &alice.refresh_token).await?;
    assert_eq!(third["__typename"], "Session");
    let fourth = refresh(&client, &token_of(&third)).await?;
    assert_eq!(fourth["__typename"], "Session");
    // The first one is old by now: whoever brings it has stolen it, or lost it to a thief.
    assert_eq!(refresh(&client, &alice.refresh_token).await?["__typename"], "CredentialsRefused");
    assert_eq!(refresh(&client, &token_of(&fourth)).await?["__typename"], "CredentialsRefused", "the family is over");
    Ok(())
}

#[tokio::test]
async fn of_many_rotations_at_once_one_wins_and_one_is_forgiven() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let answers = try_join_all((0..2).map(|_| refresh(&client, &alice.refresh_token))).await?;
    assert!(answers.iter().all(|answer| answer["__typename"] == "Session"), "{answers:?}");
    assert_ne!(token_of(&answers[0]), token_of(&answers[1]));
    Ok(())
}

#[tokio::test]
async fn logging_out_ends_the_session_at_once() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let out = client.data(LOGOUT, json!({ "input": { "refreshToken": alice.refresh_token } })).await?;
    assert_eq!(out["logout"]["ok"], true);
    assert_eq!(refresh(&client, &alice.refresh_token).await?["__typename"], "CredentialsRefused");
    let unknown = client.data(LOGOUT, json!({ "input": { "refreshToken": "nonsense" } })).await?;
    assert_eq!(unknown["logout"]["ok"], true, "who is out is out");
    Ok(())
}

/// A token with one part changed.
fn altered(token: &str, change: impl Fn(&mut Value)) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    change(&mut claims);
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

#[tokio::test]
async fn no_forged_foreign_or_broken_token_is_anybody() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let token = alice.client.token().unwrap_or_default().to_owned();
    let none =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), token.split('.').nth(1).unwrap_or_default());
    let bad = [
        altered(&token, |claims| claims["sub"] = json!("00000000-0000-0000-0000-000000000001")),
        altered(&token, |claims| claims["exp"] = json!(9_999_999_999_i64)),
        none,
        "not.a.token".to_owned(),
        "x".repeat(10_000),
    ];
    for url in [stack.info.graphql_url.clone(), format!("{}/accounts/graphql", stack.info.api_url)] {
        let client = Client::new(&url)?;
        for token in &bad {
            let answer = client.bearer(token).send("{ me { email } }", json!({})).await?;
            assert_eq!(answer.code(), Some("UNAUTHENTICATED"), "{url}: {token:.60}");
            assert!(answer.data["me"].is_null());
        }
    }
    Ok(())
}
