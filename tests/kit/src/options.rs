//! What kind of stack is wanted.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::ports::PortChoice;

/// How many logical shards there are; ARCHITECTURE fixes it.
pub const SHARDS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisLayout {
    /// Three masters without replicas: every key is on one of them, and scripts that cross tags fail.
    Cluster,
    Single,
}

impl RedisLayout {
    pub fn servers(self) -> usize {
        match self {
            Self::Cluster => 3,
            Self::Single => 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own; all of them combine")]
pub struct StackOptions {
    /// The checkout: schemas, `supergraph.yaml`, the router's configuration, `dev/data`.
    pub root: PathBuf,
    /// Everything that the stack writes, but for what PostgreSQL cannot reach there.
    pub state: PathBuf,
    pub ports: PortChoice,
    /// How many routers, APIs and writers there are, each; with more than one, a balancer stands before the APIs.
    pub copies: usize,
    /// 1, or 3 with three copies of each record, two of which must have it.
    pub brokers: usize,
    /// Whether each master of the cluster has a replica that can take over.
    pub redis_replicas: bool,
    /// Whether links can be cut, disks filled, clocks set wrong and schemas rolled.
    pub faults: bool,
    /// 1 or 2; the shards are divided among them.
    pub primaries: usize,
    /// Whether each further primary has a replica too; the first one always has.
    pub replica_for_each: bool,
    pub redis: RedisLayout,
    /// Whether Redis keeps an append-only file, synced every second.
    pub redis_appendonly: bool,
    /// Whether PostgreSQL syncs to disk. Off, it survives SIGKILL but not a power cut.
    pub fsync: bool,
    /// Size of the demo population besides the two who have a sign-in; none when 0.
    pub people: u64,
    pub profile: Profile,
    /// Begins with nothing: removes what an earlier stack has left in the state folder.
    pub fresh: bool,
    /// Leaves out the writer, the API and the router.
    pub servers_only: bool,
    pub external: External,
    pub quiet: bool,
}

impl StackOptions {
    /// What `dev/up` starts: fixed ports, one primary with a replica, a Redis Cluster, 2,000 people.
    pub fn development(root: &Path) -> Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            state: state_dir(root),
            ports: PortChoice::Fixed,
            copies: 1,
            brokers: 1,
            redis_replicas: false,
            faults: false,
            primaries: 1,
            replica_for_each: true,
            redis: RedisLayout::Cluster,
            redis_appendonly: true,
            fsync: true,
            people: 2_000,
            profile: Profile::Debug,
            fresh: false,
            servers_only: false,
            external: External::from_env(|name| std::env::var(name).ok())?,
            quiet: false,
        })
    }

    /// What tests run on: free ports, two primaries with a replica each, nobody in it.
    pub fn test(root: &Path) -> Result<Self> {
        let development = Self::development(root)?;
        Ok(Self {
            state: development.state.join("test"),
            ports: PortChoice::Free,
            primaries: 2,
            fsync: false,
            people: 0,
            fresh: true,
            ..development
        })
    }

    /// Two or three of everything, so that any one may be missed.
    #[must_use]
    pub fn redundant(self) -> Self {
        Self { copies: 2, brokers: 3, redis_replicas: true, ..self }
    }

    /// Redis servers, replicas among them.
    pub fn redis_servers(&self) -> usize {
        self.redis.servers() * if self.redis_replicas { 2 } else { 1 }
    }
}

/// `.velvet` at the root of the checkout, unless the environment says otherwise.
pub fn state_dir(root: &Path) -> PathBuf {
    let path = std::env::var_os("VELVET_STATE_DIR").map_or_else(|| root.join(".velvet"), PathBuf::from);
    std::path::absolute(&path).unwrap_or(path)
}

/// The checkout that the current folder is in.
pub fn find_root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("finding the current folder")?;
    match here.ancestors().find(|folder| folder.join("tests/kit/Cargo.toml").is_file()) {
        Some(root) => Ok(root.to_owned()),
        None => bail!("{} is not inside a checkout of Velvet; go there or pass --root", here.display()),
    }
}

/// Servers that somebody else runs and that the environment names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct External {
    pub kafka: Option<String>,
    pub redis: Option<Vec<String>>,
    pub postgres: Option<(String, Option<String>)>,
}

impl External {
    pub fn from_env(read: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let read = |name: &str| read(name).filter(|value| !value.trim().is_empty());
        let postgres = read("VELVET_POSTGRES_URL").map(|url| (url, read("VELVET_POSTGRES_REPLICA_URL")));
        if postgres.is_none() && read("VELVET_POSTGRES_REPLICA_URL").is_some() {
            bail!("VELVET_POSTGRES_REPLICA_URL is set without VELVET_POSTGRES_URL");
        }
        Ok(Self {
            kafka: read("VELVET_KAFKA_BROKERS"),
            redis: read("VELVET_REDIS_URLS").map(|urls| urls.split(',').map(|url| url.trim().to_owned()).collect()),
            postgres,
        })
    }
}
