//! Configuration of `velvet.drain`.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

/// How a router that is to end parts with its clients.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainConfig {
    /// Where balancers ask whether the router is ready: the same as `health_check.listen`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The path there.
    #[serde(default = "path")]
    pub path: String,
    /// How long balancers take to see that the router is not ready: for so long one that is to end takes new connections
    /// and keeps its sockets.
    #[serde(default = "notice_ms")]
    pub notice_ms: u64,
    /// How long a client may keep a connection unused and then send on it: for so long one that is to end leaves it open.
    /// No longer than `server.http.header_read_timeout`, after which unused connections are closed at any time.
    #[serde(default = "keep_alive_ms")]
    pub keep_alive_ms: u64,
}

fn path() -> String {
    "/ready".to_owned()
}

fn notice_ms() -> u64 {
    1_000
}

fn keep_alive_ms() -> u64 {
    10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_refused_and_the_rest_has_defaults() {
        let config: DrainConfig = serde_yaml::from_str("{listen: '127.0.0.1:8088', notice_ms: 5}").unwrap();
        assert_eq!((config.path.as_str(), config.notice_ms, config.keep_alive_ms), ("/ready", 5, 10_000));
        assert!(serde_yaml::from_str::<DrainConfig>("{listen: '127.0.0.1:8088', keep_alive: 5s}").is_err());
    }
}
