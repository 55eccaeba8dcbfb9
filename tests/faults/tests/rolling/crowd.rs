//! People who talk, look and sign up, and follow what the others say, and who notice everything.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinHandle};
use velvet_e2e::{conversation_of, live::MESSAGE_EVENTS, meet};
use velvet_faults::{
    HEALED,
    front::{Front, Visitor},
};
use velvet_kit::{Handle, client::Response, until};

const PAIRS: usize = 3;
/// Each of a pair asks in turn, and routers have their turns.
const ASKED: usize = 4 * PAIRS;
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
const SEND: &str = "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
    __typename ... on MessageSent { message { position } }
} }";
const LOOK: &str =
    "{ me { email } conversations(first: 5) { nodes { id unreadCount } } matches(first: 5) { nodes { id } } }";

/// Three pairs, and what each of them hears.
pub struct Crowd {
    front: Front,
    pairs: Vec<Pair>,
    ended: Arc<AtomicBool>,
}

struct Pair {
    one: Visitor,
    other: Visitor,
    conversation: String,
    said: AtomicUsize,
    heard: watch::Receiver<usize>,
    hearing: JoinHandle<Result<()>>,
}

/// What was asked, and how long the slowest answer took.
#[derive(Debug, Default)]
struct Asked {
    answers: AtomicUsize,
    slowest_ms: AtomicUsize,
}

impl Asked {
    /// One request, whose answer must have no errors.
    async fn ask(&self, who: &Visitor, query: &str, variables: Value) -> Result<Response> {
        let since = Instant::now();
        let answer = who.ask(query, &variables).await?;
        let took = usize::try_from(since.elapsed().as_millis()).unwrap_or(usize::MAX);
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.slowest_ms.fetch_max(took, Ordering::Relaxed);
        ensure!(answer.errors.is_empty(), "after {took} ms: {answer:?}");
        Ok(answer)
    }
}

/// Waits until each router has been asked so much that everybody will have asked it something.
pub async fn settled(front: &Front) -> Result<()> {
    let before = front.asked();
    until("every router to be asked", SETTLED_WITHIN, || async {
        for (router, asked) in front.asked() {
            let asked = asked - before.get(&router).unwrap_or(&0);
            ensure!(asked >= ASKED, "{router} was asked {asked} times");
        }
        Ok(())
    })
    .await
}

impl Crowd {
    pub async fn gather(front: &Front) -> Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let (one, other) = (front.sign_up("one").await?, front.sign_up("other").await?);
            let (first, second) = (one.person()?, other.person()?);
            let conversation = conversation_of(&first, &meet(&first, &second).await?).await?;
            let (told, heard) = watch::channel(0);
            let (started, standing) = tokio::sync::oneshot::channel();
            let listening = hear(other.clone(), told, started, Arc::clone(&ended));
            let hearing = tokio::spawn(async move {
                let outcome = listening.await;
                if let Err(error) = &outcome {
                    println!("a stream has ended for good: {error:#}");
                }
                outcome
            });
            standing.await.context("a stream")?;
            pairs.push(Pair { one, other, conversation, said: AtomicUsize::new(0), heard, hearing });
        }
        Ok(Self { front: front.clone(), pairs, ended })
    }

    /// Everybody goes on until the work is done, and no request fails.
    pub async fn while_busy<T>(&mut self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let (done, asked, since) = (AtomicBool::new(false), Asked::default(), Instant::now());
        let work = async {
            let outcome = work.await;
            done.store(true, Ordering::Relaxed);
            outcome
        };
        let pairs = futures::future::try_join_all(self.pairs.iter().map(|pair| pair.go_on(&done, &asked)));
        let joining = async {
            while !done.load(Ordering::Relaxed) {
                self.front.sign_up("late").await?;
            }
            Ok(())
        };
        let (outcome, _, ()) = futures::try_join!(work, pairs, joining).with_context(|| format!("while {what}"))?;
        println!(
            "while {what}: {} answers in {:.1} s, the slowest after {} ms",
            asked.answers.load(Ordering::Relaxed),
            since.elapsed().as_secs_f64(),
            asked.slowest_ms.load(Ordering::Relaxed)
        );
        Ok(outcome)
    }

    /// Each stream has told of every message, once, in order; and each message is stored once.
    pub async fn check_everyone_heard_everything(self, stack: &Handle) -> Result<()> {
        for pair in &self.pairs {
            let said = pair.said.load(Ordering::Relaxed);
            until("everything to be heard", HEALED, || async {
                ensure!(!pair.hearing.is_finished(), "a stream has ended for good");
                let heard = *pair.heard.borrow();
                ensure!(heard == said, "{heard} of {said}");
                Ok(())
            })
            .await?;
            until("everything to be stored", HEALED, || async {
                let stored = velvet_e2e::database::messages(stack, &pair.conversation).await?;
                let dense = (1..).zip(&stored).all(|(number, (position, _))| *position == number);
                ensure!(stored.len() == said && dense, "{} of {said}", stored.len());
                Ok(())
            })
            .await?;
        }
        self.ended.store(true, Ordering::Relaxed);
        for pair in self.pairs {
            pair.hearing.abort();
        }
        Ok(())
    }
}

impl Pair {
    async fn go_on(&self, done: &AtomicBool, asked: &Asked) -> Result<()> {
        while !done.load(Ordering::Relaxed) {
            let number = self.said.load(Ordering::Relaxed) + 1;
            let (client_id, body) = (format!("c{number}"), format!("message {number}"));
            let input = json!({ "conversationId": self.conversation, "clientId": client_id, "body": body });
            let sent = asked.ask(&self.one, SEND, json!({ "input": input })).await?;
            ensure!(sent.data["sendMessage"]["message"]["position"] == number, "{sent:?}");
            self.said.store(number, Ordering::Relaxed);
            let seen = asked.ask(&self.other, LOOK, json!({})).await?;
            ensure!(seen.data["me"]["email"].is_string(), "{seen:?}");
        }
        Ok(())
    }
}

/// Follows messages, and comes back with the last cursor whenever the connection is gone.
async fn hear(
    who: Visitor,
    told: watch::Sender<usize>,
    started: tokio::sync::oneshot::Sender<()>,
    ended: Arc<AtomicBool>,
) -> Result<()> {
    let (mut resume, mut started, mut heard) = (json!({}), Some(started), 0);
    while !ended.load(Ordering::Relaxed) {
        let Ok(mut stream) = who.follow(MESSAGE_EVENTS, &resume).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if let Some(started) = started.take() {
            started.send(()).ok();
        }
        loop {
            match stream.next_within(HEALED).await {
                Ok(event) if event["__typename"] == "MessageSent" => {
                    heard += 1;
                    ensure!(event["message"]["position"] == heard, "heard {event} as number {heard}");
                    told.send(heard).ok();
                }
                Ok(event) if event["__typename"] == "StreamReset" => bail!("a stream began anew: {event}"),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if stream.cursor.is_some() {
            resume = stream.resume();
        }
    }
    Ok(())
}
