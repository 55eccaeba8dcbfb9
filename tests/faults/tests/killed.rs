//! SIGKILL in the middle of a chat, and of a thousand likes; in its folder, SIGTERM.

#[path = "killed/asked_to_end.rs"]
mod asked_to_end;

use anyhow::{Context, Result, ensure};
use futures::future::{join_all, try_join_all};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use velvet_e2e::{Person, conversation_of, live::MESSAGE_EVENTS, meet};
use velvet_kit::{Handle, until};

/// Long enough for a process to come back and catch up on a busy machine.
const HEALED: Duration = Duration::from_secs(90);
const MESSAGES: usize = 1_000;
/// Messages in flight at the same time, as many as keep their order apart by client id.
const IN_FLIGHT: usize = 20;

/// Sends until the answer is an acknowledgement: what a client does that keeps its client id.
async fn send_stubbornly(person: &Person, conversation: &str, number: usize) -> Result<()> {
    until("an acknowledgement", HEALED, || async {
        let answer = person.send_raw(conversation, &format!("c{number}"), &format!("message {number}")).await?;
        ensure!(answer.data["sendMessage"]["__typename"] == "MessageSent", "{answer:?}");
        Ok(())
    })
    .await
}

/// Follows a person's messages, reconnecting with the last cursor, until this many have come.
async fn hear(person: Person, count: usize, started: tokio::sync::oneshot::Sender<()>) -> Result<Vec<(i64, String)>> {
    let mut heard: Vec<(i64, String)> = Vec::new();
    let mut resume = json!({});
    let mut started = Some(started);
    while heard.len() < count {
        let Ok(mut stream) = person.follow(MESSAGE_EVENTS, resume.clone()).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if let Some(started) = started.take() {
            started.send(()).ok();
        }
        while heard.len() < count {
            match stream.next().await {
                Ok(event) if event["__typename"] == "MessageSent" => {
                    let message = &event["message"];
                    heard.push((message["position"].as_i64().unwrap_or(-1), text(&message["body"])));
                }
                Ok(event) => ensure!(event["__typename"] != "StreamReset", "a reset in the middle: {event}"),
                Err(_) => break,
            }
        }
        if stream.cursor.is_some() {
            resume = stream.resume();
        }
    }
    Ok(heard)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn chat_while_a_part_is_killed(part: &str) -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
    let mut listeners = Vec::new();
    for person in [&alice, &bob] {
        let (started, standing) = tokio::sync::oneshot::channel();
        listeners.push(tokio::spawn(hear(person.clone(), MESSAGES, started)));
        standing.await.context("a stream")?;
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let kill = async {
        until("the middle of the chat", HEALED, || async {
            ensure!(sent.load(Ordering::Relaxed) >= MESSAGES / 3, "not there yet");
            Ok(())
        })
        .await?;
        stack.part(part).kill9().await?;
        stack.part(part).start().await
    };
    let numbers: Vec<usize> = (0..MESSAGES).collect();
    let talk = async {
        for batch in numbers.chunks(IN_FLIGHT) {
            try_join_all(batch.iter().map(|number| {
                // Both talk.
                let person = if number % 2 == 0 { &alice } else { &bob };
                send_stubbornly(person, &conversation, *number)
            }))
            .await?;
            sent.fetch_add(batch.len(), Ordering::Relaxed);
        }
        Ok(())
    };
    futures::try_join!(kill, talk)?;

    let heard = tokio::time::timeout(HEALED, join_all(listeners)).await.context("both hear everything in time")?;
    let mut accounts = Vec::new();
    for listener in heard {
        accounts.push(listener??);
    }
    let history = alice.history(&conversation).await?;
    let positions: Vec<i64> = history.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (1..=i64::try_from(MESSAGES)?).collect::<Vec<_>>(), "dense positions");
    let mut bodies: HashMap<&str, usize> = HashMap::new();
    for (_, body) in &history {
        *bodies.entry(body).or_default() += 1;
    }
    assert!(bodies.len() == MESSAGES && bodies.values().all(|count| *count == 1), "each message once");
    assert!(accounts[0] == history, "alice heard the same, in order, once each");
    assert!(accounts[1] == history, "bob heard the same, in order, once each");
    let rows = until("the messages in PostgreSQL", HEALED, || async {
        let rows = velvet_e2e::database::messages(&stack, &conversation).await?;
        ensure!(rows.len() >= MESSAGES, "{} rows so far", rows.len());
        Ok(rows)
    })
    .await?;
    assert!(rows == history, "PostgreSQL holds the same");
    stack.wipe_redis().await?;
    let rebuilt = until("the views, rebuilt from PostgreSQL", HEALED, || async {
        let rebuilt = alice.history(&conversation).await?;
        ensure!(rebuilt.len() == MESSAGES, "{} messages so far", rebuilt.len());
        Ok(rebuilt)
    })
    .await?;
    assert!(rebuilt == history, "the views equal a rebuild");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_survives_the_death_of_the_router() -> Result<()> {
    chat_while_a_part_is_killed("router").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_survives_the_death_of_the_api_and_projector() -> Result<()> {
    chat_while_a_part_is_killed("api").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_survives_the_death_of_the_writer() -> Result<()> {
    chat_while_a_part_is_killed("writer").await
}
