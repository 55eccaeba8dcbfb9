//! Configuration of `velvet.partners`.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// API keys, and the operations that may be called by id.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartnersConfig {
    /// Where operations are published and called by address: the same as `supergraph.listen`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The path under which operations are published, and called by `<path>/<id>`.
    #[serde(default = "path")]
    pub path: String,
    /// Where the accounts subgraph's own addresses are: the part before `/accounts/partners/`.
    pub accounts_url: String,
    /// How long one call of the accounts subgraph may take.
    #[serde(default = "accounts_timeout_ms")]
    pub accounts_timeout_ms: u64,
    /// Where the registry of keys and operations is read.
    pub redis: RedisConfig,
    /// Operations of clients without a key.
    #[serde(default)]
    pub first_party: FirstPartyConfig,
    /// Planning of operations that are published, and ahead of their first call.
    #[serde(default)]
    pub planning: PlanningConfig,
    /// Counting of what partners call.
    #[serde(default)]
    pub usage: UsageConfig,
    /// How long a call by address may take.
    #[serde(default = "request_timeout_ms")]
    pub request_timeout_ms: u64,
}

/// Where the registry of keys and operations is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// Addresses with a comma between them: several are a cluster's, one is a single server's.
    pub urls: String,
    /// How often everything is read again, besides following the changes.
    #[serde(default = "reload_interval_seconds")]
    pub reload_interval_seconds: u64,
    /// Keys and partners kept, each; those beyond are not taken, and logged.
    #[serde(default = "keys_max")]
    pub keys_max: usize,
    /// Operations kept; those beyond are not taken, and logged.
    #[serde(default = "operations_max")]
    pub operations_max: usize,
}

impl RedisConfig {
    pub(super) fn list(&self) -> Vec<&str> {
        self.urls.split(',').map(str::trim).filter(|url| !url.is_empty()).collect()
    }
}

/// What clients without a key may call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only registered operations, by id.
    Required,
    /// Everything; what is not registered is logged once per text, by its hash.
    Logged,
    /// Everything.
    #[default]
    Open,
}

/// Operations of clients without a key.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FirstPartyConfig {
    /// What they may call.
    pub mode: Mode,
    /// A folder of manifests (`*.json`, Apollo's or Relay's), read when the router starts or its configuration is
    /// replaced. Empty or absent: no registered operations.
    pub manifests_dir: Option<PathBuf>,
}

/// Planning of operations that are published, and ahead of their first call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlanningConfig {
    /// Manifests looked into at once. Planning takes a processor.
    pub publishing_max: usize,
    /// Registered operations that are planned ahead, after a start and after each change of the schema or of the
    /// registry; 0 turns it off. More than the plan cache holds would push one another out.
    pub ahead_max: usize,
}

/// Counting of what partners call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UsageConfig {
    /// How long an answer waits until its call is counted for good. Then it goes out, and the call is counted later.
    pub wait_ms: u64,
    /// How long calls gather before a batch of them is sent, besides the time for which the one before is on its way:
    /// longer means fewer records in the log and later answers.
    pub linger_ms: u64,
}

impl Default for UsageConfig {
    fn default() -> Self {
        Self { wait_ms: 1_000, linger_ms: 0 }
    }
}

impl Default for PlanningConfig {
    fn default() -> Self {
        Self { publishing_max: 1, ahead_max: 256 }
    }
}

fn path() -> String {
    "/graphql/op".to_owned()
}

fn accounts_timeout_ms() -> u64 {
    5_000
}

fn request_timeout_ms() -> u64 {
    30_000
}

fn reload_interval_seconds() -> u64 {
    300
}

fn keys_max() -> usize {
    100_000
}

fn operations_max() -> usize {
    100_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_refused_and_the_rest_has_defaults() {
        let known = "{listen: '127.0.0.1:4000', accounts_url: 'http://a', redis: {urls: 'redis://a:1, redis://b:2'}}";
        let config: PartnersConfig = serde_yaml::from_str(known).unwrap();
        assert_eq!(config.redis.list(), ["redis://a:1", "redis://b:2"]);
        assert_eq!((config.path.as_str(), config.first_party.mode), ("/graphql/op", Mode::Open));
        for unknown in ["first_party: {modes: open}", "redis: {urls: a, url: a}", "keys: 1"] {
            let text = format!("{{listen: '127.0.0.1:4000', accounts_url: a, redis: {{urls: a}}, {unknown}}}");
            assert!(serde_yaml::from_str::<PartnersConfig>(&text).is_err(), "{unknown}");
        }
    }
}
