//! A bare axum server, in a process of its own: what any server on this machine can answer at most, and hold.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::routing::{any, post};
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::Message;
use velvet_kit::client::Client;
use velvet_kit::client::ws::PROTOCOL;

use crate::bench::Bench;
use crate::graph::body;
use crate::live::client::{Address, Connection, source_of};
use crate::process::resident_bytes;
use crate::scenarios::people::Call;
use crate::schedule::{Answer, exact};
use crate::steps::{Target, moderate, search};

const START_WITHIN: Duration = Duration::from_secs(5);
/// As the router has it: the library's 128 KiB would be all that is measured.
const BUFFER_BYTES: usize = 1_024;
/// Sockets that echo; each answers one message at a time.
const ECHOING: usize = 64;
const AT_ONCE: usize = 32;
/// Of sockets that are not counted, as what the first ones bring about is no cost of each.
const FIRST: u32 = 100;
const SETTLE: Duration = Duration::from_secs(2);

/// Serves until standard input ends, so that it never outlives who started it.
pub async fn serve() -> Result<()> {
    crate::process::raise_file_limit()?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a port")?;
    println!("{}", listener.local_addr().context("reading the port")?);
    let upgrade = |upgrade: WebSocketUpgrade| async move {
        let upgrade = upgrade.protocols([PROTOCOL]).read_buffer_size(BUFFER_BYTES).write_buffer_size(0);
        upgrade.on_upgrade(echo)
    };
    let app = Router::new().route("/", post(|body: Bytes| async move { body })).route("/ws", any(upgrade));
    let ended = async {
        // Nothing is ever written to it: it ends, or breaks, with its writer.
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    tokio::select! {
        served = axum::serve(listener, app) => served.context("serving"),
        () = ended => Ok(()),
    }
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Over HTTP: what other rates stand beside.
pub async fn measure(bench: &mut Bench) -> Result<()> {
    let server = Server::start().await?;
    let client = Client::new(&format!("http://{}/", server.address))?;
    let request = text();
    let send = move |_| -> futures::future::BoxFuture<'static, _> {
        let (client, request) = (client.clone(), request.clone());
        Box::pin(async move {
            match client.post(request).await {
                Ok((200, _)) => Ok(()),
                Ok((status, _)) => Err(format!("status {status}")),
                Err(cause) => Err(cause.root_cause().to_string()),
            }
        })
    };
    let target = target("raw HTTP", "axum echo over HTTP", Arc::new(send));
    moderate(bench, &target).await?;
    bench.echo_per_second = search(bench, &target).await?;
    Ok(())
}

/// Over WebSocket: the rate, and what an idle socket takes in bytes.
pub async fn sockets(bench: &mut Bench, idle: u32) -> Result<f64> {
    let server = Server::start().await?;
    let address = Address::parse(&format!("ws://{}/ws", server.address))?;
    let echoing: Vec<Mutex<Connection>> = server.open(&address, 0..64).await?.into_iter().map(Mutex::new).collect();
    let (echoing, turn, request) = (Arc::new(echoing), AtomicUsize::new(0), text());
    let send = move |_| -> futures::future::BoxFuture<'static, _> {
        let (echoing, request) = (Arc::clone(&echoing), request.clone());
        let turn = turn.fetch_add(1, Ordering::Relaxed) % ECHOING;
        Box::pin(async move { answered(&mut *echoing[turn].lock().await, request).await })
    };
    let target = target("raw WebSocket", "axum echo over WebSocket", Arc::new(send));
    moderate(bench, &target).await?;
    search(bench, &target).await?;
    drop(target);
    let first = server.open(&address, 64..64 + FIRST).await?;
    tokio::time::sleep(SETTLE).await;
    let before = server.resident()?;
    let from = 64 + FIRST;
    let held = server.open(&address, from..from + idle).await?;
    tokio::time::sleep(SETTLE).await;
    let each = (server.resident()? - before) / exact(u64::from(idle).max(1));
    drop((first, held));
    Ok(each)
}

async fn answered(connection: &mut Connection, request: String) -> Answer {
    connection.send(Message::text(request)).await.map_err(|cause| cause.to_string())?;
    match connection.next().await {
        Some(Ok(Message::Text(_))) => Ok(()),
        other => Err(format!("no echo: {other:?}")),
    }
}

fn text() -> String {
    body("{ echo }", &json!({ "text": "x".repeat(200) }))
}

fn target(scenario: &str, what: &str, send: Call) -> Target {
    Target { scenario: scenario.to_owned(), what: what.to_owned(), place: None, send, prepare: None, note: None }
}

/// Ends when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    async fn start() -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .arg("--echo")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the echo server")?;
        let mut lines = BufReader::new(child.stdout.take().context("reading the echo server")?).lines();
        let line = tokio::time::timeout(START_WITHIN, lines.next_line()).await.context("the echo server is silent")?;
        let address = line.context("reading the echo server")?.context("the echo server ended")?;
        Ok(Self { child, address })
    }

    async fn open(&self, address: &Address, clients: std::ops::Range<u32>) -> Result<Vec<Connection>> {
        // Their own generation of addresses: others of the same number may have been here.
        let opened = clients.map(|index| address.connect(source_of(index, 100), None));
        stream::iter(opened).buffer_unordered(AT_ONCE).try_collect().await
    }

    fn resident(&self) -> Result<f64> {
        self.child.id().and_then(resident_bytes).context("reading the memory of the echo server")
    }
}
