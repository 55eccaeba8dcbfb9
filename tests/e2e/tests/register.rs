//! `register`: one account per address, whatever is repeated or comes at once.

#![expect(clippy::disallowed_methods, reason = "tests make ids up as they go")]

use anyhow::Result;
use futures::future::try_join_all;
use serde_json::{Value, json};
use velvet_e2e::{
    Person,
    person::{register, registration},
};
use velvet_kit::Handle;

/// The date this many years before today, moved by days; PostgreSQL knows the calendar.
async fn years_ago(stack: &Handle, years: u32, days: i32) -> Result<String> {
    let query = format!(
        "SELECT to_char((now() AT TIME ZONE 'UTC')::date - interval '{years} years' + interval '{days} days', 'YYYY-MM-DD') AS day"
    );
    let rows = stack.database(0)?.query(&query).await?;
    Ok(rows[0]["day"].as_str().unwrap_or_default().to_owned())
}

/// An address that nobody has, with so many bytes before the @ and so many in all.
fn long_address(local: usize, all: usize) -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let size = all - local - "@.test".len();
    let domain: String = (0..size).map(|at| if at % 2 == 1 && at + 1 < size { '.' } else { 'd' }).collect();
    format!("{unique:x<local$}@{domain}.test")
}

#[tokio::test]
async fn a_hundred_registrations_of_one_address_at_once_make_one_account() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let input = registration("alice");
    let email = input["email"].as_str().unwrap_or_default().to_owned();
    let attempts = (0..100).map(|number| {
        let mut input = input.clone();
        // Addresses are the same whatever their case.
        if number % 2 == 0 {
            input["email"] = json!(email.to_uppercase());
        }
        let client = client.clone();
        async move { register_patiently(&client, &input).await }
    });
    let answers = try_join_all(attempts).await?;
    let count = |kind: &str| answers.iter().filter(|answer| answer["__typename"] == kind).count();
    assert_eq!((count("Session"), count("EmailTaken")), (1, 99), "{answers:?}");
    Ok(())
}

/// Asks again as the answer says when the machine is too busy for a hundred passwords at once.
async fn register_patiently(client: &velvet_kit::client::Client, input: &Value) -> Result<Value> {
    let mut input = input.clone();
    input["idempotencyKey"] = json!(uuid::Uuid::new_v4().to_string());
    velvet_kit::until("a decision on a registration", std::time::Duration::from_secs(90), || async {
        let answer = register(client, &input).await?;
        anyhow::ensure!(answer["__typename"] != "Pending", "still pending");
        Ok(answer)
    })
    .await
}

#[tokio::test]
async fn a_repeat_with_the_same_key_and_password_is_a_session_of_the_same_account() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let mut input = registration("alice");
    input["idempotencyKey"] = json!("the same");
    let first = register(&client, &input).await?;
    let again = register(&client, &input).await?;
    assert_eq!(again["__typename"], "Session");
    assert_eq!(again["account"], first["account"]);
    input["password"] = json!("another long password");
    let other = register(&client, &input).await?;
    assert_ne!(other["__typename"], "Session", "another password is not the first request");
    Ok(())
}

#[tokio::test]
async fn every_bound_of_every_field_holds_at_its_edge_and_past_it() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let client = stack.client()?;
    let good: Vec<(&str, Value)> = vec![
        ("displayName", json!("a")),
        ("displayName", json!("x".repeat(50))),
        ("password", json!("0k!".repeat(3) + "x")),
        ("password", json!("0k!x".repeat(32))),
        ("email", json!(long_address(64, 254))),
        ("birthDate", json!(years_ago(&stack, 18, 0).await?)),
        ("birthDate", json!(years_ago(&stack, 120, 0).await?)),
        ("idempotencyKey", json!("k")),
        ("idempotencyKey", json!("é".repeat(128))),
    ];
    for (field, value) in good {
        let mut input = registration("edge");
        input[field] = value;
        let answer = register(&client, &input).await?;
        assert_eq!(answer["__typename"], "Session", "{field}: {answer}");
    }
    let bad: Vec<(&str, Value)> = vec![
        ("displayName", json!("")),
        ("displayName", json!("   ")),
        ("displayName", json!("x".repeat(51))),
        ("displayName", json!("tab\u{7}bell")),
        ("password", json!("short")),
        ("password", json!("x".repeat(129))),
        ("email", json!("no address")),
        ("email", json!("two@at@example.test")),
        ("email", json!(long_address(64, 255))),
        ("email", json!(long_address(65, 200))),
        ("birthDate", json!(years_ago(&stack, 18, 1).await?)),
        ("birthDate", json!(years_ago(&stack, 121, 0).await?)),
        ("idempotencyKey", json!("")),
        ("idempotencyKey", json!("x".repeat(129))),
    ];
    for (field, value) in bad {
        let mut input = registration("edge");
        input[field] = value.clone();
        let answer = register(&client, &input).await?;
        assert_eq!(answer["__typename"], "InputInvalid", "{field} = {value}: {answer}");
        assert_eq!(answer["fields"][0]["field"], field, "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn all_problems_of_an_input_are_told_at_once() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let mut input = registration("alice");
    input["email"] = json!("nothing");
    input["password"] = json!("short");
    let answer = register(&stack.client()?, &input).await?;
    let fields: Vec<&str> =
        answer["fields"].as_array().into_iter().flatten().filter_map(|field| field["field"].as_str()).collect();
    assert_eq!(fields, ["email", "password"]);
    Ok(())
}

#[tokio::test]
async fn me_is_the_account_that_was_registered() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let input = registration("alice");
    let alice = Person::sign_up_with(&stack, &input).await?;
    let me = alice
        .ask(
            "{ me { email birthDate verificationStatus user { id displayName side gender verified bio } } }",
            json!({}),
        )
        .await?;
    assert_eq!(
        me["me"],
        json!({
            "email": input["email"], "birthDate": "1994-05-17", "verificationStatus": "UNVERIFIED",
            "user": { "id": alice.id, "displayName": "alice", "side": "CREATOR", "gender": "FEMALE", "verified": false, "bio": "" },
        })
    );
    Ok(())
}
