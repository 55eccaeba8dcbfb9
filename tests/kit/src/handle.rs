//! A running stack, as tests and benches hold it: addresses, orders, clients.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::client::ws::Socket;
use crate::control::{Action, Answer, Order};
use crate::database::Database;
use crate::disks;
use crate::info::{StackInfo, TEST_STACK};
use crate::poll::until;
use crate::servers::private_file;
use crate::servers::redis::open_url;
use crate::state::lock_file;

/// Longer than any start or stop may take by itself.
const ORDER_WITHIN: Duration = Duration::from_mins(3);
/// Longer than any single test may hold the stack for itself.
const TURN_WITHIN: Duration = Duration::from_mins(15);

#[derive(Debug, Clone)]
pub struct Handle {
    pub info: StackInfo,
}

impl Handle {
    /// The stack that `velvet-stack run` started for this test.
    pub fn from_env() -> Result<Self> {
        match std::env::var_os(TEST_STACK) {
            Some(path) => Self::open(Path::new(&path)),
            None => bail!("{TEST_STACK} is not set: run this through dev/test, or as velvet-stack run -- cargo test …"),
        }
    }

    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { info: StackInfo::read(path)? })
    }

    /// A client of the router.
    pub fn client(&self) -> Result<Client> {
        Client::new(&self.info.graphql_url)
    }

    /// A client of one subgraph alone.
    pub fn subgraph_client(&self, subgraph: &str) -> Result<Client> {
        Client::new(&format!("{}/{subgraph}/graphql", self.info.api_url))
    }

    /// A socket to the router, its `connection_init` acknowledged.
    pub async fn socket(&self, token: Option<&str>) -> Result<Socket> {
        Socket::open(&self.info.ws_url, token).await
    }

    pub fn database(&self, primary: usize) -> Result<Database> {
        let server = self.info.postgres.get(primary).with_context(|| format!("there is no primary {primary}"))?;
        Database::new(&server.url)
    }

    pub fn replica(&self, primary: usize) -> Result<Database> {
        let server = self.info.postgres.get(primary).and_then(|server| server.replica_url.as_ref());
        Database::new(server.with_context(|| format!("primary {primary} has no replica"))?)
    }

    /// Drops every connection between routers and APIs, where a balancer stands between them.
    pub async fn cut(&self) -> Result<()> {
        self.order(Action::Cut, "balancer").await.map(drop)
    }

    /// What a link does from now on: `Refuse`, `Silence`, `Slow` or `Open`. With a `*` at its end, the name is the beginning
    /// of the names of several.
    pub async fn link(&self, name: &str, action: Action) -> Result<()> {
        self.order(action, name).await.map(drop)
    }

    /// Fills a server's disk to the last page.
    pub async fn fill(&self, server: &str) -> Result<()> {
        disks::fill(self.disk(server)?).await
    }

    /// Gives a server's disk its room back; what has ended for want of it must be started.
    pub async fn free(&self, server: &str) -> Result<()> {
        disks::free(self.disk(server)?).await
    }

    fn disk(&self, server: &str) -> Result<&Path> {
        let disk = self.info.faults.disks.get(server);
        disk.map(PathBuf::as_path).with_context(|| format!("{server} has no disk of its own"))
    }

    /// Has the clock of a process be off by so many milliseconds.
    pub fn skew(&self, process: &str, by_ms: i64) -> Result<()> {
        let file = self.info.faults.clocks.get(process).with_context(|| format!("the clock of {process} is right"))?;
        private_file(file, &by_ms.to_string())
    }

    /// Has a router serve another schema; it takes a moment to see it.
    pub fn roll(&self, router: &str, supergraph: &str) -> Result<()> {
        let file = self.info.faults.supergraphs.get(router);
        private_file(file.with_context(|| format!("{router} follows no schema"))?, supergraph)
    }

    pub fn part(&self, name: &str) -> Part<'_> {
        Part { handle: self, name: name.to_owned() }
    }

    pub fn postgres(&self, index: usize) -> Part<'_> {
        self.part(&format!("postgres-{index}"))
    }

    pub fn postgres_replica(&self, index: usize) -> Part<'_> {
        self.part(&format!("replica-{index}"))
    }

    pub fn redis(&self, index: usize) -> Part<'_> {
        self.part(&format!("redis-{index}"))
    }

    pub fn kafka(&self) -> Part<'_> {
        self.part("kafka")
    }

    pub fn writer(&self) -> Part<'_> {
        self.part("writer")
    }

    pub fn api(&self) -> Part<'_> {
        self.part("api")
    }

    pub fn router(&self) -> Part<'_> {
        self.part("router")
    }

    /// Removes every key from every master.
    pub async fn wipe_redis(&self) -> Result<()> {
        for url in &self.info.redis_urls {
            let mut connection = open_url(url).await?;
            match redis::cmd("FLUSHALL").query_async::<String>(&mut connection).await {
                // A replica follows its master.
                Err(error) if error.code() == Some("READONLY") => {}
                wiped => drop(wiped.with_context(|| format!("wiping {url}"))?),
            }
        }
        Ok(())
    }

    /// Keeps the stack whole while a test needs it whole. Several tests may, at once.
    pub async fn shared(&self) -> Result<Turn> {
        self.turn(File::try_lock_shared).await
    }

    /// Keeps the stack to one test, which may break it and must mend it.
    pub async fn exclusive(&self) -> Result<Turn> {
        self.turn(File::try_lock).await
    }

    async fn turn(&self, lock: fn(&File) -> Result<(), std::fs::TryLockError>) -> Result<Turn> {
        let file = lock_file(&self.info.state.join("turn.lock"))?;
        until("a turn at the stack", TURN_WITHIN, || async { lock(&file).context("another test holds it") }).await?;
        Ok(Turn { _file: file })
    }

    async fn order(&self, action: Action, part: &str) -> Result<Answer> {
        let order = Order { token: self.info.control_token.clone(), action, part: part.to_owned() };
        let conversation = async {
            let mut stream = TcpStream::connect(&self.info.control).await.context("reaching the stack's owner")?;
            stream.write_all((serde_json::to_string(&order)? + "\n").as_bytes()).await?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await?;
            serde_json::from_str::<Answer>(&line).context("reading the owner's answer")
        };
        let what = format!("{action:?} {part}");
        let answer = tokio::time::timeout(ORDER_WITHIN, conversation)
            .await
            .with_context(|| format!("{what}: no answer within {} s", ORDER_WITHIN.as_secs()))?
            .with_context(|| what.clone())?;
        match answer.error {
            Some(error) => bail!("{what}: {error}"),
            None => Ok(answer),
        }
    }
}

/// Held by a test; let go when dropped, or when the test's process ends.
#[derive(Debug)]
#[must_use]
pub struct Turn {
    _file: File,
}

/// One process of the stack.
#[derive(Debug)]
pub struct Part<'a> {
    handle: &'a Handle,
    name: String,
}

impl Part<'_> {
    /// Starts it on its old port and data, and waits until it serves.
    pub async fn start(&self) -> Result<()> {
        self.order(Action::Start).await
    }

    /// Starts it and does not wait: when what it needs is down too.
    pub async fn spawn(&self) -> Result<()> {
        self.order(Action::Spawn).await
    }

    /// Asks it to end and waits until it has.
    pub async fn stop(&self) -> Result<()> {
        self.order(Action::Stop).await
    }

    /// SIGKILL.
    pub async fn kill9(&self) -> Result<()> {
        self.order(Action::Kill).await
    }

    /// Freezes it; for PostgreSQL only the postmaster, so that no new session comes through.
    pub async fn pause(&self) -> Result<()> {
        self.order(Action::Pause).await
    }

    pub async fn resume(&self) -> Result<()> {
        self.order(Action::Resume).await
    }

    pub async fn restart(&self) -> Result<()> {
        self.order(Action::Restart).await
    }

    /// SIGKILL and a start without its files: a Redis that lost everything.
    pub async fn restart_empty(&self) -> Result<()> {
        self.order(Action::RestartEmpty).await
    }

    pub async fn is_running(&self) -> Result<bool> {
        Ok(self.handle.order(Action::Status, &self.name).await?.running)
    }

    /// For reading its memory; none when it does not run.
    pub async fn pid(&self) -> Result<Option<u32>> {
        Ok(self.handle.order(Action::Status, &self.name).await?.pid)
    }

    async fn order(&self, action: Action) -> Result<()> {
        self.handle.order(action, &self.name).await.map(drop)
    }
}
