//! Two federated subgraphs and the key set on one port, as the API serves them: `accounts` knows people, `matching`
//! has a stream of posts. The server can be killed and started again on its port; what it knows stays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_graphql::futures_util::{Stream, StreamExt as _};
use async_graphql::{
    Context, EmptyMutation, EmptySubscription, ErrorExtensions as _, ID, Object, Schema, SimpleObject, Subscription, Union,
};
use async_graphql_axum::{GraphQLRequest, GraphQLResponse};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::tokens::Issuer;

/// What the subgraphs know, and what they were asked.
pub struct World {
    pub issuer: Issuer,
    posts: watch::Sender<Vec<Stored>>,
    /// The payloads of `subscribe`, as they came.
    pub subscribes: Mutex<Vec<Value>>,
    /// How many streams have said where they start.
    pub positioned: AtomicUsize,
    /// How many `_entities` requests `accounts` got, and the header each came with.
    pub entity_requests: Mutex<Vec<Option<String>>>,
    /// Whether the key set can be had.
    pub keys_served: watch::Sender<bool>,
}

#[derive(Clone)]
struct Stored {
    text: String,
    author: String,
}

impl World {
    pub fn post(&self, text: impl Into<String>, author: &str) {
        let stored = Stored { text: text.into(), author: author.to_owned() };
        self.posts.send_modify(|posts| posts.push(stored));
    }
}

// ── accounts ──

struct Person {
    id: String,
}

#[Object(name = "User")]
impl Person {
    async fn id(&self) -> ID {
        self.id.clone().into()
    }
    async fn name(&self) -> async_graphql::Result<String> {
        match self.id.as_str() {
            "broken" => Err(async_graphql::Error::new("no name today").extend_with(|_, e| e.set("code", "UNAVAILABLE"))),
            id => Ok(id.to_uppercase()),
        }
    }
    async fn nickname(&self) -> async_graphql::Result<Option<String>> {
        match self.id.as_str() {
            "broken" => Err(async_graphql::Error::new("no nickname").extend_with(|_, e| e.set("code", "INTERNAL"))),
            id => Ok(Some(id.chars().take(1).collect())),
        }
    }
}

struct AccountsQuery;

#[Object(name = "Query")]
impl AccountsQuery {
    /// The caller's Authorization header, as it arrived.
    async fn header(&self, ctx: &Context<'_>) -> Option<String> {
        ctx.data_unchecked::<Caller>().0.clone()
    }
    #[graphql(entity)]
    async fn person(&self, id: ID) -> Option<Person> {
        (id.as_str() != "missing").then(|| Person { id: id.to_string() })
    }
}

struct Caller(Option<String>);

// ── matching ──

struct Reference {
    id: String,
}

#[Object(name = "User", unresolvable)]
impl Reference {
    async fn id(&self) -> ID {
        self.id.clone().into()
    }
}

#[derive(SimpleObject)]
#[graphql(complex)]
struct Post {
    id: ID,
    text: String,
    #[graphql(skip)]
    author_id: String,
}

#[async_graphql::ComplexObject]
impl Post {
    async fn author(&self) -> Reference {
        Reference { id: self.author_id.clone() }
    }
    async fn likers(&self) -> Vec<Option<Reference>> {
        ["ann", "missing", "ann"].map(|id| Some(Reference { id: id.to_owned() })).into()
    }
    async fn editor(&self) -> Option<Reference> {
        Some(Reference { id: self.author_id.clone() })
    }
}

#[derive(SimpleObject)]
struct Posted {
    post: Post,
}

#[derive(SimpleObject)]
struct Reset {
    reason: String,
}

#[derive(Union)]
enum PostEvent {
    Posted(Posted),
    Reset(Reset),
}

struct MatchingQuery;

#[Object(name = "Query")]
impl MatchingQuery {
    async fn hello(&self, name: String) -> String {
        format!("hello {name}")
    }
}

struct MatchingMutation;

#[Object(name = "Mutation")]
impl MatchingMutation {
    async fn publish(&self, ctx: &Context<'_>, text: String, author: String) -> bool {
        ctx.data_unchecked::<Arc<World>>().post(text, &author);
        true
    }
}

struct MatchingSubscription;

/// Where a stream starts.
struct Start(usize);

#[Subscription(name = "Subscription")]
impl MatchingSubscription {
    async fn posts(&self, ctx: &Context<'_>) -> impl Stream<Item = PostEvent> + use<> {
        stored(ctx).map(|(number, stored)| {
            if stored.text == "reset" {
                return PostEvent::Reset(Reset { reason: stored.author });
            }
            PostEvent::Posted(Posted {
                post: Post { id: number.to_string().into(), text: stored.text, author_id: stored.author },
            })
        })
    }
    async fn texts(&self, ctx: &Context<'_>, #[graphql(default)] prefix: String) -> impl Stream<Item = String> + use<> {
        stored(ctx).map(move |(_, stored)| prefix.clone() + &stored.text)
    }
    /// Never says anything.
    async fn silence(&self) -> impl Stream<Item = bool> + use<> {
        async_graphql::futures_util::stream::pending()
    }
    async fn secrets(&self, ctx: &Context<'_>) -> async_graphql::Result<impl Stream<Item = String> + use<>> {
        match &ctx.data_unchecked::<Caller>().0 {
            Some(_) => Ok(stored(ctx).map(|(_, stored)| stored.text)),
            None => Err(async_graphql::Error::new("sign in").extend_with(|_, e| e.set("code", "UNAUTHENTICATED"))),
        }
    }
}

fn stored(ctx: &Context<'_>) -> impl Stream<Item = (usize, Stored)> + use<> {
    let posts = ctx.data_unchecked::<Arc<World>>().posts.subscribe();
    let start = ctx.data_unchecked::<Start>().0;
    async_graphql::futures_util::stream::unfold((posts, start), async |(mut posts, next)| {
        let stored = posts.wait_for(|posts| posts.len() > next).await.ok()?[next].clone();
        Some(((next + 1, stored), (posts, next + 1)))
    })
}

type Accounts = Schema<AccountsQuery, EmptyMutation, EmptySubscription>;
type Matching = Schema<MatchingQuery, MatchingMutation, MatchingSubscription>;

fn accounts() -> Accounts {
    Schema::build(AccountsQuery, EmptyMutation, EmptySubscription).enable_federation().finish()
}

fn matching(world: &Arc<World>) -> Matching {
    Schema::build(MatchingQuery, MatchingMutation, MatchingSubscription)
        .enable_federation()
        .enable_subscription_in_federation()
        .data(Arc::clone(world))
        .finish()
}

/// The subgraphs' schemas, by name.
pub fn schemas(world: &Arc<World>) -> [(&'static str, String); 2] {
    let options = || async_graphql::SDLExportOptions::new().federation().compose_directive();
    [("accounts", accounts().sdl_with_options(options())), ("matching", matching(world).sdl_with_options(options()))]
}

// ── the server ──

/// A running API.
pub struct Api {
    pub world: Arc<World>,
    pub port: u16,
    serving: Option<(JoinHandle<()>, watch::Sender<bool>)>,
}

#[derive(Clone)]
struct Shared {
    world: Arc<World>,
    accounts: Accounts,
    matching: Matching,
    killed: watch::Receiver<bool>,
}

impl Api {
    pub async fn start() -> Self {
        let world = Arc::new(World {
            issuer: Issuer::new(1),
            posts: watch::Sender::new(Vec::new()),
            subscribes: Mutex::default(),
            positioned: AtomicUsize::new(0),
            entity_requests: Mutex::default(),
            keys_served: watch::Sender::new(true),
        });
        let mut api = Self { world, port: 0, serving: None };
        api.restart().await;
        api
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts to serve on its port, the first time on a free one.
    pub async fn restart(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let (kill, killed) = watch::channel(false);
        let shared = Shared {
            accounts: accounts(),
            matching: matching(&self.world),
            world: Arc::clone(&self.world),
            killed: killed.clone(),
        };
        let app = Router::new()
            .route("/accounts/graphql", post(accounts_http))
            .route("/matching/graphql", post(matching_http))
            .route("/matching/ws", get(matching_ws))
            .route("/.well-known/jwks.json", get(key_set))
            .with_state(shared);
        let task = tokio::spawn(async move {
            let mut killed = killed;
            tokio::select! {
                served = axum::serve(listener, app) => served.unwrap(),
                _ = killed.wait_for(|killed| *killed) => {}
            }
        });
        self.serving = Some((task, kill));
    }

    /// Stops at once, with every connection.
    pub async fn kill(&mut self) {
        if let Some((task, kill)) = self.serving.take() {
            kill.send_replace(true);
            task.await.unwrap();
        }
    }
}

async fn key_set(State(shared): State<Shared>) -> Result<Json<Value>, axum::http::StatusCode> {
    if *shared.world.keys_served.borrow() {
        Ok(Json(shared.world.issuer.key_set()))
    } else {
        Err(axum::http::StatusCode::SERVICE_UNAVAILABLE)
    }
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
}

async fn accounts_http(State(shared): State<Shared>, headers: HeaderMap, request: GraphQLRequest) -> GraphQLResponse {
    let request = request.into_inner();
    if request.query.contains("_entities") {
        shared.world.entity_requests.lock().unwrap().push(authorization(&headers));
    }
    shared.accounts.execute(request.data(Caller(authorization(&headers)))).await.into()
}

async fn matching_http(State(shared): State<Shared>, headers: HeaderMap, request: GraphQLRequest) -> GraphQLResponse {
    shared.matching.execute(request.into_inner().data(Caller(authorization(&headers)))).await.into()
}

async fn matching_ws(State(shared): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.protocols(["graphql-transport-ws"]).on_upgrade(async move |socket| {
        let mut killed = shared.killed.clone();
        tokio::select! {
            () = serve(socket, &shared) => {}
            _ = killed.wait_for(|killed| *killed) => {}
        }
    })
}

async fn serve(mut socket: WebSocket, shared: &Shared) {
    // Bounded: a router that does not read holds the streams up.
    let (out, mut outgoing) = mpsc::channel::<String>(64);
    let mut running = std::collections::HashMap::new();
    loop {
        tokio::select! {
            message = outgoing.recv() => {
                if socket.send(Message::text(message.unwrap())).await.is_err() {
                    return;
                }
            }
            frame = socket.recv() => {
                let Some(Ok(frame)) = frame else { return };
                let Message::Text(text) = frame else { continue };
                let message: Value = serde_json::from_str(&text).unwrap();
                let id = message["id"].as_str().unwrap_or_default().to_owned();
                match message["type"].as_str().unwrap() {
                    "connection_init" => {
                        assert!(message.get("payload").is_none(), "the router's own socket belongs to nobody");
                        let _ = socket.send(Message::text(r#"{"type":"connection_ack"}"#)).await;
                    }
                    "subscribe" => {
                        let operation = operation(id.clone(), message["payload"].clone(), shared.clone(), out.clone());
                        running.insert(id, Running(tokio::spawn(operation)));
                    }
                    "complete" => drop(running.remove(&id)),
                    _ => {}
                }
            }
        }
    }
}

struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn operation(id: String, payload: Value, shared: Shared, out: mpsc::Sender<String>) {
    shared.world.subscribes.lock().unwrap().push(payload.clone());
    let extensions = &payload["extensions"];
    let send = async |message: Value| out.send(message.to_string()).await.unwrap();
    let mut position = match extensions["after"].as_str() {
        Some(after) => after.parse().unwrap(),
        None => shared.world.posts.borrow().len(),
    };
    if extensions["position"] == true {
        let extensions = json!({ "cursor": position.to_string(), "positioned": true });
        send(json!({ "id": id, "type": "next", "payload": { "data": null, "extensions": extensions } })).await;
        shared.world.positioned.fetch_add(1, Ordering::SeqCst);
    }
    let caller = Caller(extensions["authorization"].as_str().map(str::to_owned));
    let request: async_graphql::Request = serde_json::from_value(payload.clone()).unwrap();
    let mut responses = shared.matching.execute_stream(request.data(Start(position)).data(caller));
    while let Some(response) = responses.next().await {
        if response.data == async_graphql::Value::Null && !response.errors.is_empty() {
            send(json!({ "id": id, "type": "error", "payload": response.errors })).await;
            return;
        }
        position += 1;
        let mut payload = serde_json::to_value(&response).unwrap();
        payload["extensions"] = json!({ "cursor": position.to_string() });
        send(json!({ "id": id, "type": "next", "payload": payload })).await;
    }
    send(json!({ "id": id, "type": "complete" })).await;
}
