//! The configuration file of the API and the writer, and the router's environment.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::info::StackInfo;
use crate::options::SHARDS;
use crate::servers::{private_file, secret};

/// How long the only API and the only router of a stack take requests after they are asked to end, so that it ends soon.
const ALONE_MS: u64 = 300;
/// The same of one of several routers, for clients that keep a connection unused for less.
const KEEP_ALIVE_MS: u64 = 3_000;

#[derive(Serialize)]
struct File<'a> {
    kafka: Kafka<'a>,
    redis: Redis<'a>,
    api: Api,
    identity: Identity,
    live: Live,
    #[serde(skip_serializing_if = "Option::is_none")]
    writer: Option<Writer<'a>>,
    telemetry: Telemetry,
}

#[derive(Serialize)]
struct Kafka<'a> {
    brokers: &'a str,
    replication: u16,
}

#[derive(Serialize)]
struct Redis<'a> {
    urls: &'a [String],
}

#[derive(Serialize)]
struct Api {
    listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive_ms: Option<u64>,
}

#[derive(Serialize)]
struct Identity {
    keys_dir: String,
    jwks_url: String,
}

#[derive(Serialize)]
struct Live {
    cursor_secret: String,
}

#[derive(Serialize)]
struct Writer<'a> {
    listen: String,
    postgres: Vec<Postgres<'a>>,
}

#[derive(Serialize)]
struct Postgres<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica_url: Option<&'a str>,
    shards: Vec<usize>,
}

#[derive(Serialize)]
struct Telemetry {
    log_format: &'static str,
    otlp_endpoint: String,
    trace_ratio: f64,
}

/// Writes `velvet.toml` for the API and `velvet-writer.toml` for the writer, who alone is told of the database.
pub fn write(info: &StackInfo, keys: &Path) -> Result<()> {
    let count = info.postgres.len();
    let postgres = info.postgres.iter().enumerate().map(|(index, server)| Postgres {
        url: &server.url,
        replica_url: server.replica_url.as_deref(),
        shards: shards_of(index, count),
    });
    let writer = Writer { listen: without_scheme(&info.writer_url), postgres: postgres.collect() };
    // Whoever asks the only one has nobody else to go to, so nobody waits for him to leave.
    let alone = (info.api_urls.len() == 1).then_some(ALONE_MS);
    let mut file = File {
        kafka: Kafka { brokers: &info.kafka_brokers, replication: replication(info) },
        redis: Redis { urls: &info.redis_urls },
        api: Api { listen: without_scheme(&info.api_urls[0]), notice_ms: alone, keep_alive_ms: alone },
        identity: Identity {
            keys_dir: keys.to_string_lossy().into_owned(),
            jwks_url: format!("{}/.well-known/jwks.json", info.api_url),
        },
        live: Live { cursor_secret: secret(&info.state.join("cursor-secret"))? },
        writer: None,
        telemetry: Telemetry {
            log_format: "json",
            otlp_endpoint: info.collector_url.clone(),
            // Only what a test marks is recorded, so nothing is sent while no test collects.
            trace_ratio: 0.0,
        },
    };
    private_file(&info.config, &toml::to_string(&file).context("writing velvet.toml")?)?;
    file.writer = Some(writer);
    private_file(&info.writer_config(), &toml::to_string(&file).context("writing velvet-writer.toml")?)
}

/// As many copies as there are brokers to keep them.
fn replication(info: &StackInfo) -> u16 {
    if info.kafka_brokers.split(',').count() >= 3 { 3 } else { 1 }
}

/// Consecutive shards, as even as they divide.
fn shards_of(index: usize, servers: usize) -> Vec<usize> {
    (SHARDS * index / servers..SHARDS * (index + 1) / servers).collect()
}

/// Of the router that listens at these ports: for clients, for its health, for its metrics.
pub fn router_env(info: &StackInfo, listen: [u16; 3]) -> Vec<(String, String)> {
    let playground = info.root.join("router/playground/dist");
    let mut env = vec![
        ("VELVET_ROUTER_LISTEN".to_owned(), format!("127.0.0.1:{}", listen[0])),
        ("VELVET_ROUTER_HEALTH_LISTEN".to_owned(), format!("127.0.0.1:{}", listen[1])),
        ("VELVET_ROUTER_METRICS_LISTEN".to_owned(), format!("127.0.0.1:{}", listen[2])),
        ("VELVET_API_URL".to_owned(), info.api_url.clone()),
        ("VELVET_OTLP_ENABLED".to_owned(), "true".to_owned()),
        ("VELVET_OTLP_ENDPOINT".to_owned(), info.collector_url.clone()),
        ("VELVET_TRACE_RATIO".to_owned(), "0".to_owned()),
        ("VELVET_REDIS_URLS".to_owned(), info.redis_urls.join(",")),
        // The playground and the tests read the schema.
        ("VELVET_ROUTER_INTROSPECTION".to_owned(), "true".to_owned()),
        ("APOLLO_TELEMETRY_DISABLED".to_owned(), "true".to_owned()),
    ];
    let (notice_ms, keep_alive_ms) = match info.router_urls.len() {
        1 => (0, ALONE_MS),
        _ => (1_000, KEEP_ALIVE_MS),
    };
    env.push(("VELVET_ROUTER_NOTICE_MS".to_owned(), notice_ms.to_string()));
    env.push(("VELVET_ROUTER_KEEP_ALIVE_MS".to_owned(), keep_alive_ms.to_string()));
    if playground.is_dir() {
        env.push(("VELVET_PLAYGROUND_DIR".to_owned(), playground.to_string_lossy().into_owned()));
    }
    env
}

fn without_scheme(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_has_one_server() {
        for servers in 1..=SHARDS {
            let all: Vec<usize> = (0..servers).flat_map(|index| shards_of(index, servers)).collect();
            assert_eq!(all, (0..SHARDS).collect::<Vec<_>>());
        }
        assert_eq!(shards_of(1, 2), (8..16).collect::<Vec<_>>());
    }
}
