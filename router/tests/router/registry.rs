//! A Redis of the test's own with the registry in it, written as the accounts subgraph's projector does.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tempfile::TempDir;
use velvet_edge::sha256_hex;

use crate::process::{Stack, eventually, free_port, start};

/// No test takes as long; a server that is left behind ends then.
const LIFE_SECONDS_MAX: &str = "600";

pub struct Registry {
    pub port: u16,
    process: Option<Child>,
    /// The port that members of a cluster talk on.
    cluster_port: Option<u16>,
    folder: TempDir,
    /// Rises with each record.
    version: AtomicU64,
}

impl Registry {
    /// A server with nothing in it.
    pub async fn empty() -> Self {
        Self::start(None).await
    }

    /// A cluster of one server.
    pub async fn cluster() -> Self {
        let registry = Self::start(Some(free_port())).await;
        registry.ask::<()>(redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383)).await;
        eventually("the cluster is whole", async || {
            let info: String = registry.ask(redis::cmd("CLUSTER").arg("INFO")).await;
            info.contains("cluster_state:ok")
        })
        .await;
        registry
    }

    async fn start(cluster_port: Option<u16>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let version = AtomicU64::new(0);
        let mut registry = Self { port: free_port(), process: None, cluster_port, folder, version };
        registry.serve().await;
        registry
    }

    /// Two partners, `acme` with one key for everything and `other` with one of its own.
    pub async fn with_partners() -> Self {
        let registry = Self::empty().await;
        registry.partner("acme", false).await;
        registry.partner("other", false).await;
        registry.key("acme", &Key::of("acme")).await;
        registry.key("other", &Key::of("other")).await;
        registry
    }

    /// A router that reads this registry, with `overrides` besides.
    pub async fn stack(&self, overrides: &str) -> Stack {
        start(&self.configuration(overrides)).await
    }

    /// As the configuration names it.
    pub fn urls(&self) -> String {
        let url = format!("redis://127.0.0.1:{}", self.port);
        if self.cluster_port.is_some() { format!("{url},{url}") } else { url }
    }

    pub fn configuration(&self, overrides: &str) -> String {
        let mut config: serde_yaml::Value = serde_yaml::from_str(overrides).unwrap();
        config["plugins"]["velvet.partners"]["redis"]["urls"] = self.urls().into();
        serde_yaml::to_string(&config).unwrap()
    }

    /// Starts the server again on its port, with nothing in it.
    pub async fn serve(&mut self) {
        let port = self.port.to_string();
        let mut command = Command::new("timeout");
        command.args([LIFE_SECONDS_MAX, "redis-server", "--port", &port, "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(self.folder.path());
        if let Some(cluster_port) = self.cluster_port {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &cluster_port.to_string()]);
        }
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        self.process = Some(process);
        let url = format!("redis://127.0.0.1:{port}");
        eventually("Redis is ready", async || {
            let client = redis::Client::open(url.as_str()).unwrap();
            client.get_multiplexed_async_connection().await.is_ok()
        })
        .await;
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let id = process.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &id]).status();
            let _ = process.wait();
        }
    }

    pub async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut connection: MultiplexedConnection = client.get_multiplexed_async_connection().await.unwrap();
        command.query_async(&mut connection).await.unwrap()
    }

    async fn put(&self, hash: &str, kind: &str, field: &str, mut record: Value) {
        record["version"] = (self.version.fetch_add(1, Ordering::SeqCst) + 1).into();
        self.put_as_it_is(hash, kind, field, &record).await;
    }

    async fn put_as_it_is(&self, hash: &str, kind: &str, field: &str, record: &Value) {
        let hash = format!("accounts:{hash}:{{registry}}");
        self.ask::<()>(redis::cmd("HSET").arg(hash).arg(field).arg(record.to_string())).await;
        let mut change = redis::cmd("XADD");
        change.arg("accounts:registry_changes:{registry}").arg("*").arg("kind").arg(kind).arg("field").arg(field);
        self.ask::<String>(&change).await;
    }

    pub async fn partner(&self, slug: &str, disabled: bool) {
        let limits = json!({ "requestsPerSecond": 100, "burst": 100, "costPerMinute": 10_000, "monthlyQuota": 10_000 });
        self.partner_with(slug, disabled, limits).await;
    }

    pub async fn partner_with(&self, slug: &str, disabled: bool, limits: Value) {
        let partner = json!({
            "id": slug, "slug": slug, "name": slug, "userId": slug, "limits": limits, "disabled": disabled,
        });
        self.put("partners", "partner", slug, partner).await;
    }

    pub async fn key(&self, partner: &str, key: &Key) {
        self.put("partner_keys", "key", &key.prefix, key.record(partner)).await;
    }

    /// The record as an older version had it.
    pub async fn old_key(&self, partner: &str, key: &Key) {
        let mut record = key.record(partner);
        record["version"] = 0.into();
        self.put_as_it_is("partner_keys", "key", &key.prefix, &record).await;
    }

    pub async fn operation(&self, partner: &str, id: &str, body: &str, retired_at: Option<&str>) {
        let operation = json!({
            "partnerId": partner, "id": id, "name": "A", "kind": "query", "body": body, "cost": 1, "clientName": "web",
            "release": 1, "retiredAt": retired_at,
        });
        self.put("operations", "operation", &format!("{partner}/{id}"), operation).await;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A key, and what is known of it.
#[derive(Clone)]
pub struct Key {
    pub prefix: String,
    pub text: String,
    pub scopes: Vec<&'static str>,
    pub require_signature: bool,
    pub expires_at: Option<&'static str>,
    pub revoked_at: Option<&'static str>,
}

impl Key {
    /// The good key that a name stands for.
    pub fn of(name: &str) -> Self {
        let prefix = format!("{name:0<12}");
        let secret = "S".repeat(43);
        Self {
            text: format!("vk_live_{prefix}_{secret}"),
            prefix,
            scopes: vec!["*"],
            require_signature: false,
            expires_at: None,
            revoked_at: None,
        }
    }

    pub fn hash(&self) -> String {
        sha256_hex(self.text.as_bytes())
    }

    fn record(&self, partner: &str) -> Value {
        json!({
            "prefix": self.prefix, "partnerId": partner, "mode": "live", "hash": self.hash(), "scopes": self.scopes,
            "requireSignature": self.require_signature, "expiresAt": self.expires_at, "revokedAt": self.revoked_at,
        })
    }
}
