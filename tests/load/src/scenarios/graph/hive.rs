//! The Hive Router, as it is built by others, with settings that are comparable to those of ours.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use uuid::Uuid;
use velvet_e2e::SOON;
use velvet_kit::{Handle, StackInfo, until};

const SUBGRAPHS: [&str; 3] = ["accounts", "matching", "messaging"];
/// More than are ever under way: no router of ours queues requests to subgraphs.
const CONNECTIONS_MAX: u32 = 4_096;

/// It ends when this is dropped.
pub struct Hive {
    pub url: String,
    child: Child,
}

impl Hive {
    /// Starts it before the stack's subgraphs, and waits until it serves.
    pub async fn start(stack: &Handle, program: &Path) -> Result<Self> {
        let (name, port) = (format!("hive-{}", Uuid::new_v4().simple()), free_port()?);
        let file = stack.info.state.join(format!("{name}.json"));
        let configuration = configuration(&stack.info, port).to_string();
        fs::write(&file, configuration).with_context(|| format!("writing {}", file.display()))?;
        let log = stack.info.state.join("logs").join(format!("{name}.log"));
        let log = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let child = Command::new(program)
            // Of its variables, those of this process may mean something else.
            .env_clear()
            .env("ROUTER_CONFIG_FILE_PATH", &file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing a log")?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let url = format!("http://127.0.0.1:{port}");
        let hive = Self { url: format!("{url}/graphql"), child };
        until("the Hive Router serves", 3 * SOON, || async {
            let answer = reqwest::get(format!("{url}/readiness")).await.with_context(|| format!("see {name}.log"))?;
            ensure!(answer.status().is_success(), "not ready: {}, see {name}.log", answer.status());
            Ok(())
        })
        .await?;
        Ok(hive)
    }

    /// None when it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

/// What `router.yaml` says, as far as it has a counterpart; the rest is as the Hive Router comes. It checks no tokens:
/// subgraphs do.
fn configuration(info: &StackInfo, port: u16) -> Value {
    let overrides: serde_json::Map<String, Value> = SUBGRAPHS
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "url": format!("{}/{name}/graphql", info.api_url) })))
        .collect();
    let propagated = ["authorization", "traceparent", "tracestate", "x-forwarded-for"];
    json!({
        "log": { "level": "warn" },
        "laboratory": { "enabled": false },
        "supergraph": { "source": "file", "path": info.state.join("schema/supergraph.graphql") },
        "override_subgraph_urls": { "subgraphs": overrides },
        "http": { "host": "127.0.0.1", "port": port, "workers": threads() },
        "headers": { "all": { "request": [{ "propagate": { "named": propagated } }] } },
        "traffic_shaping": {
            "router": { "request_timeout": "30s" },
            "all": { "request_timeout": "15s", "pool_idle_timeout": "5s", "dedupe_enabled": false },
            "max_connections_per_host": CONNECTIONS_MAX,
        },
    })
}

/// As many as ours has.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("finding a free port")?;
    Ok(listener.local_addr().context("finding a free port")?.port())
}
