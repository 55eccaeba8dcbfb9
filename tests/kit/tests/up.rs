//! `dev/up` and `dev/down`, as somebody runs them who has just cloned the repository.

#![expect(clippy::disallowed_methods, reason = "scratch folders need names of their own")]

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use velvet_kit::options::SHARDS;
use velvet_kit::servers::postgres::outside;
use velvet_kit::{Database, StackInfo, client::Client, until};

const PEOPLE: usize = 200;
/// Everything is built already; a busy machine takes its time all the same.
const UP_WITHIN: Duration = Duration::from_mins(3);
const DOWN_WITHIN: Duration = Duration::from_mins(2);

/// Where builds and downloads are is for `dev/up` as well.
const KEPT: [&str; 2] = ["CARGO_TARGET_DIR", "CARGO_HOME"];

/// A state folder and ports that nobody else has.
struct Place {
    root: PathBuf,
    state: PathBuf,
    ports: Vec<(String, String)>,
}

impl Place {
    fn new() -> Self {
        let state = std::env::temp_dir().join(format!("velvet-up-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]));
        let names = [
            ["ROUTER", "ROUTER_HEALTH", "ROUTER_METRICS", "API"],
            ["WRITER", "COLLECTOR", "KAFKA", "KAFKA_CONTROLLER"],
            ["POSTGRES", "POSTGRES_REPLICA", "REDIS", "REDIS_BUS"],
        ];
        let names: Vec<&str> = names.concat();
        // The masters of a cluster stand in a row.
        let rows = names.iter().map(|name| if name.starts_with("REDIS") { 3 } else { 1 });
        let ports = free_rows(rows);
        let ports = names.iter().zip(ports).map(|(name, port)| (format!("VELVET_{name}_PORT"), port.to_string()));
        Self { root: Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), state, ports: ports.collect() }
    }

    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join("dev").join(script));
        command.args(arguments).envs(self.ports.iter().cloned()).env("VELVET_STATE_DIR", &self.state);
        for server in ["KAFKA_BROKERS", "REDIS_URLS", "POSTGRES_URL", "POSTGRES_REPLICA_URL"] {
            command.env_remove(format!("VELVET_{server}"));
        }
        // What cargo tells a test of itself would have some dependencies built anew, and all that use them.
        for (name, _) in std::env::vars_os() {
            let of_cargo = name.to_str().is_some_and(|name| name == "OUT_DIR" || name.starts_with("CARGO"));
            if of_cargo && !KEPT.iter().any(|kept| name == *kept) {
                command.env_remove(name);
            }
        }
        command.current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a script to its end; what it printed.
    async fn run(&self, script: &str, arguments: &[&str], within: Duration) -> Result<String> {
        let output = tokio::time::timeout(within, self.command(script, arguments).output());
        let output = output.await.with_context(|| format!("dev/{script} does not end"))??;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "dev/{script}: {printed}{}", String::from_utf8_lossy(&output.stderr));
        Ok(printed)
    }

    fn info(&self) -> Result<StackInfo> {
        StackInfo::read(&StackInfo::path(&self.state))
    }

    /// How many people PostgreSQL has.
    async fn people(&self) -> Result<usize> {
        let database = Database::new(&self.info()?.postgres.first().context("a server")?.url)?;
        let counts: Vec<String> =
            (0..SHARDS).map(|shard| format!("SELECT count(*) AS n FROM shard_{shard:02}.users")).collect();
        let sum = format!("SELECT sum(n)::int FROM ({}) AS counts", counts.join(" UNION ALL "));
        let sum = database.value(&sum).await?;
        Ok(usize::try_from(sum.as_u64().context("a sum")?)?)
    }

    /// The processes that the stack has noted as its own, and the one that owns them.
    fn processes(&self) -> Result<Vec<u32>> {
        let mut pids = vec![self.info()?.pid];
        for entry in std::fs::read_dir(self.state.join("pids")).context("reading the pid folder")? {
            let text = std::fs::read_to_string(entry?.path())?;
            pids.push(text.split(' ').next().unwrap_or_default().parse().context("a pid")?);
        }
        ensure!(pids.len() >= 10, "the owner, Kafka, three of Redis, two of PostgreSQL and three of ours: {pids:?}");
        Ok(pids)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed leaves it running.
        let _ = self.command("down", &[]).as_std_mut().stdout(Stdio::null()).status();
        for folder in [&self.state, &outside(&self.state)] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The first of each of these rows of ports that are free now.
fn free_rows(counts: impl Iterator<Item = u16>) -> Vec<u16> {
    let mut held = Vec::new();
    let firsts = counts.map(|count| {
        let row = (0..2_000).find_map(|_| {
            let first = rand::random_range(12_000..19_000);
            let row = (first..first + count).map(|port| TcpListener::bind(("127.0.0.1", port)));
            row.collect::<Result<Vec<_>, _>>().ok()
        });
        let row = row.expect("free ports");
        let first = row[0].local_addr().expect("a port").port();
        held.extend(row);
        first
    });
    firsts.collect()
}

fn is_there(pid: u32) -> bool {
    // A zombie runs no more; it only waits for its parent to look.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn all_gone(pids: &[u32]) -> Result<()> {
    until("all processes to be gone", DOWN_WITHIN, || async {
        let left: Vec<&u32> = pids.iter().filter(|pid| is_there(**pid)).collect();
        ensure!(left.is_empty(), "still there: {left:?}");
        Ok(())
    })
    .await
}

/// The word after a label of the greeting.
fn told<'a>(greeting: &'a str, label: &str) -> Result<&'a str> {
    let line = greeting.lines().find_map(|line| line.trim().strip_prefix(label));
    line.and_then(|rest| rest.split_whitespace().next()).with_context(|| format!("no {label}: {greeting}"))
}

/// Does what the greeting says: signs in with its mutation and asks its query.
async fn tour(greeting: &str) -> Result<Value> {
    let line = |start: &str| {
        let found = greeting.lines().map(str::trim).find(|line| line.starts_with(start));
        found.with_context(|| format!("no {start} in {greeting}"))
    };
    let client = Client::new(told(greeting, "GraphQL")?)?;
    let session = client.data(line("mutation {")?, json!({})).await?;
    let token = session["login"]["accessToken"].as_str().with_context(|| format!("no session: {session}"))?;
    client.bearer(token).data(line("query {")?, json!({})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_gets_people_to_look_at_and_finds_them_again_and_nothing_is_left_running() -> Result<()> {
    let place = Place::new();
    let people = PEOPLE.to_string();
    let greeting = place.run("up", &["--people", &people, "--detach"], UP_WITHIN).await?;
    let deck = tour(&greeting).await?;
    assert_eq!(deck["deck"].as_array().map(Vec::len), Some(5), "{deck}");
    assert!(reqwest::get(told(&greeting, "in a browser")?).await?.status().is_success());
    until("everybody in PostgreSQL", UP_WITHIN, || async {
        let there = place.people().await?;
        ensure!(there == PEOPLE + 2, "{there} people");
        Ok(())
    })
    .await?;
    let checked = place.run("velvet", &["config", "check"], UP_WITHIN).await?;
    assert!(checked.contains("the configuration is right"), "{checked}");
    let detached = place.processes()?;
    place.run("down", &[], DOWN_WITHIN).await?;
    all_gone(&detached).await?;

    // Once more, attached: everybody is there still, and Ctrl-C ends it.
    let log = place.state.join("attached.log");
    let mut attached = attach(&place, &people, &log)?;
    let greeting = until("the second greeting", UP_WITHIN, || async {
        let said = std::fs::read_to_string(&log)?;
        ensure!(said.contains("Ctrl-C stops everything"), "{said}");
        Ok(said)
    })
    .await?;
    tour(&greeting).await?;
    assert_eq!(place.people().await?, PEOPLE + 2);
    let processes = place.processes()?;
    // A terminal's Ctrl-C reaches the whole group.
    let group = attached.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).context("a pid")?;
    kill_process_group(group, Signal::INT).context("pressing Ctrl-C")?;
    let ended = tokio::time::timeout(DOWN_WITHIN, attached.wait()).await.context("it goes on")??;
    assert!(ended.success(), "Ctrl-C is how one ends it: {ended}");
    all_gone(&processes).await
}

fn attach(place: &Place, people: &str, log: &Path) -> Result<Child> {
    let output = std::fs::File::create(log).context("writing a log")?;
    let mut command = place.command("up", &["--people", people]);
    command.stdout(output.try_clone()?).stderr(output).process_group(0);
    command.spawn().context("starting dev/up")
}
