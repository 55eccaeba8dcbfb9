//! `deck`, `swipe`, `matches`, `unmatch`, `blockUser`.

#![expect(clippy::disallowed_methods, reason = "tests make ids up as they go")]

#[path = "matching/deck.rs"]
mod deck_follows;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::collections::HashSet;
use velvet_e2e::{
    Person, SOON, conversation_of,
    live::{MATCH_EVENTS, MESSAGE_EVENTS},
    meet,
    person::registration,
    second_api::SecondApi,
};
use velvet_kit::{Handle, until};

const MATCHES: &str = "{ matches(first: 100) { nodes { id with { id displayName } } pageInfo { hasNextPage } } }";
const UNMATCH: &str =
    "mutation($id: ID!) { unmatch(input: { matchId: $id }) { __typename ... on Unmatched { matchId } } }";
const BLOCK: &str =
    "mutation($id: ID!) { blockUser(input: { userId: $id }) { __typename ... on UserBlocked { userId } } }";
const DECK: &str = "query($first: Int, $filter: DeckFilter) { deck(first: $first, filter: $filter) {
    user { id displayName age } distanceKm superLikedYou
} }";

async fn match_ids(person: &Person) -> Result<Vec<String>> {
    let data = person.ask(MATCHES, json!({})).await?;
    let nodes = data["matches"]["nodes"].as_array().cloned().unwrap_or_default();
    Ok(nodes.iter().filter_map(|node| node["id"].as_str().map(str::to_owned)).collect())
}

/// Someone at a place of their own, so that tests do not meet each other's people.
async fn at(stack: &Handle, name: &str, side: &str, place: (f64, f64)) -> Result<Person> {
    let mut input = registration(name);
    input["side"] = json!(side);
    let person = Person::sign_up_with(stack, &input).await?;
    let set = "mutation($input: SetLocationInput!) { setLocation(input: $input) { __typename } }";
    let input = json!({ "latitude": place.0, "longitude": place.1 });
    let answer = person.ask(set, json!({ "input": input })).await?;
    ensure!(answer["setLocation"]["__typename"] == "LocationSet", "{answer}");
    Ok(person)
}

async fn deck(person: &Person, first: i64, filter: Value) -> Result<Vec<Value>> {
    let data = person.ask(DECK, json!({ "first": first, "filter": filter })).await?;
    Ok(data["deck"].as_array().cloned().unwrap_or_default())
}

async fn first_card(person: &Person) -> Result<Value> {
    until("a card", SOON, || async { deck(person, 10, json!(null)).await?.first().cloned().context("no card yet") })
        .await
}

#[tokio::test]
async fn the_deck_shows_the_other_side_nearby_and_nobody_twice() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let place = (-33.4, -70.6);
    let alice = at(&stack, "alice", "CREATOR", place).await?;
    let near = at(&stack, "near", "PATRON", (-33.5, -70.7)).await?;
    let same_side = at(&stack, "same-side", "CREATOR", place).await?;
    let far = at(&stack, "far", "PATRON", (-40.0, -70.6)).await?;
    let card = first_card(&alice).await?;
    assert_eq!(card["user"]["id"], near.id);
    assert_eq!(card["superLikedYou"], false);
    let distance = card["distanceKm"].as_i64().unwrap_or_default();
    assert!((1..=50).contains(&distance), "{distance} km");
    let later = deck(&alice, 50, json!(null)).await?;
    for (who, why) in [(&near, "was served"), (&same_side, "is on the same side"), (&far, "is far away")] {
        assert!(later.iter().all(|card| card["user"]["id"] != who.id), "{} {why}", who.name);
    }
    Ok(())
}

#[tokio::test]
async fn who_was_swiped_never_comes_back_and_a_super_like_comes_first() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let place = (64.1, -21.9);
    let alice = at(&stack, "alice", "CREATOR", place).await?;
    let passed = at(&stack, "passed", "PATRON", place).await?;
    alice.swipe(&passed.id, "PASS").await?;
    let ordinary = at(&stack, "ordinary", "PATRON", place).await?;
    let keen = at(&stack, "keen", "PATRON", place).await?;
    keen.swipe(&alice.id, "SUPER_LIKE").await?;
    let mut seen = Vec::new();
    until("both cards", SOON, || async {
        let cards = deck(&alice, 10, json!({ "distanceKmMax": 50 })).await?;
        ensure!(cards.len() == 2, "{cards:?}");
        Ok(cards)
    })
    .await?
    .iter()
    .for_each(|card| seen.push((card["user"]["id"].clone(), card["superLikedYou"].clone())));
    assert_eq!(seen, [(json!(keen.id), json!(true)), (json!(ordinary.id), json!(false))]);
    Ok(())
}

#[tokio::test]
async fn preferences_count_on_both_sides() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let place = (-1.3, 36.8);
    let update = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) { __typename } }";
    let alice = at(&stack, "alice", "CREATOR", place).await?;
    let wants_men = at(&stack, "wants-men", "PATRON", place).await?;
    wants_men.ask(update, json!({ "input": { "preferences": { "genders": ["MALE"] } } })).await?;
    let wants_old = at(&stack, "wants-old", "PATRON", place).await?;
    wants_old.ask(update, json!({ "input": { "preferences": { "ageMin": 60, "ageMax": 80 } } })).await?;
    let fits = at(&stack, "fits", "PATRON", place).await?;
    let cards = until("a card", SOON, || async {
        let cards = deck(&alice, 10, json!({ "ageMin": 18 })).await?;
        ensure!(cards.len() == 1, "{cards:?}");
        Ok(cards)
    })
    .await?;
    assert_eq!(cards[0]["user"]["id"], fits.id);
    let none = deck(&alice, 10, json!({ "ageMin": 90 })).await?;
    assert!(none.is_empty(), "a filter narrows for one call: {none:?}");
    Ok(())
}

#[tokio::test]
async fn without_a_place_the_deck_is_empty() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    assert!(deck(&alice, 10, json!(null)).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn likes_at_the_same_instant_are_one_match_for_both() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let pairs = try_join_all((0..20).map(|_| async {
        Ok::<_, anyhow::Error>((Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?))
    }))
    .await?;
    try_join_all(pairs.iter().map(|(alice, bob)| async move {
        let (one, other) = futures::try_join!(alice.swipe(&bob.id, "LIKE"), bob.swipe(&alice.id, "SUPER_LIKE"))?;
        let completed = [&one, &other].iter().filter(|swiped| !swiped["match"].is_null()).count();
        ensure!(completed == 1, "one of the two completes the match: {one} {other}");
        let (alices, bobs) = futures::try_join!(match_ids(alice), match_ids(bob))?;
        ensure!(alices.len() == 1 && alices == bobs, "{alices:?} {bobs:?}");
        Ok(())
    }))
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_swipe_repeated_with_its_key_is_answered_as_the_first_time() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    alice.swipe(&bob.id, "LIKE").await?;
    let input = json!({ "userId": alice.id, "action": "LIKE", "idempotencyKey": "once" });
    let first = bob.swipe_with(input.clone()).await?;
    assert!(first["match"]["id"].is_string());
    assert_eq!(bob.swipe_with(input).await?, first);
    Ok(())
}

#[tokio::test]
async fn a_pass_takes_a_like_back_but_dissolves_no_match() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    alice.swipe(&bob.id, "LIKE").await?;
    alice.swipe(&bob.id, "PASS").await?;
    assert!(bob.swipe(&alice.id, "LIKE").await?["match"].is_null());
    assert!(alice.swipe(&bob.id, "LIKE").await?["match"].is_object());
    alice.swipe(&bob.id, "PASS").await?;
    assert_eq!(match_ids(&bob).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn nobody_swipes_themselves_or_someone_unknown() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    for id in [alice.id.as_str(), "00000000-0000-4000-8000-000000000000", "nonsense", ""] {
        assert_eq!(alice.swipe(id, "LIKE").await?["__typename"], "UserNotFound", "{id:?}");
    }
    Ok(())
}

#[tokio::test]
async fn unmatching_ends_it_for_both_and_old_likes_do_not_bring_it_back() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let match_id = meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;
    let mut bob_hears = bob.follow(MATCH_EVENTS, json!({})).await?;
    let ended = alice.ask(UNMATCH, json!({ "id": match_id })).await?;
    assert_eq!(ended["unmatch"], json!({ "__typename": "Unmatched", "matchId": match_id }));
    assert_eq!(bob_hears.next_of("MatchEnded").await?["matchId"], match_id);
    assert!(match_ids(&alice).await?.is_empty());
    assert!(match_ids(&bob).await?.is_empty());
    let again = bob.ask(UNMATCH, json!({ "id": match_id })).await?;
    assert_eq!(again["unmatch"]["__typename"], "MatchNotFound");
    assert!(alice.swipe(&bob.id, "LIKE").await?["match"].is_null());
    until("the conversation to close", SOON, || async {
        let answer = bob.send(&conversation, &uuid::Uuid::new_v4().to_string(), "still there?").await?;
        ensure!(answer["__typename"] == "ConversationClosed", "{answer}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_foreign_match_is_not_found() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let eve = Person::sign_up(&stack, "eve").await?;
    let match_id = meet(&alice, &bob).await?;
    for id in [match_id.as_str(), "nonsense"] {
        assert_eq!(eve.ask(UNMATCH, json!({ "id": id })).await?["unmatch"]["__typename"], "MatchNotFound");
    }
    assert_eq!(match_ids(&alice).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_block_hides_both_from_each_other_once_it_is_acknowledged() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let match_id = meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;
    let mut alice_hears = alice.follow(MESSAGE_EVENTS, json!({})).await?;
    let blocked = alice.ask(BLOCK, json!({ "id": bob.id })).await?;
    assert_eq!(blocked["blockUser"], json!({ "__typename": "UserBlocked", "userId": bob.id }));

    for (one, other) in [(&alice, &bob), (&bob, &alice)] {
        assert!(match_ids(one).await?.is_empty());
        let look = "query($user: ID!, $conversation: ID!) {
            user(id: $user) { id } conversation(id: $conversation) { id } conversations { nodes { id } }
        }";
        let seen = one.ask(look, json!({ "user": other.id, "conversation": conversation })).await?;
        assert_eq!(
            seen,
            json!({ "user": null, "conversation": null, "conversations": { "nodes": [] } }),
            "{}",
            one.name
        );
        assert_eq!(one.swipe(&other.id, "LIKE").await?["__typename"], "UserNotFound");
    }
    let answer = bob.send(&conversation, "c1", "hello?").await?;
    assert_ne!(answer["__typename"], "MessageSent");
    // Someone else's message comes; nothing of bob's came before it.
    let carol = Person::sign_up(&stack, "carol").await?;
    let other = conversation_of(&carol, &meet(&carol, &alice).await?).await?;
    carol.send(&other, "c1", "hello from carol").await?;
    assert_eq!(alice_hears.next_of("MessageSent").await?["message"]["sender"]["id"], carol.id);
    Ok(())
}

#[tokio::test]
async fn matches_come_newest_first_and_page_by_page() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let mut expected = Vec::new();
    for number in 0..5 {
        let other = Person::sign_up(&stack, &format!("other-{number}")).await?;
        expected.insert(0, meet(&alice, &other).await?);
    }
    let page = "query($after: String) { matches(first: 2, after: $after) { edges { node { id } } pageInfo { hasNextPage endCursor } } }";
    let (mut seen, mut after) = (Vec::new(), json!(null));
    for round in 0.. {
        ensure!(round < 4, "no end of pages");
        let data = alice.ask(page, json!({ "after": after })).await?;
        for edge in data["matches"]["edges"].as_array().into_iter().flatten() {
            seen.push(edge["node"]["id"].as_str().unwrap_or_default().to_owned());
        }
        if data["matches"]["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = data["matches"]["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(seen, expected);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 5);
    Ok(())
}

#[tokio::test]
async fn likes_are_limited_whatever_key_they_come_with_and_passes_are_free() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let limits = [("DOMAINS__matching__likes_per_day", "2"), ("DOMAINS__matching__super_likes_per_day", "1")];
    let api = SecondApi::start(&stack, &limits).await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let others = try_join_all((0..4).map(|_| Person::sign_up(&stack, "bob"))).await?;
    let matching = api.subgraph("matching", alice.client.token().context("a token")?)?;
    let swipe = async |other: &Person, action: &str| {
        let query = "mutation($input: SwipeInput!) { swipe(input: $input) {
            __typename ... on QuotaUsedUp { reason quota { limit remaining } }
        } }";
        let input = json!({ "userId": other.id, "action": action, "idempotencyKey": "always the same" });
        anyhow::Ok(matching.data(query, json!({ "input": input })).await?["swipe"].take())
    };
    let left = async || {
        let data = matching.data("{ swipeQuota { limit remaining } }", json!({})).await?;
        anyhow::Ok(data["swipeQuota"]["remaining"].clone())
    };
    assert_eq!(left().await?, 2);
    assert_eq!(swipe(&others[0], "SUPER_LIKE").await?["__typename"], "Swiped");
    assert_eq!(swipe(&others[0], "SUPER_LIKE").await?["__typename"], "Swiped", "a repeat counts once");
    assert_eq!(left().await?, 1);
    let refused = swipe(&others[1], "SUPER_LIKE").await?;
    assert_eq!(refused["__typename"], "QuotaUsedUp", "{refused}");
    assert_eq!(refused["quota"], json!({ "limit": 1, "remaining": 0 }), "super likes are what is used up: {refused}");
    assert_eq!(swipe(&others[1], "LIKE").await?["__typename"], "Swiped");
    let refused = swipe(&others[2], "LIKE").await?;
    assert_eq!(refused["quota"], json!({ "limit": 2, "remaining": 0 }), "{refused}");
    assert_eq!(swipe(&others[2], "PASS").await?["__typename"], "Swiped");
    assert_eq!(left().await?, 0);
    Ok(())
}
