//! Redis: a cluster of three masters, with or without a replica each, or a single server.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;

use super::ready::Ready;
use super::{Folders, find_program, private_folder};
use crate::disks::Disks;
use crate::options::{RedisLayout, StackOptions};
use crate::poll::until;
use crate::ports::Ports;
use crate::process::Spec;
use crate::supervisor::Supervisor;

const CLUSTER_WITHIN: Duration = Duration::from_secs(20);
/// Loading the append-only file of a large population is what takes long.
const READY_WITHIN: Duration = Duration::from_mins(1);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const SLOTS: u32 = 16_384;

/// One connection to one server of ours.
pub async fn open(port: u16) -> Result<MultiplexedConnection> {
    open_url(&format!("redis://127.0.0.1:{port}")).await
}

/// One connection to one server, without the cluster's redirections.
pub async fn open_url(url: &str) -> Result<MultiplexedConnection> {
    let client = redis::Client::open(url).with_context(|| format!("reading the address {url}"))?;
    tokio::time::timeout(CONNECT_WITHIN, client.get_multiplexed_async_connection())
        .await
        .with_context(|| format!("{url} does not answer"))?
        .with_context(|| format!("connecting to {url}"))
}

#[derive(Debug)]
pub struct Redis {
    layout: RedisLayout,
    /// Those that begin as masters; their replicas come after them.
    masters: usize,
    ports: Vec<u16>,
    folders: Vec<PathBuf>,
}

impl Redis {
    pub async fn start(
        supervisor: &Supervisor,
        folders: &Folders,
        ports: &Ports,
        disks: &Disks,
        options: &StackOptions,
    ) -> Result<Self> {
        let program =
            find_program("redis-server", &[]).context("redis-server is not installed (package redis-server)")?;
        let redis = Self {
            layout: options.redis,
            masters: options.redis.servers(),
            ports: ports.redis.clone(),
            // The files of one layout mean nothing to the other.
            folders: (0..ports.redis.len())
                .map(|i| folders.data.join(format!("redis-{:?}-{i}", options.redis).to_lowercase()))
                .collect(),
        };
        let mut specs = Vec::new();
        for (index, folder) in redis.folders.iter().enumerate() {
            private_folder(folder)?;
            disks.mount(&format!("redis-{index}"), folder).await?;
            let args = arguments(options, ports.redis[index], ports.redis_bus[index]);
            specs.push(Spec {
                name: format!("redis-{index}"),
                program: program.clone(),
                args,
                env: Vec::new(),
                folder: folder.clone(),
                account: None,
                ready: Ready::Redis(ports.redis[index]),
                ready_within: READY_WITHIN,
                retry_within: Duration::ZERO,
                stop_signal: Signal::TERM,
                stop_within: Duration::from_secs(20),
                rank: 0,
                leaves: None,
            });
        }
        futures::future::try_join_all(specs.into_iter().map(|spec| supervisor.launch(spec))).await?;
        if redis.layout == RedisLayout::Cluster {
            redis.join(&ports.redis_bus).await?;
            redis.wait_ok().await?;
            redis.replicate().await?;
        }
        Ok(redis)
    }

    pub fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("redis://127.0.0.1:{port}")).collect()
    }

    /// Forgets what the stopped server `index` had saved, but not its place in the cluster.
    pub fn remove_files(&self, index: usize) -> Result<()> {
        let folder = self.folders.get(index).with_context(|| format!("there is no redis-{index}"))?;
        for entry in std::fs::read_dir(folder).context("reading a Redis folder")? {
            let path = entry.context("reading a Redis folder")?.path();
            if path.is_dir() {
                std::fs::remove_dir_all(&path).context("removing an append-only folder")?;
            } else if path.extension().is_some_and(|extension| extension == "rdb") {
                std::fs::remove_file(&path).context("removing a dump")?;
            }
        }
        Ok(())
    }

    /// Waits until every master serves every slot; nothing to wait for in a single server.
    pub async fn wait_ok(&self) -> Result<()> {
        if self.layout == RedisLayout::Single {
            return Ok(());
        }
        until("the Redis Cluster is whole", CLUSTER_WITHIN, || async {
            for port in &self.ports {
                let info: String = cluster(*port, &["INFO"]).await?;
                let known = format!("cluster_known_nodes:{}", self.ports.len());
                if !info.contains("cluster_state:ok") || !info.contains(&known) {
                    bail!("redis on port {port}: {}", info.lines().take(7).collect::<Vec<_>>().join(" "));
                }
            }
            Ok(())
        })
        .await
    }

    /// Gives out the slots unless they are given, and introduces the servers to each other.
    async fn join(&self, bus: &[u16]) -> Result<()> {
        let count = u32::try_from(self.masters)?;
        for (index, port) in (0..count).zip(&self.ports) {
            let slots: String = cluster(*port, &["INFO"]).await?;
            if slots.contains("cluster_slots_assigned:0") {
                let first = (SLOTS * index / count).to_string();
                let last = (SLOTS * (index + 1) / count - 1).to_string();
                let _: String = cluster(*port, &["ADDSLOTSRANGE", &first, &last]).await?;
                // Distinct epochs spare the cluster a negotiation; a server that has one refuses, which is as good.
                let _ = cluster::<String>(*port, &["SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
            }
        }
        // Also when the files name them: the ports may have moved since.
        for (other, bus) in self.ports.iter().zip(bus).skip(1) {
            let meet = ["MEET", "127.0.0.1", &other.to_string(), &bus.to_string()];
            let _: String = cluster(self.ports[0], &meet).await?;
        }
        Ok(())
    }
}

impl Redis {
    /// Makes each further server the replica of a master, and waits until it has what the master has.
    async fn replicate(&self) -> Result<()> {
        for (master, replica) in self.ports.iter().zip(&self.ports[self.masters..]) {
            let id: String = cluster(*master, &["MYID"]).await?;
            until("a replica knows its master", CLUSTER_WITHIN, || async {
                cluster::<String>(*replica, &["REPLICATE", &id]).await
            })
            .await?;
            until("a replica follows its master", CLUSTER_WITHIN, || async {
                let mut connection = open(*replica).await?;
                let info: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await?;
                ensure!(info.contains("master_link_status:up"), "redis on port {replica} does not follow yet");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

async fn cluster<T: redis::FromRedisValue>(port: u16, words: &[&str]) -> Result<T> {
    let mut connection = open(port).await?;
    let mut command = redis::cmd("CLUSTER");
    for word in words {
        command.arg(word);
    }
    command.query_async(&mut connection).await.with_context(|| format!("CLUSTER {} on port {port}", words.join(" ")))
}

fn arguments(options: &StackOptions, port: u16, bus: u16) -> Vec<String> {
    let (port, bus) = (port.to_string(), bus.to_string());
    let appendonly = if options.redis_appendonly { "yes" } else { "no" };
    let mut settings = vec![
        ("bind", "127.0.0.1"),
        ("port", port.as_str()),
        ("daemonize", "no"),
        ("save", ""),
        ("appendonly", appendonly),
        ("appendfsync", "everysec"),
        // Losing views silently would be worse than an error.
        ("maxmemory-policy", "noeviction"),
    ];
    if options.redis == RedisLayout::Cluster {
        settings.extend([
            ("cluster-enabled", "yes"),
            ("cluster-config-file", "nodes.conf"),
            ("cluster-node-timeout", "2000"),
            // A replica takes over however long it has been without its master: what it lacks is rebuilt.
            ("cluster-replica-validity-factor", "0"),
            ("cluster-port", bus.as_str()),
        ]);
    }
    settings.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]).collect()
}
