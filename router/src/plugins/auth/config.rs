//! Configuration of `velvet.auth`.

use schemars::JsonSchema;
use serde::Deserialize;

/// Which tokens are good, and where their keys are.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// Address of the issuer's key set (RFC 7517).
    pub jwks_url: String,
    /// The `iss` that a token must have.
    #[serde(default = "velvet")]
    pub issuer: String,
    /// The `aud` that a token must have.
    #[serde(default = "velvet")]
    pub audience: String,
    /// How often the key set is read again, so that a withdrawn key stops working.
    #[serde(default = "refresh_interval_seconds")]
    pub refresh_interval_seconds: u64,
    /// The least time between two reads that tokens with an unknown `kid` cause: forged tokens must not become a
    /// flood at the issuer.
    #[serde(default = "refresh_cooldown_ms")]
    pub refresh_cooldown_ms: u64,
    /// How long one read of the key set may take.
    #[serde(default = "fetch_timeout_ms")]
    pub fetch_timeout_ms: u64,
    /// How far clocks may be apart when `exp` is checked.
    #[serde(default = "leeway_seconds")]
    pub leeway_seconds: u64,
}

fn velvet() -> String {
    "velvet".to_owned()
}

fn refresh_interval_seconds() -> u64 {
    300
}

fn refresh_cooldown_ms() -> u64 {
    3_000
}

fn fetch_timeout_ms() -> u64 {
    2_000
}

fn leeway_seconds() -> u64 {
    0
}
