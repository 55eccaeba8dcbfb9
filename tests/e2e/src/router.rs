//! One more router before a running stack, with a configuration of its own.

use crate::SOON;
use anyhow::{Context, Result, ensure};
use serde_yaml::Value;
use std::{
    fs::{self, File},
    net::TcpListener,
    process::Stdio,
};
use tokio::process::{Child, Command};
use uuid::Uuid;
use velvet_kit::{Handle, Profile, StackInfo, binaries::Binaries, client::Client, config::router_env, until};

/// It ends when this is dropped.
#[derive(Debug)]
pub struct Router {
    /// The stack, with this router's addresses in the place of its own router's.
    pub info: StackInfo,
    child: Child,
}

impl Router {
    /// Starts it with the stack's own configuration, changed so, and waits until it serves.
    pub async fn start(stack: &Handle, env: &[(&str, &str)], change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut info = stack.info.clone();
        let [listen, health, metrics] = free_ports()?;
        info.router_url = format!("http://127.0.0.1:{listen}");
        info.graphql_url = format!("{}/graphql", info.router_url);
        info.ws_url = format!("ws://127.0.0.1:{listen}/ws");
        info.router_health_url = format!("http://127.0.0.1:{health}");
        info.router_metrics_url = format!("http://127.0.0.1:{metrics}");

        let shipped = info.root.join("router/router.yaml");
        let shipped = fs::read_to_string(&shipped).with_context(|| format!("reading {}", shipped.display()))?;
        let mut config: Value = serde_yaml::from_str(&shipped).context("reading the router's configuration")?;
        change(&mut config);
        let name = format!("router-{}", Uuid::new_v4().simple());
        let file = info.state.join(format!("{name}.yaml"));
        fs::write(&file, serde_yaml::to_string(&config)?).with_context(|| format!("writing {}", file.display()))?;

        let profile = if cfg!(debug_assertions) { Profile::Debug } else { Profile::Release };
        let log = info.state.join("logs").join(format!("{name}.log"));
        let log = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let child = Command::new(Binaries::find(&info.root, profile)?.path("velvet-router"))
            .arg("--config")
            .arg(&file)
            .arg("--supergraph")
            .arg(info.state.join("schema/supergraph.graphql"))
            .current_dir(&info.root)
            .envs(router_env(&info, [listen, health, metrics]))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing a log")?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting a router")?;
        let router = Self { info, child };
        until("another router serves", 3 * SOON, || async {
            let url = format!("{}/health", router.info.router_health_url);
            let answer = reqwest::get(&url).await.with_context(|| format!("{url}, see {name}.log"))?;
            ensure!(answer.status().is_success(), "{url} answered {}", answer.status());
            Ok(())
        })
        .await?;
        Ok(router)
    }

    /// A client of it.
    pub fn client(&self) -> Result<Client> {
        Client::new(&self.info.graphql_url)
    }

    /// For reading what it uses; none when it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The sum of a counter over all its labels; 0 when it was never raised.
    pub async fn counted(&self, counter: &str) -> Result<f64> {
        let url = format!("{}/metrics", self.info.router_metrics_url);
        let text = reqwest::get(url).await.context("asking for metrics")?.text().await?;
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(counter)?;
            let named = rest.starts_with(['{', ' ']);
            rest.rsplit(' ').next().filter(|_| named)?.parse::<f64>().ok()
        });
        Ok(values.sum())
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let pid = self.pid().context("the router has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process's memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("resident memory")?;
        let kib: u64 = line.split_whitespace().next().context("resident memory")?.parse()?;
        Ok(kib * 1_024)
    }
}

/// Of the configuration, what one plugin is told.
pub fn plugin<'c>(config: &'c mut Value, name: &str) -> &'c mut Value {
    &mut config["plugins"][name]
}

/// Leaves out all plugins but these.
pub fn only_plugins(config: &mut Value, names: &[&str]) {
    if let Some(plugins) = config["plugins"].as_mapping_mut() {
        plugins.retain(|name, _| name.as_str().is_some_and(|name| names.contains(&name)));
    }
}

/// Lifts the rates that users are held to; false when there are none.
pub fn lift_rates(config: &mut Value) -> bool {
    let Some(rates) = plugin(config, "velvet.limits").get_mut("rates") else { return false };
    for what in ["requests", "cost"] {
        rates["per_viewer"][what] = Value::Null;
    }
    true
}

/// All at once, so that they differ.
fn free_ports() -> Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener.and_then(|listener| listener.local_addr()).context("finding a free port")?.port();
    }
    Ok(ports)
}
