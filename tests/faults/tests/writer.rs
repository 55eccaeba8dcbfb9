//! Writers killed, frozen and replaced, and servers stopped: every row is there once.

#![expect(clippy::disallowed_methods, reason = "tests make ids up as they go")]

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;
use velvet_e2e::database::everywhere;
use velvet_faults::{
    HEALED,
    talk::Talk,
    tap::{Tap, event},
    writers::SecondWriter,
};
use velvet_kernel::{
    config::RedisConfig,
    log::{NewEvent, Stage, Topic},
    store::{Call, Store},
};
use velvet_kit::{Handle, until};

/// A writer that was killed is missed by Kafka after six seconds; then another has its partitions.
const TAKEN_OVER: Duration = Duration::from_secs(20);
/// Nobody is missing, so what is said is stored at once, even beside a build.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_exact_after_a_writer_was_killed_twice_and_frozen_while_another_took_over() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let mut talk = Talk::open(&stack).await?;
    for _ in 0..2 {
        talk.say(1_000).await?;
        stack.writer().kill9().await?;
        talk.say(500).await?;
        stack.writer().start().await?;
    }
    talk.stored(&stack, 2_500).await?;
    talk.say(500).await?;
    stack.writer().pause().await?;
    let second = SecondWriter::start(&stack, &[])?;
    talk.say(1_000).await?;
    talk.stored(&stack, talk.said()).await?;
    // The frozen one still believes that its partitions are its own, and that its positions stand.
    stack.writer().resume().await?;
    talk.say(500).await?;
    talk.stored(&stack, talk.said()).await?;
    second.kill9().await?;

    assert_eq!(talk.said(), 5_000);
    talk.check_stored_once_each(&stack).await?;
    until("the outboxes to be empty and the positions at the ends of the log", HEALED, || level(&stack)).await
}

/// Nothing waits in an outbox, and the stored positions are where the topics end.
async fn level(stack: &Handle) -> Result<()> {
    let waiting = everywhere(stack, "SELECT id FROM {shard}.outbox").await?.len();
    ensure!(waiting == 0, "{waiting} events in outboxes");
    let mut stored: HashMap<(String, i64), i64> = HashMap::new();
    for row in everywhere(stack, "SELECT topic, partition, next_offset FROM {shard}.log_positions").await? {
        let place = (text(&row["topic"]), row["partition"].as_i64().context("a partition")?);
        let position = row["next_offset"].as_i64().context("a position")?;
        ensure!(stored.insert(place, position).is_none(), "two shards have a position of one partition: {row}");
    }
    let tap = Tap::open(stack)?;
    let decided = ["accounts", "matching", "messaging"].map(|domain| Topic::of(domain, Stage::Decided));
    for topic in decided.into_iter().chain([Topic::of("accounts", Stage::Commands)]) {
        for (partition, end) in (0..).zip(tap.ends(&topic).await?) {
            let position = stored.get(&(topic.0.clone(), partition)).copied().unwrap_or_default();
            ensure!(position == end, "{}/{partition} is stored up to {position} of {end}", topic.0);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_primary_holds_up_no_shards_but_its_own() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let mut talk = Talk::open(&stack).await?;
    stack.postgres(1).stop().await?;

    talk.say(160).await?;
    until("the messages of the other primary", AT_ONCE, || stored_on_first(&stack, &talk)).await?;
    // Nor does a writer wait for it that starts while it is away.
    stack.writer().kill9().await?;
    stack.writer().spawn().await?;
    talk.say(160).await?;
    until("the messages of the other primary", TAKEN_OVER, || stored_on_first(&stack, &talk)).await?;

    stack.postgres(1).start().await?;
    talk.stored(&stack, talk.said()).await?;
    talk.check_stored_once_each(&stack).await?;
    stack.writer().start().await
}

async fn stored_on_first(stack: &Handle, talk: &Talk) -> Result<()> {
    let (stored, said) = (talk.stored_on(stack, 0).await?, talk.said_on(0));
    ensure!(stored == said, "{stored} of {said} rows");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_registrations_of_one_address_make_one_account_though_the_writer_is_killed() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let tap = Tap::open(&stack)?;
    let store = Store::connect(&RedisConfig { urls: stack.info.redis_urls.clone() }).await?;
    let email = format!("wanted.{}@example.test", Uuid::new_v4().simple());
    let ids: Vec<Uuid> = (0..100).map(|_| Uuid::new_v4()).collect();
    let commands: Vec<NewEvent> = ids.iter().map(|id| registration(*id, &email)).collect();
    let topic = Topic::of("accounts", Stage::Commands);
    tap.append(&topic, &commands[..50]).await?;
    stack.writer().kill9().await?;
    tap.append(&topic, &commands[50..]).await?;
    stack.writer().start().await?;

    let told = until("a hundred outcomes", HEALED, || told(&store, &ids)).await?;
    let winner = told.iter().position(|outcome| outcome["type"] == "registered").context("nobody registered")?;
    assert_eq!(told.iter().filter(|outcome| outcome["type"] == "email_taken").count(), 99);
    let owners = format!("SELECT command_id FROM {{shard}}.account_emails WHERE email_normalized = '{email}'");
    assert_eq!(everywhere(&stack, &owners).await?, [json!({ "command_id": ids[winner] })]);
    assert_eq!(outcomes(&stack, &ids).await?, ids.iter().copied().zip(told.clone()).collect());
    let user = until("the account in PostgreSQL", HEALED, || one_user(&stack, &email)).await?;
    assert_eq!(told[winner]["user_id"], user);

    // A day later the outcomes are told no more, but they stand.
    let again = [winner, (winner + 1) % ids.len()];
    for index in again {
        let deleted: i64 = store.ask(Call::command_on("DEL", told_key(ids[index]))).await?;
        assert_eq!(deleted, 1);
    }
    tap.append(&topic, &again.map(|index| commands[index].clone())).await?;
    let asked_again = again.map(|index| ids[index]);
    let retold = until("the outcomes, told again", HEALED, || self::told(&store, &asked_again)).await?;
    assert_eq!(retold, again.map(|index| told[index].clone()));
    assert_eq!(outcomes(&stack, &ids).await?.len(), 100);
    assert_eq!(one_user(&stack, &email).await?, user);

    // What was refused leaves nothing for ever.
    let state = format!("accounts:state:{{{}}}", ids[again[1]]);
    let lifetime_s: i64 = store.ask(Call::command_on("TTL", state)).await?;
    assert!((1..=24 * 3600).contains(&lifetime_s), "a lifetime of {lifetime_s} s");
    let kept: i64 = store.ask(Call::command_on("TTL", format!("accounts:state:{{{}}}", text(&user)))).await?;
    assert_eq!(kept, -1, "an account stays");
    Ok(())
}

fn registration(id: Uuid, email: &str) -> NewEvent {
    let command = json!({
        "command_id": id,
        "user_id": Uuid::now_v7(),
        "email": email,
        "email_normalized": email,
        "password_hash": "$argon2id$none",
        "display_name": "wanted",
        "birth_date": "1994-05-17",
        "gender": "FEMALE",
        "side": "CREATOR",
        "preferences": {
            "age_min": 18, "age_max": 99, "distance_km_max": 50, "genders": ["MALE"], "verified_only": false,
        },
        "created_at": "2026-11-21T10:00:00Z",
    });
    event(id, "accounts.register", email, &command)
}

fn told_key(id: Uuid) -> String {
    format!("accounts:told:{{{id}}}")
}

/// What each command has come to, in their order; fails while one is not decided.
async fn told(store: &Store, ids: &[Uuid]) -> Result<Vec<Value>> {
    let mut outcomes = Vec::with_capacity(ids.len());
    for id in ids {
        let outcome: Option<String> = store.ask(Call::command_on("GET", told_key(*id))).await?;
        let outcome = outcome.with_context(|| format!("{} of {} are told", outcomes.len(), ids.len()))?;
        outcomes.push(serde_json::from_str(&outcome)?);
    }
    Ok(outcomes)
}

/// What PostgreSQL keeps of the commands.
async fn outcomes(stack: &Handle, ids: &[Uuid]) -> Result<HashMap<Uuid, Value>> {
    let ids: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    let query = format!("SELECT command_id, outcome FROM {{shard}}.commands WHERE command_id IN ({})", ids.join(", "));
    let rows = everywhere(stack, &query).await?;
    let outcomes: HashMap<Uuid, Value> = rows
        .iter()
        .map(|row| Ok((text(&row["command_id"]).parse()?, row["outcome"].clone())))
        .collect::<Result<_>>()?;
    ensure!(outcomes.len() == rows.len(), "a command has two rows");
    Ok(outcomes)
}

async fn one_user(stack: &Handle, email: &str) -> Result<Value> {
    let rows = everywhere(stack, &format!("SELECT user_id FROM {{shard}}.users WHERE email = '{email}'")).await?;
    ensure!(rows.len() == 1, "{} users", rows.len());
    Ok(rows[0]["user_id"].clone())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
