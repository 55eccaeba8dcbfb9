//! The router as a process, with a configuration of its own made from the shipped one.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_yaml::Value;
use tempfile::TempDir;

use crate::api::Api;
use crate::client::Client;
use crate::subgraphs::{World, schemas};

/// How long anything that a test waits for may take, on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const BINARY: &str = env!("CARGO_BIN_EXE_velvet-router");

/// A running router before a running API.
pub struct Stack {
    pub api: Api,
    pub router: Router,
}

pub struct Router {
    pub port: u16,
    pub metrics_port: u16,
    health_port: u16,
    process: Child,
    folder: TempDir,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts both; `overrides` is laid over the shipped configuration.
pub async fn start(overrides: &str) -> Stack {
    let api = Api::start().await;
    let router = Router::start(&api, overrides).await;
    Stack { api, router }
}

impl Stack {
    pub fn world(&self) -> &Arc<World> {
        &self.api.world
    }

    /// An acknowledged socket of a signed-in viewer.
    pub async fn viewer(&self, subject: &str) -> Client {
        let token = self.world().issuer.token(subject, 900);
        Client::ready(self.router.port, Some(&token)).await
    }

    /// Another process in the place of the first.
    pub async fn restart_router(&mut self, overrides: &str) {
        self.router = Router::start(&self.api, overrides).await;
    }

    /// Waits until that many streams run at the subgraph, counted from its start: only from then on are events for them.
    pub async fn streaming(&self, count: usize) {
        let world = self.world();
        eventually("streaming at the subgraph", async || world.positioned.load(Ordering::SeqCst) >= count).await;
    }

    /// An acknowledged socket of nobody.
    pub async fn anon(&self) -> Client {
        Client::ready(self.router.port, None).await
    }
}

impl Router {
    async fn start(api: &Api, overrides: &str) -> Self {
        Self::before(&schemas(&api.world), &api.url(), overrides).await
    }

    /// A router before subgraphs that are there.
    pub async fn before(schemas: &[(&str, String)], url: &str, overrides: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let supergraph = compose(folder.path(), schemas, url);
        let [port, health_port, metrics_port] = [free_port(), free_port(), free_port()];
        let listen = |port| format!("127.0.0.1:{port}");
        let process = Command::new(BINARY)
            .arg("--config")
            .arg(configuration(folder.path(), overrides))
            .arg("--supergraph")
            .arg(supergraph)
            .env_remove("APOLLO_KEY")
            .env_remove("APOLLO_GRAPH_REF")
            .env_remove("APOLLO_ROUTER_LICENSE")
            .env_remove("APOLLO_ROUTER_LICENSE_PATH")
            .env("APOLLO_TELEMETRY_DISABLED", "true")
            .env("APOLLO_ROUTER_HOT_RELOAD", "true")
            .env("VELVET_ROUTER_LISTEN", listen(port))
            .env("VELVET_ROUTER_HEALTH_LISTEN", listen(health_port))
            .env("VELVET_ROUTER_METRICS_LISTEN", listen(metrics_port))
            .env("VELVET_API_URL", url)
            // Nobody is there; what needs a registry names its own.
            .env("VELVET_REDIS_URLS", "redis://127.0.0.1:1")
            .env("VELVET_PLAYGROUND_DIR", folder.path())
            .env("VELVET_ROUTER_NOTICE_MS", "0")
            .env("VELVET_ROUTER_KEEP_ALIVE_MS", "0")
            .stdout(if std::env::var_os("VELVET_TEST_LOGS").is_some() { Stdio::inherit() } else { Stdio::null() })
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let router = Self { port, metrics_port, health_port, process, folder };
        eventually("the router is ready", async || router.is_healthy().await).await;
        router
    }

    pub async fn is_healthy(&self) -> bool {
        let health = format!("http://127.0.0.1:{}/health?ready", self.health_port);
        reqwest::get(&health).await.is_ok_and(|response| response.status().is_success())
    }

    /// Whether it says that it takes new connections.
    pub async fn is_ready(&self) -> bool {
        let ready = format!("http://127.0.0.1:{}/ready", self.health_port);
        reqwest::get(&ready).await.is_ok_and(|response| response.status().is_success())
    }

    pub fn graphql_url(&self) -> String {
        format!("http://127.0.0.1:{}/graphql", self.port)
    }

    /// Composes another graph in the place of the first; the router is watching the file.
    pub fn recompose(&self, schemas: &[(&str, String)], url: &str) {
        compose(self.folder.path(), schemas, url);
    }

    /// Resident memory of the process.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// A count that the router shows to Prometheus; 0 when it has not been shown yet.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.metrics().await;
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// All that the router shows to Prometheus.
    pub async fn metrics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.metrics_port);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }

    /// Asks the process to end, as an orchestrator would.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Holds the process up, as a machine that is too busy would.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    pub async fn ended(&mut self) {
        eventually("the router has ended", async || self.has_ended()).await;
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks again until it is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "not within {PATIENCE:?}: {what}");
}

/// Whether the router takes the shipped configuration with `overrides` laid over it.
pub fn is_valid(overrides: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(folder.path(), overrides);
    Command::new(BINARY).args(["config", "validate"]).arg(config).output().unwrap().status.success()
}

/// Composes with the binary's own subcommand.
pub fn compose(folder: &Path, schemas: &[(&str, String)], url: &str) -> PathBuf {
    let output = run_compose(folder, schemas, url);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join("schema/supergraph.graphql")
}

pub fn run_compose(folder: &Path, schemas: &[(&str, String)], url: &str) -> Output {
    let mut list = "subgraphs:\n".to_owned();
    for (name, sdl) in schemas {
        std::fs::write(folder.join(format!("{name}.graphql")), sdl).unwrap();
        let _ =
            write!(list, "  {name}:\n    routing_url: {url}/{name}/graphql\n    schema:\n      file: {name}.graphql\n");
    }
    std::fs::write(folder.join("supergraph.yaml"), list).unwrap();
    Command::new(BINARY)
        .arg("compose")
        .arg("--config")
        .arg(folder.join("supergraph.yaml"))
        .arg("--output")
        .arg(folder.join("schema/supergraph.graphql"))
        .output()
        .unwrap()
}

/// The shipped configuration with `overrides` laid over it. The test's graph has no `messaging`.
fn configuration(folder: &Path, overrides: &str) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("router.yaml");
    let mut config: Value = serde_yaml::from_str(&std::fs::read_to_string(shipped).unwrap()).unwrap();
    config["override_subgraph_url"].as_mapping_mut().unwrap().remove("messaging");
    config["plugins"]["velvet.subscriptions"]["subgraphs"].as_mapping_mut().unwrap().remove("messaging");
    lay_over(&mut config, serde_yaml::from_str(overrides).unwrap());
    let path = folder.join("router.yaml");
    std::fs::write(&path, serde_yaml::to_string(&config).unwrap()).unwrap();
    path
}

fn lay_over(config: &mut Value, overrides: Value) {
    match (config, overrides) {
        (_, Value::Null) => {}
        (Value::Mapping(config), Value::Mapping(overrides)) => {
            for (key, value) in overrides {
                lay_over(config.entry(key).or_insert(Value::Null), value);
            }
        }
        (config, value) => *config = value,
    }
}
