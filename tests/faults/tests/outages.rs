//! PostgreSQL, Kafka and Redis gone for a while: what goes on, what waits, and that nothing is lost.

#![expect(clippy::disallowed_methods, reason = "tests make ids up as they go")]

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};
use uuid::Uuid;
use velvet_e2e::{
    Person, conversation_of,
    live::{MATCH_EVENTS, MESSAGE_EVENTS, Stream},
    meet,
    person::{register, registration},
};
use velvet_kit::{Handle, until};

/// Long enough for a part to come back and the rest to catch up on a busy machine.
const HEALED: Duration = Duration::from_secs(90);
/// How long the database is away.
const OUTAGE: Duration = Duration::from_secs(30);
/// What clients are promised.
const FAILURE_WITHIN: Duration = Duration::from_secs(2);
/// All that a signed-in person appends with. `USER`, `MATCH`, `CONVERSATION` and `MESSAGE` stand for ids.
const APPENDING: [&str; 9] = [
    r#"swipe(input: { userId: "USER", action: LIKE }) { __typename }"#,
    r#"blockUser(input: { userId: "USER" }) { __typename }"#,
    r#"unmatch(input: { matchId: "MATCH" }) { __typename }"#,
    r#"updateProfile(input: { bio: "a baker" }) { __typename }"#,
    "setLocation(input: { latitude: 52.5, longitude: 13.4 }) { __typename }",
    r#"sendMessage(input: { conversationId: "CONVERSATION", clientId: "during", body: "during" }) { __typename }"#,
    r#"editMessage(input: { messageId: "MESSAGE", body: "during" }) { __typename }"#,
    r#"deleteMessage(input: { messageId: "MESSAGE" }) { __typename }"#,
    r#"reactToMessage(input: { messageId: "MESSAGE", emoji: "👍" }) { __typename }"#,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_postgresql_stopped_people_swipe_and_chat_and_registering_waits() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let (carol, dave) = (Person::sign_up(&stack, "carol").await?, Person::sign_up(&stack, "dave").await?);
    let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
    for index in 0..stack.info.postgres.len() {
        stack.postgres(index).stop().await?;
    }
    let stopped = Instant::now();

    let mut input = registration("late");
    input["idempotencyKey"] = json!(Uuid::new_v4().to_string());
    let pending = register(&stack.client()?, &input).await?;
    assert_eq!(pending["__typename"], "Pending");
    assert!(pending["retryAfterSeconds"].as_i64() > Some(0));

    let match_id = meet(&carol, &dave).await?;
    let second = conversation_of(&carol, &match_id).await?;
    let mut said = 0;
    while stopped.elapsed() < OUTAGE {
        said += 1;
        for (person, conversation) in [(&alice, &conversation), (&carol, &second)] {
            let sent = person.send(conversation, &format!("c{said}"), &format!("message {said}")).await?;
            assert_eq!(sent["message"]["position"], said, "{sent}");
        }
    }
    for index in 0..stack.info.postgres.len() {
        stack.postgres(index).start().await?;
    }
    let session = until("the registration to complete", HEALED, || async {
        let answer = register(&stack.client()?, &input).await?;
        ensure!(answer["__typename"] == "Session", "{answer}");
        Ok(answer)
    })
    .await?;
    assert_eq!(session["account"]["email"], input["email"]);
    for conversation in [&conversation, &second] {
        until("everything that was said, in PostgreSQL", HEALED, || async {
            let rows = velvet_e2e::database::messages(&stack, conversation).await?;
            ensure!(rows.len() == said, "{} of {said} rows", rows.len());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_kafka_stopped_appending_fails_soon_and_reads_go_on() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let carol = Person::sign_up(&stack, "carol").await?;
    let match_id = meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;
    let sent = alice.send(&conversation, "before", "before").await?;
    let message = sent["message"]["id"].as_str().context("a message")?;
    stack.kafka().stop().await?;

    for mutation in APPENDING {
        let mutation = mutation.replace("USER", &carol.id).replace("MATCH", &match_id);
        let mutation = mutation.replace("CONVERSATION", &conversation).replace("MESSAGE", message);
        let asked = Instant::now();
        let answer = alice.client.send(&format!("mutation {{ {mutation} }}"), json!({})).await?;
        assert_eq!(answer.code(), Some("UNAVAILABLE"), "{mutation}: {answer:?}");
        assert!(answer.errors[0]["extensions"]["durable"].is_null(), "nothing was promised: {answer:?}");
        assert!(asked.elapsed() < FAILURE_WITHIN, "{mutation} took {:?}", asked.elapsed());
        assert_eq!(alice.history(&conversation).await?[0], (1, "before".to_owned()));
        alice.ask("{ me { email } matches { nodes { id } } swipeQuota { remaining } }", json!({})).await?;
    }
    let asked = Instant::now();
    let query = "mutation($input: RegisterInput!) { register(input: $input) { __typename } }";
    let answer = stack.client()?.send(query, json!({ "input": registration("late") })).await?;
    assert_eq!(answer.code(), Some("UNAVAILABLE"), "{answer:?}");
    assert!(asked.elapsed() < FAILURE_WITHIN, "registering took {:?}", asked.elapsed());
    stack.kafka().start().await?;
    until("sending to work again", HEALED, || async {
        let answer = alice.send_raw(&conversation, "after", "after").await?;
        ensure!(answer.data["sendMessage"]["__typename"] == "MessageSent", "{answer:?}");
        Ok(())
    })
    .await?;
    let history = alice.history(&conversation).await?;
    let positions: Vec<i64> = history.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (1..=i64::try_from(history.len())?).collect::<Vec<_>>());
    assert_eq!(history.iter().filter(|(_, body)| body == "after").count(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_redis_wiped_while_people_chat_everything_comes_back() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let match_id = meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;
    let mut bob_hears = bob.follow(MESSAGE_EVENTS, json!({})).await?;
    let mut acknowledged = Vec::new();
    for number in 0..120 {
        if number == 40 {
            stack.wipe_redis().await?;
        }
        if number == 80 {
            stack.redis(1).restart_empty().await?;
        }
        let position = until("an acknowledgement", HEALED, || async {
            let answer = alice.send_raw(&conversation, &format!("c{number}"), &format!("message {number}")).await?;
            answer.data["sendMessage"]["message"]["position"].as_i64().with_context(|| format!("{answer:?}"))
        })
        .await?;
        acknowledged.push((position, format!("message {number}")));
    }
    let expected: Vec<(i64, String)> = (0..120).map(|number| (number + 1, format!("message {number}"))).collect();
    assert_eq!(acknowledged, expected, "positions go on without a gap or a repeat");
    assert_eq!(bob.history(&conversation).await?, expected);
    // The stream says that it started anew, and goes on.
    assert_eq!(bob_hears.next_of("StreamReset").await?["__typename"], "StreamReset");
    alice.send(&conversation, "last", "last").await?;
    loop {
        if bob_hears.next_of("MessageSent").await?["message"]["body"] == "last" {
            break;
        }
    }
    let matches = bob.ask("{ matches { nodes { id with { displayName } } } me { email } }", json!({})).await?;
    assert_eq!(matches["matches"]["nodes"], json!([{ "id": match_id, "with": { "displayName": "alice" } }]));
    Ok(())
}

/// Pairs who like each other at the same instant.
const PAIRS: usize = 1_000;
/// Pairs whose likes are in flight together.
const AT_ONCE: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_pairs_like_each_other_at_once_while_the_api_and_projector_are_killed() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    // One person on each side of many pairs: 50 by 20 people are 1,000 pairs.
    let creators = try_join_all((0..50).map(|number| sign_up(&stack, format!("creator-{number}")))).await?;
    let patrons = try_join_all((0..20).map(|number| sign_up(&stack, format!("patron-{number}")))).await?;
    let pairs: Vec<(&Person, &Person)> =
        creators.iter().flat_map(|creator| patrons.iter().map(move |patron| (creator, patron))).collect();
    assert_eq!(pairs.len(), PAIRS);
    let creators_streams = follow_matches(&creators).await?;
    let patrons_streams = follow_matches(&patrons).await?;
    let seen_live = async {
        let creators = creators_streams.into_iter().map(|stream| hears_of(stream, 20));
        let patrons = patrons_streams.into_iter().map(|stream| hears_of(stream, 50));
        futures::try_join!(try_join_all(creators), try_join_all(patrons))
    };
    let like = async {
        for (number, chunk) in pairs.chunks(AT_ONCE).enumerate() {
            let likes = try_join_all(chunk.iter().map(|(one, other)| async move {
                futures::try_join!(like_stubbornly(one, &other.id), like_stubbornly(other, &one.id))
            }));
            // With the likes of these in flight.
            let kill = async {
                if [5, 12].contains(&number) {
                    stack.api().kill9().await?;
                    stack.api().start().await?;
                }
                Ok(())
            };
            futures::try_join!(likes, kill)?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let ((), (creators_heard, patrons_heard)) = futures::try_join!(like, seen_live)?;
    let all_of = |heard: Vec<HashSet<String>>| heard.into_iter().flatten().collect::<HashSet<_>>();
    let (creators_heard, patrons_heard) = (all_of(creators_heard), all_of(patrons_heard));
    assert_eq!(creators_heard.len(), PAIRS, "each match is another");
    assert_eq!(creators_heard, patrons_heard, "both sides hear of the same matches");
    for (people, expected) in [(&creators, 20), (&patrons, 50)] {
        for person in people {
            until("all matches with their conversations", HEALED, || seen_once(person, expected)).await?;
        }
    }
    let owners: Vec<String> = creators.iter().map(|creator| format!("'{}'", creator.id)).collect();
    let query = format!(
        "SELECT match_id, conversation_id FROM {{shard}}.matches WHERE status = 'active' AND owner_id IN ({})",
        owners.join(", ")
    );
    until("the matches in PostgreSQL", HEALED, || async {
        let rows = velvet_e2e::database::everywhere(&stack, &query).await?;
        ensure!(rows.len() == PAIRS, "{} of {PAIRS} rows", rows.len());
        for column in ["match_id", "conversation_id"] {
            let distinct: HashSet<String> = rows.iter().map(|row| row[column].to_string()).collect();
            ensure!(distinct.len() == PAIRS, "{} of {PAIRS} different {column}", distinct.len());
        }
        Ok(())
    })
    .await
}

async fn sign_up(stack: &Handle, name: String) -> Result<Person> {
    Person::sign_up(stack, &name).await
}

async fn follow_matches(people: &[Person]) -> Result<Vec<Stream>> {
    try_join_all(people.iter().map(|person| person.follow(MATCH_EVENTS, json!({})))).await
}

/// The matches that a person's live stream tells of, which must be so many, once each.
async fn hears_of(mut stream: Stream, expected: usize) -> Result<HashSet<String>> {
    let mut heard = HashMap::with_capacity(expected);
    while heard.len() < expected {
        // The last pairs have their turn when all others are through.
        let event = stream.next_within(HEALED).await?;
        ensure!(event["__typename"] == "MatchCreated" && event["match"]["conversation"]["open"] == true, "{event}");
        let id = event["match"]["id"].as_str().context("a match has an id")?.to_owned();
        if let Some(before) = heard.insert(id, event.clone()) {
            bail!("heard of twice: {before} and {event}");
        }
    }
    Ok(heard.into_keys().collect())
}

async fn like_stubbornly(person: &Person, other: &str) -> Result<()> {
    let key = Uuid::new_v4().to_string();
    until("a like", HEALED, || async {
        let input = json!({ "userId": other, "action": "LIKE", "idempotencyKey": key });
        let answer = person.swipe_with(input).await?;
        ensure!(answer["__typename"] == "Swiped", "{answer}");
        Ok(())
    })
    .await
}

async fn seen_once(person: &Person, expected: usize) -> Result<()> {
    let query = "{ matches(first: 100) { nodes { id with { id } conversation { id open } } } conversations(first: 100) { nodes { id with { id } } } }";
    let data = person.ask(query, json!({})).await?;
    let matches = data["matches"]["nodes"].as_array().context("matches")?;
    let conversations = data["conversations"]["nodes"].as_array().context("conversations")?;
    let distinct = |list: &[serde_json::Value]| {
        list.iter().map(|node| node["with"]["id"].to_string()).collect::<HashSet<_>>().len()
    };
    ensure!(matches.iter().all(|node| node["conversation"]["open"] == true), "a match without its conversation");
    ensure!(matches.len() == expected && distinct(matches) == expected, "{} of {expected} matches", matches.len());
    ensure!(
        conversations.len() == expected && distinct(conversations) == expected,
        "{} of {expected} conversations",
        conversations.len()
    );
    Ok(())
}
