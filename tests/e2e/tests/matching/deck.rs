//! What the deck follows: who is verified, and who was active last.

use super::{at, deck};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use velvet_e2e::{
    Person, SOON,
    partner::velvet,
    person::{PASSWORD, registration},
};
use velvet_kit::{Handle, until};

const UPDATE: &str = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) { __typename } }";

async fn verify(stack: &Handle, person: &Person, status: &str) -> Result<()> {
    velvet(stack, &["verify", "--user", &person.id, "--status", status]).await.map(drop)
}

fn ids(cards: &[Value]) -> Vec<&str> {
    cards.iter().filter_map(|card| card["user"]["id"].as_str()).collect()
}

/// Waits until another sees that badge, or none.
async fn shows(viewer: &Person, other: &Person, verified: bool) -> Result<()> {
    until("the badge", SOON, || async {
        let seen = viewer.ask("query($id: ID!) { user(id: $id) { verified } }", json!({ "id": other.id })).await?;
        ensure!(seen["user"]["verified"] == verified, "{} {seen}", other.name);
        Ok(())
    })
    .await
}

/// What a viewer of their own at that place is dealt, once it is so many.
async fn dealt(stack: &Handle, place: (f64, f64), verified_only: bool, wanted: &[&str]) -> Result<()> {
    until("that deck", SOON, || async {
        // Served cards do not come again, so everybody looks once.
        let viewer = at(stack, "viewer", "CREATOR", place).await?;
        if verified_only {
            viewer.ask(UPDATE, json!({ "input": { "preferences": { "verifiedOnly": true } } })).await?;
        }
        let cards = deck(&viewer, 10, json!(null)).await?;
        ensure!(ids(&cards) == wanted, "{:?} and not {wanted:?}", ids(&cards));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn who_was_verified_has_the_badge_and_is_alone_in_a_deck_of_verified_people() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let place = (-45.9, 170.5);
    let alice = at(&stack, "alice", "CREATOR", place).await?;
    let bob = at(&stack, "bob", "PATRON", place).await?;
    let carol = at(&stack, "carol", "PATRON", place).await?;
    dealt(&stack, place, false, &[&carol.id, &bob.id]).await?;

    verify(&stack, &bob, "verified").await?;
    verify(&stack, &carol, "pending").await?;
    shows(&alice, &bob, true).await?;
    shows(&alice, &carol, false).await?;
    for (person, status) in [(&bob, "VERIFIED"), (&carol, "PENDING"), (&alice, "UNVERIFIED")] {
        let me = person.ask("{ me { verificationStatus } }", json!({})).await?;
        assert_eq!(me["me"]["verificationStatus"], status, "{}", person.name);
    }
    // By the stored preferences, and by a filter for one call.
    dealt(&stack, place, true, &[&bob.id]).await?;
    let cards = until("a card", SOON, || async {
        let cards = deck(&alice, 10, json!({ "verifiedOnly": true })).await?;
        ensure!(!cards.is_empty(), "no card yet");
        Ok(cards)
    })
    .await?;
    assert_eq!(ids(&cards), [&bob.id]);

    verify(&stack, &bob, "rejected").await?;
    verify(&stack, &carol, "verified").await?;
    shows(&alice, &bob, false).await?;
    dealt(&stack, place, true, &[&carol.id]).await?;

    for (user, status) in
        [(bob.id.as_str(), "maybe"), ("nobody", "verified"), (&uuid::Uuid::new_v4().to_string(), "verified")]
    {
        assert!(velvet(&stack, &["verify", "--user", user, "--status", status]).await.is_err(), "{user} {status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_makes_somebody_the_most_recently_active() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let place = (-46.9, 168.3);
    let away = |name: &str, days: u32| {
        let input = registration(name);
        json!({
            "email": input["email"], "password": PASSWORD, "display_name": name, "birth_date": "1990-05-06",
            "gender": "MALE", "side": "PATRON", "latitude": place.0, "longitude": place.1,
            "last_active_seconds_ago": days * 24 * 60 * 60,
        })
    };
    let (long, lately) = (away("long-ago", 3), away("lately", 1));
    let file = stack.info.state.join("two-people.ndjson");
    std::fs::write(&file, format!("{long}\n{lately}\n")).context("writing people")?;
    velvet(&stack, &["import", "--file", &file.to_string_lossy()]).await?;
    // Signing in by itself is no request of somebody's: who it is follows from it.
    let (long, lately) = (sign_in(&stack, &long).await?, sign_in(&stack, &lately).await?);
    dealt(&stack, place, false, &[&lately.id, &long.id]).await?;

    long.ask("{ me { email } }", json!({})).await?;
    dealt(&stack, place, false, &[&long.id, &lately.id]).await
}

async fn sign_in(stack: &Handle, person: &Value) -> Result<Person> {
    let login = "mutation($input: LoginInput!) { login(input: $input) {
        ... on Session { accessToken refreshToken account { user { id displayName } email } }
    } }";
    let input = json!({ "email": person["email"], "password": person["password"] });
    let session = until("signing in", SOON, || async {
        let session = stack.client()?.data(login, json!({ "input": input })).await?["login"].take();
        ensure!(session["accessToken"].is_string(), "{session}");
        Ok(session)
    })
    .await?;
    Person::from_session(stack, &session)
}
