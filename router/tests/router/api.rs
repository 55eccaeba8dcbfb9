//! The subgraphs and the key set on one port, as the API serves them. The server can be killed and started again on its
//! port; what it knows stays.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_graphql::futures_util::StreamExt as _;
use async_graphql_axum::{GraphQLRequest, GraphQLResponse};
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::subgraphs::{Accounts, Caller, Matching, Start, World, accounts, matching};

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
        let mut api = Self { world: World::new(), port: 0, serving: None };
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
            .route("/accounts/partners/token", post(partner_token))
            .route("/accounts/partners/operations", post(register_operations))
            .route("/accounts/partners/usage", post(count_usage))
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

async fn key_set(State(shared): State<Shared>) -> Result<Json<Value>, StatusCode> {
    if *shared.world.keys_served.borrow() {
        Ok(Json(shared.world.issuer.key_set()))
    } else {
        Err(StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// The exchange of a key against a token, whose subject is the key's prefix.
async fn partner_token(State(shared): State<Shared>, Json(body): Json<Value>) -> Result<Json<Value>, StatusCode> {
    let key = body["key"].as_str().unwrap().to_owned();
    let seconds = *shared.world.partner_token_seconds.lock().unwrap();
    let token = seconds.map(|seconds| shared.world.issuer.token(key.split('_').nth(2).unwrap(), seconds));
    shared.world.exchanged.lock().unwrap().push(key);
    let token = token.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({ "token": token, "expiresIn": seconds })))
}

/// Takes a batch of counted calls, when it may.
async fn count_usage(State(shared): State<Shared>, headers: HeaderMap, batch: String) -> StatusCode {
    let signature = headers["x-velvet-usage-signature"].to_str().unwrap().to_owned();
    shared.world.usage.lock().unwrap().push((signature, batch));
    let mut status = shared.world.usage_status.subscribe();
    let answer = status.wait_for(Option::is_some).await.unwrap().unwrap();
    StatusCode::from_u16(answer).unwrap()
}

async fn register_operations(
    State(shared): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    if let Some((status, refusal)) = shared.world.register_refusal.lock().unwrap().clone() {
        return (StatusCode::from_u16(status).unwrap(), Json(refusal));
    }
    shared.world.registered.lock().unwrap().push((authorization(&headers), body));
    (StatusCode::OK, Json(json!({ "release": 7 })))
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
}

async fn accounts_http(State(shared): State<Shared>, headers: HeaderMap, request: GraphQLRequest) -> GraphQLResponse {
    let request = request.into_inner();
    if request.query.contains("_entities") {
        shared.world.entity_requests.lock().unwrap().push(authorization(&headers));
        let traceparent = headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
        shared.world.traces.lock().unwrap().push(traceparent);
        let mut answered = shared.world.entities_answered.subscribe();
        answered.wait_for(|answered| *answered).await.unwrap();
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
    let mut running = HashMap::new();
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
                        let running_now = RunningNow::start(&shared.world);
                        let task = tokio::spawn(async move {
                            let _running_now = running_now;
                            operation.await;
                        });
                        running.insert(id, Running(task));
                    }
                    "complete" => drop(running.remove(&id)),
                    "ping" => {
                        shared.world.pings.fetch_add(1, Ordering::SeqCst);
                        let _ = socket.send(Message::text(r#"{"type":"pong"}"#)).await;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A stream, in the count of those that run.
struct RunningNow(Arc<World>);

impl RunningNow {
    fn start(world: &Arc<World>) -> Self {
        world.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(world))
    }
}

impl Drop for RunningNow {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
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
    if shared.world.streams_unavailable.load(Ordering::SeqCst) {
        let errors = json!([{ "message": "away", "extensions": { "code": "UNAVAILABLE" } }]);
        send(json!({ "id": id, "type": "next", "payload": { "data": null, "errors": errors } })).await;
        send(json!({ "id": id, "type": "complete" })).await;
        shared.world.streams_refused.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let mut position = match extensions["after"].as_str() {
        Some(after) => after.parse().unwrap(),
        None => shared.world.posted(),
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
        if let Some(traceparent) = &*shared.world.traceparent.lock().unwrap() {
            payload["extensions"]["traceparent"] = traceparent.as_str().into();
        }
        send(json!({ "id": id, "type": "next", "payload": payload })).await;
    }
    send(json!({ "id": id, "type": "complete" })).await;
}
