//! What all scenarios share: the stack, its processes, the time that is left, the report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use velvet_kit::Handle;
use velvet_kit::client::Client;

use crate::arguments::Arguments;
use crate::process::of_stack;
use crate::report::{Report, Row};
use crate::schedule::exact;
use crate::usage::Used;

pub struct Bench {
    pub handle: Handle,
    pub arguments: Arguments,
    pub report: Report,
    /// Process ids by name.
    pub pids: BTreeMap<String, u32>,
    /// Tells this run's messages from those of another one on the same stack.
    pub run: String,
    /// What a bare HTTP server on this machine answers at most, once measured.
    pub echo_per_second: Option<f64>,
    ends: Instant,
    http: reqwest::Client,
}

const METRICS_WITHIN: Duration = Duration::from_secs(5);

impl Bench {
    pub async fn open(arguments: Arguments) -> Result<Self> {
        let handle = Handle::from_env().context("finding the stack")?;
        let pids = of_stack(&handle).await;
        let ends = Instant::now() + arguments.within();
        let run = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        Ok(Self {
            handle,
            arguments,
            report: Report::default(),
            pids,
            run,
            echo_per_second: None,
            ends,
            http: reqwest::Client::new(),
        })
    }

    /// Starts a process anew, and waits until it serves.
    pub async fn restart(&mut self, name: &str) -> Result<()> {
        self.handle.part(name).restart().await?;
        if let Some(pid) = self.handle.part(name).pid().await? {
            self.pids.insert(name.to_owned(), pid);
        }
        Ok(())
    }

    /// What is left of the time that the whole may take.
    pub fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Adds a row and says it at once, as the table comes at the end.
    pub fn add(&mut self, row: Row) {
        let rate = row.rate_per_second.map(|rate| format!(" {rate:.0}/s")).unwrap_or_default();
        let p99 = row.p99_ms.map(|p99| format!(" p99 {p99:.1} ms")).unwrap_or_default();
        let value = row.value.as_ref().map(|value| format!(" {:.1} {}", value.amount, value.unit)).unwrap_or_default();
        say(&format!("{} · {}:{rate}{p99}{value} {}", row.scenario, row.what, row.note));
        self.report.rows.push(row);
    }

    /// What the processes have used so far.
    pub async fn used(&self) -> Used {
        Used::read(&self.pids).await
    }

    /// What the API process has asked of Redis and Kafka so far; none when it does not say.
    pub async fn round_trips(&self) -> Option<RoundTrips> {
        let text = self.api_metrics().await.ok()?;
        let redis = counter(&text, "velvet_store_round_trips_total", "");
        Some(RoundTrips { redis, kafka: counter(&text, "velvet_log_append_seconds_count", "") })
    }

    /// All that the API process counts.
    pub async fn api_metrics(&self) -> Result<String> {
        self.get(&format!("{}/metrics", self.handle.info.api_url)).await
    }

    /// All that the router counts.
    pub async fn router_metrics(&self) -> Result<String> {
        self.get(&format!("{}/metrics", self.handle.info.router_metrics_url)).await
    }

    async fn get(&self, url: &str) -> Result<String> {
        let response = self.http.get(url).timeout(METRICS_WITHIN).send().await;
        Ok(response.and_then(reqwest::Response::error_for_status)?.text().await?)
    }

    /// A client of all of them: connections are shared, tokens are each one's own.
    pub fn client(&self, target: &Place) -> Result<Client> {
        match target {
            Place::Router => self.handle.client(),
            Place::Subgraph(name) => self.handle.subgraph_client(name),
        }
    }
}

/// What the API process has asked of the servers behind it until one moment, or for one piece of work.
#[derive(Debug, Clone, Copy)]
pub struct RoundTrips {
    pub redis: f64,
    pub kafka: f64,
}

impl RoundTrips {
    /// For each of `count` pieces of work. What the projector did of it is shared by the batch.
    pub fn since(self, before: Self, count: u64) -> Self {
        let count = exact(count.max(1));
        Self { redis: (self.redis - before.redis) / count, kafka: (self.kafka - before.kafka) / count }
    }
}

impl std::fmt::Display for RoundTrips {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} pipelines to Redis, {:.1} records to Kafka", self.redis, self.kafka)
    }
}

/// The sum of a counter's series; 0 before the first count.
pub fn counter(metrics: &str, name: &str, label: &str) -> f64 {
    let of_name =
        metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    of_name.filter(|line| line.contains(label)).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Where requests go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Router,
    Subgraph(&'static str),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Router => f.write_str("router"),
            Self::Subgraph(name) => write!(f, "subgraph {name}"),
        }
    }
}

/// Progress; the report alone goes to standard output.
pub fn say(line: &str) {
    eprintln!("{}", line.trim_end());
}
