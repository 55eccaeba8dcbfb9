//! A bare HTTP server, in a process of its own: what any server on this machine can answer at most.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use velvet_kit::client::Client;

use crate::bench::Bench;
use crate::graph::body;
use crate::steps::{Target, moderate, search};

const START_WITHIN: Duration = Duration::from_secs(5);

/// Serves until standard input ends, so that it never outlives who started it.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("opening a port")?;
    println!("{}", listener.local_addr().context("reading the port")?);
    let app = Router::new().route("/", post(|body: Bytes| async move { body }));
    let ended = async {
        // Nothing is ever written to it: it ends, or breaks, with its writer.
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    tokio::select! {
        served = axum::serve(listener, app) => served.context("serving"),
        () = ended => Ok(()),
    }
}

pub async fn measure(bench: &mut Bench) -> Result<()> {
    let (child, url) = start().await?;
    let client = Client::new(&url)?;
    let request = body("{ echo }", &json!({ "text": "x".repeat(200) }));
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
    let what = "axum echo over HTTP".to_owned();
    let target = Target { scenario: "raw HTTP", what, place: None, send: Arc::new(send), prepare: None, note: None };
    moderate(bench, &target).await?;
    bench.echo_per_second = search(bench, &target).await?;
    drop(child);
    Ok(())
}

async fn start() -> Result<(Child, String)> {
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
    Ok((child, format!("http://{address}/")))
}
