//! The whole, in order: servers, tables and topics, keys, writer and API, router, people.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::balancer::Balancer;
use crate::binaries::Binaries;
use crate::config;
use crate::control::Control;
use crate::disks::{self, Disks};
use crate::handle::Handle;
use crate::info::{Faults, PostgresInfo, StackInfo};
use crate::links::{self, Links};
use crate::options::StackOptions;
use crate::pids;
use crate::population;
use crate::ports::{Copy, Ports};
use crate::process::{Process, Spec};
use crate::progress::Progress;
use crate::servers::ready::Ready;
use crate::servers::redis::Redis;
use crate::servers::{Folders, kafka, postgres, private_folder};
use crate::state::{Owned, clear, keep_last_logs, private_state};
use crate::supervisor::Supervisor;
use crate::wiring::{self, Told};

/// Debug builds on two busy cores, and a projector that reads a whole log first.
const OURS_READY_WITHIN: Duration = Duration::from_mins(2);
/// Beyond the grace period that our processes give themselves to drain.
const OURS_STOP_WITHIN: Duration = Duration::from_secs(40);

/// A stack and its processes; dropping it kills them, [`Stack::stop`] lets them end well.
#[derive(Debug)]
pub struct Stack {
    options: StackOptions,
    folders: Folders,
    ports: Ports,
    progress: Progress,
    supervisor: Arc<Supervisor>,
    disks: Disks,
    /// Who takes orders, with the links and the balancer: our processes want those until they have ended.
    control: Mutex<Option<(JoinHandle<()>, Arc<Control>)>>,
    _owned: Owned,
}

impl Stack {
    /// Takes the state folder and the ports; starts nothing.
    pub async fn new(options: StackOptions) -> Result<Self> {
        let progress = Progress::new(options.quiet);
        private_state(&options.state)?;
        let owned = Owned::take(&options.state)?;
        let folders = Folders {
            state: options.state.clone(),
            data: options.state.join("data"),
            logs: options.state.join("logs"),
            pids: options.state.join("pids"),
        };
        for name in pids::reap(&folders.pids).await? {
            progress.line(&format!("ended {name}, left over from a stack that was killed"));
        }
        if options.fresh {
            clear(&folders.state)?;
        }
        keep_last_logs(&folders.logs);
        for folder in [&folders.data, &folders.logs, &folders.pids] {
            private_state(folder)?;
        }
        fs::write(folders.state.join("owner"), std::process::id().to_string()).context("noting who owns the stack")?;
        let ports = Ports::choose(&options, |name| std::env::var(name).ok())?;
        ports.check(&options)?;
        let supervisor = Arc::new(Supervisor::new(folders.logs.clone(), folders.pids.clone()));
        let disks = Disks::new(options.faults, &folders.state, progress).await;
        Ok(Self { options, folders, ports, progress, supervisor, disks, control: Mutex::default(), _owned: owned })
    }

    /// Starts everything. After an error [`Stack::stop`] ends what did start.
    pub async fn start(&self) -> Result<Handle> {
        let (mut info, redis) = self.start_servers().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("opening the control port")?;
        info.control = listener.local_addr().context("reading the control port")?.to_string();
        let balancer = self.start_balancer().await?;
        let links = self.start_links(&info).await?;
        info.faults.links = links.names();
        info.faults.disks = self.disks.mounted();
        let token = info.control_token.clone();
        let control = Arc::new(Control { token, supervisor: self.supervisor.clone(), redis, balancer, links });
        let task = tokio::spawn(Arc::clone(&control).serve(listener));
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = Some((task, control));
        if !self.options.servers_only {
            self.start_ours(&mut info).await?;
        }
        info.parts = self.supervisor.all().iter().map(|process| process.spec.name.clone()).collect();
        info.write()?;
        Ok(Handle { info })
    }

    /// Ends everything that this stack started, the router first and the servers last.
    pub async fn stop(&self) -> Result<()> {
        // From here on nobody is told that there is a stack.
        let _ = fs::remove_file(StackInfo::path(&self.folders.state));
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((task, _)) = &control {
            task.abort();
        }
        let stopped = self.supervisor.stop_all().await;
        drop(control);
        disks::unmount_below(&self.disks.mounted().values().map(PathBuf::as_path).collect::<Vec<_>>());
        stopped
    }

    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub fn progress(&self) -> Progress {
        self.progress
    }

    async fn start_servers(&self) -> Result<(StackInfo, Option<Redis>)> {
        let (brokers, (redis_urls, redis), postgres) =
            tokio::try_join!(self.start_kafka(), self.start_redis(), self.start_postgres())?;
        Ok((self.describe(brokers, redis_urls, postgres), redis))
    }

    async fn start_balancer(&self) -> Result<Option<Balancer>> {
        if self.ports.copies.is_empty() {
            return Ok(None);
        }
        let mut apis = vec![self.ports.api];
        apis.extend(self.ports.copies.iter().map(|copy| copy.api));
        Balancer::start(self.ports.balancer, &apis).await.map(Some)
    }

    async fn start_links(&self, info: &StackInfo) -> Result<Links> {
        if !self.options.faults {
            return Ok(Links::default());
        }
        if !links::possible().await {
            self.progress.line("no link will be cut, as there is no address 127.0.0.2 here");
            return Ok(Links::default());
        }
        Links::start(wiring::wanted(info, &self.ports)?).await
    }

    async fn start_kafka(&self) -> Result<String> {
        if let Some(brokers) = &self.options.external.kafka {
            return Ok(brokers.clone());
        }
        let brokers = kafka::start(&self.supervisor, &self.folders, &self.ports, &self.disks, self.progress).await?;
        self.progress.line(&format!("Kafka on {brokers}"));
        Ok(brokers)
    }

    async fn start_redis(&self) -> Result<(Vec<String>, Option<Redis>)> {
        if let Some(urls) = &self.options.external.redis {
            return Ok((urls.clone(), None));
        }
        let redis = Redis::start(&self.supervisor, &self.folders, &self.ports, &self.disks, &self.options).await?;
        self.progress.line(&format!("Redis on {}", join(&self.ports.redis)));
        Ok((redis.urls(), Some(redis)))
    }

    async fn start_postgres(&self) -> Result<Vec<PostgresInfo>> {
        if let Some((url, replica_url)) = &self.options.external.postgres {
            return Ok(vec![PostgresInfo { url: url.clone(), replica_url: replica_url.clone() }]);
        }
        let servers = postgres::start(&self.supervisor, &self.folders, &self.ports, &self.disks, &self.options).await?;
        self.progress.line(&format!(
            "PostgreSQL on {}, replica on {}",
            join(&self.ports.postgres),
            join(&self.ports.replicas)
        ));
        Ok(servers)
    }

    fn describe(&self, kafka_brokers: String, redis_urls: Vec<String>, postgres: Vec<PostgresInfo>) -> StackInfo {
        let router = format!("127.0.0.1:{}", self.ports.router);
        let copies = &self.ports.copies;
        let all = |first: u16, more: fn(&Copy) -> u16| {
            let ports = std::iter::once(first).chain(copies.iter().map(more));
            ports.map(|port| format!("http://127.0.0.1:{port}")).collect::<Vec<_>>()
        };
        let api = if copies.is_empty() { self.ports.api } else { self.ports.balancer };
        StackInfo {
            pid: std::process::id(),
            root: self.options.root.clone(),
            state: self.folders.state.clone(),
            config: self.folders.state.join("velvet.toml"),
            router_url: format!("http://{router}"),
            graphql_url: format!("http://{router}/graphql"),
            ws_url: format!("ws://{router}/ws"),
            router_health_url: format!("http://127.0.0.1:{}", self.ports.router_health),
            router_metrics_url: format!("http://127.0.0.1:{}", self.ports.router_metrics),
            api_url: format!("http://127.0.0.1:{api}"),
            writer_url: format!("http://127.0.0.1:{}", self.ports.writer),
            router_urls: all(self.ports.router, |copy| copy.router),
            router_health_urls: all(self.ports.router_health, |copy| copy.router_health),
            api_urls: all(self.ports.api, |copy| copy.api),
            writer_urls: all(self.ports.writer, |copy| copy.writer),
            parts: Vec::new(),
            faults: Faults::default(),
            collector_url: format!("http://127.0.0.1:{}", self.ports.collector),
            kafka_brokers,
            redis_urls,
            postgres,
            servers_only: self.options.servers_only,
            control: String::new(),
            control_token: uuid::Uuid::new_v4().simple().to_string(),
        }
    }

    async fn start_ours(&self, info: &mut StackInfo) -> Result<()> {
        let root = &self.options.root;
        let binaries = Binaries::find(root, self.options.profile)?;
        let keys = self.folders.state.join("keys");
        private_folder(&keys)?;
        config::write(info, &keys)?;
        let config = path_text(&info.config);
        let writer_config = path_text(&info.writer_config());
        let migrate = ["--config", &writer_config, "migrate"];
        let topics = ["topics", "--config", &config];
        let (.., composed) = tokio::try_join!(
            binaries.run("velvet-writer", &migrate, root),
            binaries.run("velvet", &topics, root),
            make_keys(&binaries, &keys, root),
            binaries.compose(root, &self.folders.state),
        )?;
        self.progress.line("tables, topics, keys and the supergraph are in place");
        if self.options.faults {
            info.faults.clocks = wiring::clocks(info)?;
            info.faults.supergraphs = wiring::supergraphs(info, &composed)?;
        }
        self.launch_ours(&binaries, info, &composed).await?;
        population::load(&binaries, info, self.options.people, self.progress).await
    }

    /// Writers and APIs, then routers; the first of each on the addresses of the configuration.
    async fn launch_ours(&self, binaries: &Binaries, info: &StackInfo, composed: &Path) -> Result<()> {
        let mut launches = Vec::new();
        for (index, url) in info.writer_urls.iter().enumerate() {
            let told = Told::of("writer", index, info, &self.ports)?;
            let args = ["--config", &path_text(&told.info.writer_config()), "run"];
            let mut writer = Ours::new(told, binaries.path("velvet-writer"), &args);
            if index > 0 {
                writer.listens("VELVET_WRITER__LISTEN", url);
            }
            launches.push(self.launch(writer, format!("{url}/ready"), 1));
        }
        for (index, url) in info.api_urls.iter().enumerate() {
            let told = Told::of("api", index, info, &self.ports)?;
            let args = ["--config", &path_text(&told.info.config)];
            let mut api = Ours::new(told, binaries.path("velvet"), &args);
            if index > 0 {
                api.listens("VELVET_API__LISTEN", url);
            }
            launches.push(self.launch(api, format!("{url}/ready"), 2));
        }
        futures::future::try_join_all(launches).await?;
        self.progress.line(&format!("writer on {}, API on {}", info.writer_url, info.api_url));
        let yaml = path_text(&self.options.root.join("router/router.yaml"));
        let first = [self.ports.router, self.ports.router_health, self.ports.router_metrics];
        let more = self.ports.copies.iter().map(|copy| [copy.router, copy.router_health, copy.router_metrics]);
        let mut launches = Vec::new();
        for (index, listen) in std::iter::once(first).chain(more).enumerate() {
            let told = Told::of("router", index, info, &self.ports)?;
            let supergraph = info.faults.supergraphs.get(&told.name).map_or(composed, PathBuf::as_path);
            let args = ["--config", &yaml, "--supergraph", &path_text(supergraph)];
            let env = config::router_env(&told.info, listen);
            let mut router = Ours::new(told, binaries.path("velvet-router"), &args);
            router.env.extend(env);
            launches.push(self.launch(router, format!("http://127.0.0.1:{}/health", listen[1]), 3));
        }
        futures::future::try_join_all(launches).await?;
        self.progress.line(&format!("router on {}", info.router_urls.join(", ")));
        Ok(())
    }

    async fn launch(&self, ours: Ours, ready: String, rank: u8) -> Result<Arc<Process>> {
        let spec = Spec {
            name: ours.name,
            program: ours.program,
            args: ours.args,
            env: ours.env,
            folder: self.options.root.clone(),
            account: None,
            ready: Ready::Http(ready),
            ready_within: OURS_READY_WITHIN,
            retry_within: Duration::ZERO,
            stop_signal: Signal::TERM,
            stop_within: OURS_STOP_WITHIN,
            rank,
            leaves: None,
        };
        self.supervisor.launch(spec).await
    }
}

/// One of our own processes, before it is known when it is ready.
struct Ours {
    name: String,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Ours {
    fn new(told: Told, program: PathBuf, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { name: told.name, program, args, env: told.env }
    }

    fn listens(&mut self, variable: &str, url: &str) {
        self.env.push((variable.to_owned(), url.trim_start_matches("http://").to_owned()));
    }
}

async fn make_keys(binaries: &Binaries, keys: &Path, root: &Path) -> Result<()> {
    let present = fs::read_dir(keys).context("reading the keys' folder")?.next().is_some();
    if !present {
        binaries.run("velvet", &["keys", "--out", &path_text(keys)], root).await?;
    }
    Ok(())
}

fn join(ports: &[u16]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
