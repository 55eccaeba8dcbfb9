//! Clients before several routers, as behind a balancer: each request goes to the next router that is ready, and to another
//! one only when the connection was refused, so that nothing can have been asked yet.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use uuid::Uuid;
use velvet_e2e::{
    Person, Stream,
    person::{register, registration},
};
use velvet_kit::{Handle, client::Response, until};

use crate::HEALED;

/// How often each router is asked whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// The routers that there are; clones share them.
#[derive(Debug, Clone)]
pub struct Front {
    routers: Arc<RwLock<Vec<Router>>>,
    next: Arc<AtomicUsize>,
    _looking: Arc<JoinSet<()>>,
}

#[derive(Debug, Clone)]
struct Router {
    /// The stack as it is seen from there.
    stack: Handle,
    is_ready: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Router {
    fn new(stack: &Handle, url: &str, health_url: &str) -> Self {
        let mut info = stack.info.clone();
        info.graphql_url = format!("{url}/graphql");
        info.ws_url = format!("{}/ws", url.replacen("http", "ws", 1));
        url.clone_into(&mut info.router_url);
        health_url.clone_into(&mut info.router_health_url);
        Self { stack: Handle { info }, is_ready: Arc::new(AtomicBool::new(true)), asked: Arc::default() }
    }

    async fn look(&self) {
        let asked = reqwest::get(format!("{}/ready", self.stack.info.router_health_url));
        let answer = tokio::time::timeout(LOOK_WITHIN, asked).await;
        let is_ready = answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()));
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }
}

async fn look(routers: Arc<RwLock<Vec<Router>>>) {
    loop {
        let known = routers.read().map(|routers| routers.clone()).unwrap_or_default();
        futures::future::join_all(known.iter().map(Router::look)).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Front {
    /// All routers of a stack.
    pub fn of(stack: &Handle) -> Self {
        let urls = stack.info.router_urls.iter().zip(&stack.info.router_health_urls);
        let routers: Vec<Router> = urls.map(|(url, health_url)| Router::new(stack, url, health_url)).collect();
        let routers = Arc::new(RwLock::new(routers));
        let mut looking = JoinSet::new();
        looking.spawn(look(Arc::clone(&routers)));
        Self { routers, next: Arc::default(), _looking: Arc::new(looking) }
    }

    /// One router more.
    pub fn add(&self, stack: &Handle, url: &str, health_url: &str) {
        if let Ok(mut routers) = self.routers.write() {
            routers.push(Router::new(stack, url, health_url));
        }
    }

    /// How much each router has been asked, by its address.
    pub fn asked(&self) -> HashMap<String, usize> {
        let routers = self.routers.read().map(|routers| routers.clone()).unwrap_or_default();
        let asked = |router: &Router| (router.stack.info.router_url.clone(), router.asked.load(Ordering::Relaxed));
        routers.iter().map(asked).collect()
    }

    /// Those that are ready, the one whose turn it is first, and then the others.
    fn in_turn(&self) -> Vec<Router> {
        let mut routers = self.routers.read().map(|routers| routers.clone()).unwrap_or_default();
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % routers.len().max(1);
        routers.rotate_left(turn);
        routers.sort_by_key(|router| !router.is_ready.load(Ordering::Relaxed));
        routers
    }

    /// Does something at the next router that takes connections.
    async fn at_next<T, F, R>(&self, mut work: F) -> Result<T>
    where
        F: FnMut(Handle) -> R,
        R: Future<Output = Result<T>>,
    {
        let mut refused = None;
        for router in self.in_turn() {
            match work(router.stack).await {
                Err(error) if was_refused(&error) => refused = Some(error),
                done => {
                    router.asked.fetch_add(1, Ordering::Relaxed);
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
        self.at(&self.front.in_turn().first().context("there is no router")?.stack)
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
