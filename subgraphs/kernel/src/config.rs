//! Typed configuration: a TOML file, then `VELVET_…` from the environment (`__` between levels).
//! Keys that nobody reads are refused, so that a typo cannot pass for a setting.

use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// Everything that Velvet's own processes are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The log.
    pub kafka: KafkaConfig,
    /// The views.
    pub redis: RedisConfig,
    /// The API process.
    #[serde(default)]
    pub api: ApiConfig,
    /// Tokens and their keys.
    pub identity: IdentityConfig,
    /// Live streams.
    pub live: LiveConfig,
    /// The projector.
    #[serde(default)]
    pub projector: ProjectorConfig,
    /// The writer; only that process reads it.
    #[serde(default)]
    pub writer: WriterConfig,
    /// Logs, metrics, traces.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// Settings of single domains, by their names; each domain refuses keys that it does not know.
    #[serde(default)]
    pub domains: BTreeMap<String, toml::Table>,
}

/// The log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers, comma-separated.
    pub brokers: String,
    /// Partitions of each topic, a multiple of 16; fixed when the topics are made.
    #[serde(default = "default_partitions")]
    pub partitions: i32,
    /// Copies of each partition.
    #[serde(default = "default_replication")]
    pub replication: i32,
    /// Put before each topic's name, so that several systems can share brokers.
    #[serde(default)]
    pub topic_prefix: String,
}

fn default_partitions() -> i32 {
    16
}

fn default_replication() -> i32 {
    3
}

/// The views.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// One address of a single server, or several of a cluster's.
    pub urls: Vec<String>,
}

/// The API process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The domains that this process runs; all that there are when none is named.
    pub domains: Vec<String>,
    /// How long a request waits for the outcome of what it appended, in milliseconds.
    pub outcome_wait_ms: u64,
    /// The largest request body, in bytes.
    pub body_size_max_bytes: usize,
    /// How long balancers take to see that a process is not ready: so long one that is to end takes connections, in
    /// milliseconds.
    pub notice_ms: u64,
    /// How long whoever asks may keep a connection unused and then send on it, in milliseconds: so long one that is to
    /// end leaves it open. Longer than the `pool_idle_timeout` of the routers.
    pub keep_alive_ms: u64,
    /// How long open requests get when the process ends, in milliseconds.
    pub drain_ms: u64,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4100)),
            domains: Vec::new(),
            outcome_wait_ms: 5_000,
            body_size_max_bytes: 256 * 1024,
            notice_ms: 1_000,
            keep_alive_ms: 6_000,
            drain_ms: 10_000,
        }
    }
}

impl ApiConfig {
    /// How long a request waits for the outcome of what it appended.
    pub fn outcome_wait(&self) -> Duration {
        Duration::from_millis(self.outcome_wait_ms)
    }
}

/// Tokens and their keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// Ed25519 private keys in PEM, file name = key id; all of them verify. Only accounts needs it.
    #[serde(default)]
    pub keys_dir: Option<PathBuf>,
    /// The id of the key that signs; the last by name unless it is set. Set, it keeps a new key from signing before every
    /// process verifies with it.
    #[serde(default)]
    pub signing_key: Option<String>,
    /// Where the public keys are.
    pub jwks_url: String,
    /// Who issues the tokens.
    #[serde(default = "velvet")]
    pub issuer: String,
    /// Whom they are for.
    #[serde(default = "velvet")]
    pub audience: String,
}

fn velvet() -> String {
    "velvet".to_owned()
}

/// Live streams.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveConfig {
    /// Signs cursors; the same in every API process. At least 32 characters.
    pub cursor_secret: String,
}

/// The projector.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectorConfig {
    /// Facts that are folded as one batch at most.
    pub batch_max: usize,
}

impl Default for ProjectorConfig {
    fn default() -> Self {
        Self { batch_max: 500 }
    }
}

/// A decided event waits no longer than this for its batch.
const WRITER_WAIT_MAX_MS: u64 = 2_000;

/// The writer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriterConfig {
    /// Where health and metrics are.
    pub listen: SocketAddr,
    /// The servers and the shards that each holds; together they hold all 16, once each.
    pub postgres: Vec<PostgresConfig>,
    /// Events that are applied as one transaction at most.
    pub batch_max: usize,
    /// How long decided events may wait for more of their batch, in milliseconds: views have them already.
    pub batch_wait_ms: u64,
    /// Between two samples of one shard each, whose views are compared with the rows, in milliseconds.
    pub calibrate_pause_ms: u64,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4200)),
            postgres: Vec::new(),
            batch_max: 8_000,
            batch_wait_ms: 200,
            calibrate_pause_ms: 60_000,
        }
    }
}

/// One PostgreSQL server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The primary.
    pub url: String,
    /// The replica that warm-up, calibration and rebuild read; the primary when there is none.
    #[serde(default)]
    pub replica_url: Option<String>,
    /// The shards that it holds, 0 to 15.
    pub shards: Vec<u8>,
}

/// Logs, metrics, traces.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are kept, in tracing's filter language.
    pub log_filter: String,
    /// Where traces go (OTLP over HTTP, without `/v1/traces`); none are recorded without it.
    pub otlp_endpoint: Option<String>,
    /// How many of the traces that begin here are recorded, from 0 to 1. One that a request brings is recorded when
    /// it says so.
    pub trace_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log_format: LogFormat::Json, log_filter: "info".to_owned(), otlp_endpoint: None, trace_ratio: 0.1 }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value is missing, unknown or of the wrong kind.
    #[error("reading the configuration")]
    Read(#[source] Box<figment::Error>),
    /// A value is out of its bounds.
    #[error("configuration: {0}")]
    Bounds(String),
    /// A domain's settings do not parse.
    #[error("configuration of the domain {domain}")]
    Domain {
        /// Whose.
        domain: String,
        /// What the parser said.
        source: toml::de::Error,
    },
}

impl Config {
    /// Reads the file, then the environment, and checks the bounds.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let config: Self = Figment::new()
            .merge(Toml::file_exact(file))
            // Only names with a level are settings; `VELVET_ROUTER_PORT` and the like are for `dev/up`.
            .merge(Env::prefixed("VELVET_").filter(|name| name.as_str().contains("__")).split("__"))
            .extract()
            .map_err(|error| Error::Read(Box::new(error)))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        let bounds = |text: &str| Err(Error::Bounds(text.to_owned()));
        if self.kafka.partitions < 16 || self.kafka.partitions % 16 != 0 {
            return bounds("kafka.partitions must be a multiple of 16, as each partition belongs to one of 16 shards");
        }
        if self.redis.urls.is_empty() {
            return bounds("redis.urls must name at least one server");
        }
        if self.live.cursor_secret.len() < 32 {
            return bounds("live.cursor_secret must have at least 32 characters");
        }
        if !(0.0..=1.0).contains(&self.telemetry.trace_ratio) {
            return bounds("telemetry.trace_ratio is from 0 to 1");
        }
        if self.projector.batch_max == 0 || self.writer.batch_max == 0 {
            return bounds("a batch has at least one event");
        }
        if !(1..=WRITER_WAIT_MAX_MS).contains(&self.writer.batch_wait_ms) {
            return bounds("writer.batch_wait_ms is from 1 to 2000");
        }
        if self.writer.calibrate_pause_ms == 0 {
            return bounds("writer.calibrate_pause_ms must leave a pause");
        }
        Ok(())
    }

    /// Refuses settings of domains that there are not.
    pub fn check_domains(&self, known: &[&str]) -> Result<(), Error> {
        match self.domains.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Error::Bounds(format!("domains.{name}: there is no such domain"))),
            None => Ok(()),
        }
    }

    /// The settings of one domain; its defaults when there are none.
    pub fn domain<T: serde::de::DeserializeOwned + Default>(&self, domain: &str) -> Result<T, Error> {
        match self.domains.get(domain) {
            None => Ok(T::default()),
            Some(table) => T::deserialize(toml::Value::Table(table.clone()))
                .map_err(|source| Error::Domain { domain: domain.to_owned(), source }),
        }
    }
}
