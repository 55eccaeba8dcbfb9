//! Configuration of `velvet.limits.rates`. `docs/limits.md` says what each limit is for.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tower::BoxError;
use velvet_edge::rate::Limit;

/// How often callers may ask. Partners have limits of their own, which the registry says.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RatesConfig {
    /// Where all routers count together; a comma between the members of a cluster. Without it each counts its share.
    pub redis_urls: String,
    /// How long a request waits for Redis; then the router decides by its share.
    pub redis_timeout_ms: u64,
    /// How many routers share the limits when they cannot count together.
    pub routers: NonZeroU64,
    /// Buckets kept in the process, and refusals remembered; beyond, some are forgotten.
    pub buckets_max: usize,
    /// For callers with a token, each user by itself.
    pub per_viewer: RateConfig,
    /// For callers without a key, each address by itself; only with a header that can be trusted.
    pub per_address: Option<AddressConfig>,
    /// For single operations: by the name, or by the SHA-256 of the text, or by the id that it is registered under.
    pub operations: BTreeMap<String, OperationConfig>,
}

/// A limit in requests and one in cost; `null` turns one off.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RateConfig {
    /// Requests.
    pub requests: Option<Rate>,
    /// The operations' estimated costs.
    pub cost: Option<Rate>,
}

/// Callers by their address.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressConfig {
    /// The header that the ingress sets, in lowercase, such as `x-forwarded-for`. What a client sends of it must not get
    /// through.
    pub header: String,
    /// Which address of the header is the client's, from the right: as many as proxies add one.
    #[serde(default = "one_proxy")]
    pub proxies: NonZeroU64,
    /// Requests.
    #[serde(default = "requests_by_default")]
    pub requests: Option<Rate>,
    /// The operations' estimated costs.
    #[serde(default = "cost_by_default")]
    pub cost: Option<Rate>,
}

/// A limit of one operation.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationConfig {
    /// Whose calls are counted together.
    #[serde(default)]
    pub per: Per,
    /// Calls.
    #[serde(default)]
    pub requests: Option<Rate>,
    /// Their estimated costs.
    #[serde(default)]
    pub cost: Option<Rate>,
}

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each key's, each user's, or each address' by themselves.
    #[default]
    Caller,
    /// All of them.
    Everybody,
}

/// So many in a time in the long run.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU64,
    /// In how many seconds.
    #[serde(default = "one_second")]
    pub seconds: NonZeroU64,
    /// How many at once; as many as `count` unless stated.
    #[serde(default)]
    pub burst: Option<NonZeroU64>,
}

impl Rate {
    const fn of(count: u64, seconds: u64, burst: u64) -> Option<Self> {
        match (NonZeroU64::new(count), NonZeroU64::new(seconds)) {
            (Some(count), Some(seconds)) => Some(Self { count, seconds, burst: NonZeroU64::new(burst) }),
            _ => None,
        }
    }

    /// Fails for numbers that cannot be counted.
    pub(super) fn limit(&self) -> Result<Limit, BoxError> {
        let burst = self.burst.unwrap_or(self.count).get();
        let limit = Limit::new(self.count.get(), Duration::from_secs(self.seconds.get()), burst);
        limit.ok_or_else(|| format!("velvet.limits: a rate of {self:?} cannot be counted").into())
    }
}

impl RatesConfig {
    pub(super) fn redis_urls(&self) -> Vec<String> {
        self.redis_urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
    }
}

impl Default for RatesConfig {
    fn default() -> Self {
        Self {
            redis_urls: String::new(),
            redis_timeout_ms: 50,
            routers: NonZeroU64::MIN,
            buckets_max: 100_000,
            per_viewer: RateConfig::default(),
            per_address: None,
            operations: BTreeMap::new(),
        }
    }
}

impl Default for RateConfig {
    /// Nobody's app comes near; a script that does not stop does.
    fn default() -> Self {
        Self { requests: requests_by_default(), cost: cost_by_default() }
    }
}

fn one_second() -> NonZeroU64 {
    NonZeroU64::MIN
}

fn one_proxy() -> NonZeroU64 {
    NonZeroU64::MIN
}

fn requests_by_default() -> Option<Rate> {
    Rate::of(500, 1, 5_000)
}

fn cost_by_default() -> Option<Rate> {
    Rate::of(6_000_000, 60, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_stated_has_a_default_and_null_is_no_limit() {
        let config: RatesConfig = serde_yaml::from_str("{per_address: {header: x-forwarded-for, cost: null}}").unwrap();
        let address = config.per_address.unwrap();
        assert!(address.requests.is_some() && address.cost.is_none());
        assert_eq!((config.redis_timeout_ms, config.routers.get()), (50, 1));
        assert!(config.per_viewer.requests.is_some());
        let config: RatesConfig =
            serde_yaml::from_str("{redis_urls: 'redis://a:1, redis://b:2', per_viewer: {requests: null}}").unwrap();
        assert_eq!(config.redis_urls(), ["redis://a:1", "redis://b:2"]);
        assert!(config.per_viewer.requests.is_none() && config.per_viewer.cost.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for unknown in [
            "{redis: a}",
            "{routers: 0}",
            "{per_viewer: {request: null}}",
            "{per_viewer: {requests: {count: 0}}}",
            "{per_viewer: {requests: {seconds: 1}}}",
            "{per_address: {}}",
            "{operations: {A: {per: nobody}}}",
        ] {
            assert!(serde_yaml::from_str::<RatesConfig>(unknown).is_err(), "{unknown}");
        }
        let endless = Rate::of(1, u64::MAX, 0).unwrap();
        assert!(endless.limit().is_err());
    }
}
