//! Redis is rebuilt while people go on.

use super::writer;
use anyhow::{Result, bail, ensure};
use serde_json::json;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use velvet_e2e::{Person, conversation_of, live::MESSAGE_EVENTS, meet};
use velvet_kit::{Handle, client::Response};

/// How long a stream may be silent: longer than a rebuild of what tests leave takes.
const SILENCE: Duration = Duration::from_mins(1);

/// What clients saw of one kind of request.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    unavailable: usize,
    /// From the first refusal to the answer after the last.
    refused_since: Option<Instant>,
    away: Duration,
}

impl Seen {
    /// Counts an answer; anything but an answer or `UNAVAILABLE` is an error.
    fn count(&mut self, answer: &Response) -> Result<bool> {
        match answer.code() {
            None if answer.errors.is_empty() => {
                self.answered += 1;
                if let Some(since) = self.refused_since.take() {
                    self.away = self.away.max(since.elapsed());
                }
                Ok(true)
            }
            Some("UNAVAILABLE") => {
                self.unavailable += 1;
                self.refused_since.get_or_insert_with(Instant::now);
                Ok(false)
            }
            _ => bail!("neither an answer nor UNAVAILABLE: {answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_an_operator_asks_for_loses_nothing_and_refuses_only_for_a_while() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let conversation = conversation_of(&alice, &meet(&alice, &bob).await?).await?;
    let mut bob_hears = bob.follow(MESSAGE_EVENTS, json!({})).await?;
    let done = AtomicBool::new(false);

    let rebuild = async {
        let told = writer(&stack, &["rebuild", "--timeout", "90"]).await;
        // What is asked afterwards shows that all is well again.
        alice.history(&conversation).await.ok();
        done.store(true, Ordering::Relaxed);
        told
    };
    let writing = async {
        let (mut seen, mut said) = (Seen::default(), 0);
        while !done.load(Ordering::Relaxed) || said < 20 {
            said += 1;
            // Under one client id until it is acknowledged, as clients do.
            loop {
                let answer = alice.send_raw(&conversation, &format!("c{said}"), &format!("message {said}")).await?;
                if seen.count(&answer)? {
                    ensure!(answer.data["sendMessage"]["message"]["position"] == said, "{answer:?}");
                    break;
                }
            }
        }
        Ok((seen, said))
    };
    let reading = async {
        let mut seen = Seen::default();
        while !done.load(Ordering::Relaxed) {
            let query = "{ me { email } conversations(first: 5) { nodes { id } } matches(first: 5) { nodes { id } } }";
            seen.count(&bob.client.send(query, json!({})).await?)?;
        }
        Ok(seen)
    };
    let (told, (writes, said), reads) = futures::try_join!(rebuild, writing, reading)?;
    println!("{told}reads {reads:?}\nwrites {writes:?}");
    assert!(told.contains("rebuilt:"), "{told}");

    let expected: Vec<(i64, String)> = (1..=said).map(|number| (number, format!("message {number}"))).collect();
    assert_eq!(alice.history(&conversation).await?, expected, "each once, in order");
    assert_eq!(bob.history(&conversation).await?, expected);
    // A stream goes on, or says once that it has begun anew, after which its client refetches.
    let last = alice.send(&conversation, "last", "last").await?;
    let (mut heard, mut resets) = (Vec::new(), 0);
    while heard.last() != last["message"]["position"].as_i64().as_ref() {
        let event = bob_hears.next_within(SILENCE).await?;
        resets += usize::from(event["__typename"] == "StreamReset");
        heard.extend(event["message"]["position"].as_i64());
    }
    assert!(resets <= 1, "{resets} resets");
    if resets == 0 {
        assert_eq!(heard, (1..=said + 1).collect::<Vec<_>>(), "each once, in order");
    }
    Ok(())
}
