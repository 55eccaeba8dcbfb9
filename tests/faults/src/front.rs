//! Clients before several routers, as behind a balancer: each request goes to the next router, and to another one only
//! when the connection was refused, so that nothing can have been asked yet.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};
use uuid::Uuid;
use velvet_e2e::{
    Person, Stream,
    person::{register, registration},
};
use velvet_kit::{Handle, client::Response, until};

use crate::HEALED;

/// The routers that there are; clones share them.
#[derive(Debug, Clone)]
pub struct Front {
    stacks: Arc<RwLock<Vec<Handle>>>,
    next: Arc<AtomicUsize>,
    answers: Arc<Mutex<HashMap<String, usize>>>,
}

impl Front {
    /// All routers of a stack.
    pub fn of(stack: &Handle) -> Self {
        let stacks = stack.info.router_urls.iter().map(|url| seen_from(stack, url)).collect();
        Self { stacks: Arc::new(RwLock::new(stacks)), next: Arc::default(), answers: Arc::default() }
    }

    /// One router more.
    pub fn add(&self, stack: &Handle, router_url: &str) {
        if let Ok(mut stacks) = self.stacks.write() {
            stacks.push(seen_from(stack, router_url));
        }
    }

    /// How much a router has been asked.
    pub fn asked_of(&self, router_url: &str) -> usize {
        self.answers.lock().map_or(0, |answers| answers.get(router_url).copied().unwrap_or_default())
    }

    /// The stack as it is seen from each router, the one whose turn it is first.
    fn in_turn(&self) -> Vec<Handle> {
        let mut stacks = self.stacks.read().map(|stacks| stacks.clone()).unwrap_or_default();
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % stacks.len().max(1);
        stacks.rotate_left(turn);
        stacks
    }

    /// Does something at the next router that takes connections.
    async fn at_next<T, F, R>(&self, mut work: F) -> Result<T>
    where
        F: FnMut(Handle) -> R,
        R: Future<Output = Result<T>>,
    {
        let mut refused = None;
        for stack in self.in_turn() {
            let router = stack.info.router_url.clone();
            match work(stack).await {
                Err(error) if was_refused(&error) => refused = Some(error),
                done => {
                    if let Ok(mut answers) = self.answers.lock() {
                        *answers.entry(router).or_default() += 1;
                    }
                    return done;
                }
            }
        }
        Err(refused.context("there is no router")?.context("every router refuses connections"))
    }

    /// Signs up.
    pub async fn sign_up(&self, name: &str) -> Result<Visitor> {
        let mut input = registration(name);
        input["idempotencyKey"] = json!(Uuid::new_v4().to_string());
        let session = until("a session", HEALED, || async {
            let input = input.clone();
            let answer = self
                .at_next(|stack| {
                    let input = input.clone();
                    async move { register(&stack.client()?, &input).await }
                })
                .await?;
            // Who is told to wait asks again with the same key, as `Pending` says.
            ensure!(answer["__typename"] == "Session", "{answer}");
            Ok(answer)
        })
        .await?;
        Ok(Visitor { front: self.clone(), session, people: Arc::default() })
    }
}

/// The stack with another router in the place of its first.
fn seen_from(stack: &Handle, router_url: &str) -> Handle {
    let mut info = stack.info.clone();
    info.graphql_url = format!("{router_url}/graphql");
    info.ws_url = format!("{}/ws", router_url.replacen("http", "ws", 1));
    router_url.clone_into(&mut info.router_url);
    Handle { info }
}

/// Someone who is signed in, at whichever router.
#[derive(Debug, Clone)]
pub struct Visitor {
    front: Front,
    session: Value,
    /// One for each router, as each keeps its connections.
    people: Arc<Mutex<HashMap<String, Person>>>,
}

impl Visitor {
    fn at(&self, stack: &Handle) -> Result<Person> {
        let mut people = self.people.lock().map_err(|_| anyhow::anyhow!("a test has panicked"))?;
        if let Some(person) = people.get(&stack.info.router_url) {
            return Ok(person.clone());
        }
        let person = Person::from_session(stack, &self.session)?;
        people.insert(stack.info.router_url.clone(), person.clone());
        Ok(person)
    }

    /// The person at the next router.
    pub fn person(&self) -> Result<Person> {
        self.at(self.front.in_turn().first().context("there is no router")?)
    }

    /// Sends one request.
    pub async fn ask(&self, query: &str, variables: &Value) -> Result<Response> {
        self.front
            .at_next(|stack| {
                let variables = variables.clone();
                async move { self.at(&stack)?.client.send(query, variables).await }
            })
            .await
    }

    /// Opens a stream.
    pub async fn follow(&self, query: &str, extensions: &Value) -> Result<Stream> {
        self.front
            .at_next(|stack| {
                let extensions = extensions.clone();
                async move { self.at(&stack)?.follow(query, extensions).await }
            })
            .await
    }
}

fn was_refused(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let http = cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
        let io = cause.downcast_ref::<std::io::Error>();
        http || io.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}
