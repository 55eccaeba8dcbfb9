//! Where the parts of a running stack are: the file that `VELVET_TEST_STACK` names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::servers::private_file;

/// Names the file for tests.
pub const TEST_STACK: &str = "VELVET_TEST_STACK";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StackInfo {
    /// The process that owns the stack.
    pub pid: u32,
    pub root: PathBuf,
    pub state: PathBuf,
    /// `velvet.toml`, read by the API.
    pub config: PathBuf,
    /// Without a path.
    pub router_url: String,
    pub graphql_url: String,
    pub ws_url: String,
    /// `/health` of the router, which has ports of its own for this and for `/metrics`.
    pub router_health_url: String,
    pub router_metrics_url: String,
    pub api_url: String,
    pub writer_url: String,
    /// Every router, the one of `router_url` first.
    pub router_urls: Vec<String>,
    /// The same for their health.
    pub router_health_urls: Vec<String>,
    /// Every API by itself; `api_url` is the balancer before them when there are several.
    pub api_urls: Vec<String>,
    pub writer_urls: Vec<String>,
    /// Where traces are sent; a test that wants them listens there.
    pub collector_url: String,
    pub kafka_brokers: String,
    /// One address is a single server, several are a cluster, its replicas last.
    pub redis_urls: Vec<String>,
    pub postgres: Vec<PostgresInfo>,
    /// Whether there are only servers, and no writer, API and router.
    pub servers_only: bool,
    /// The names of all that the owner runs, as [`Handle::part`](crate::Handle::part) takes them.
    pub parts: Vec<String>,
    /// What can befall it besides the loss of a part; nothing unless the stack was made for it.
    pub faults: Faults,
    /// Where the owner takes orders, and what must come with them.
    pub control: String,
    pub control_token: String,
}

/// What a nemesis has a hand in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Faults {
    /// The links between our processes and what they talk to: `api-1>kafka-2`.
    pub links: Vec<String>,
    /// Servers whose files have a file system of their own, and where.
    pub disks: BTreeMap<String, PathBuf>,
    /// Processes whose clocks can be wrong, and the files that say by how many milliseconds.
    pub clocks: BTreeMap<String, PathBuf>,
    /// Routers that follow the schema in a file of their own.
    pub supergraphs: BTreeMap<String, PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PostgresInfo {
    pub url: String,
    pub replica_url: Option<String>,
}

impl StackInfo {
    pub fn path(state: &Path) -> PathBuf {
        state.join("stack.json")
    }

    /// The writer's own configuration, beside the API's: it alone has the database's addresses.
    pub fn writer_config(&self) -> PathBuf {
        self.config.with_file_name("velvet-writer.toml")
    }

    pub fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing a stack's addresses")?;
        private_file(&Self::path(&self.state), &text)
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }
}
