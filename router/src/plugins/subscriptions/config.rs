//! Configuration of `velvet.subscriptions`. Every bound has a default that suits one router process on 2 cores.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// Subscriptions over WebSocket (graphql-transport-ws), and queries and mutations over the same socket. Subscriptions
/// over HTTP (graphql-sse, multipart) are served on the graph's own path, within the same bounds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionsConfig {
    /// Where the socket is served: the same as `supergraph.listen`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The socket's path.
    #[serde(default = "path")]
    pub path: String,
    /// Where subgraphs are, by name. Those that are not named are taken from the supergraph's schema.
    #[serde(default)]
    pub subgraphs: HashMap<String, SubgraphConfig>,
    /// Bounds of the clients' sockets and streams.
    #[serde(default)]
    pub client: ClientConfig,
    /// The sockets to the subgraphs.
    #[serde(default)]
    pub upstream: UpstreamConfig,
    /// Planning and the work per event.
    #[serde(default)]
    pub execution: ExecutionConfig,
    /// How sockets end when the process stops or its configuration is replaced.
    #[serde(default)]
    pub drain: DrainConfig,
}

/// Where one subgraph is. The same address belongs in `override_subgraph_url`, which this plugin cannot see.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SubgraphConfig {
    /// Its GraphQL endpoint over HTTP, for the entities of events.
    pub url: Option<String>,
    /// Its endpoint for graphql-transport-ws. When absent: `url` with `ws` or `wss` as its scheme and `/ws` in place
    /// of the trailing `/graphql`.
    pub ws_url: Option<String>,
}

/// Bounds of the clients' sockets and streams.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientConfig {
    /// Open sockets and streams in the process; beyond, an upgrade or a request is answered with 503.
    pub sockets_max: usize,
    /// Open sockets and streams of one viewer; beyond, a socket is closed with 1013 and a request answered with 429.
    pub sockets_per_viewer_max: usize,
    /// The same for one key of a partner, whoever the viewers are.
    pub sockets_per_key_max: usize,
    /// Running operations on one socket; beyond, an operation is refused with `RATE_LIMITED`.
    pub operations_max: usize,
    /// Running operations of one viewer on all sockets and streams; beyond, an operation is refused with `RATE_LIMITED`.
    pub operations_per_viewer_max: usize,
    /// The same for one key of a partner, whoever the viewers are.
    pub operations_per_key_max: usize,
    /// How long a socket may be open without `connection_init`.
    pub init_timeout_ms: u64,
    /// How often a socket is pinged, and how long a stream is silent before its client gets a sign of life.
    pub ping_interval_ms: u64,
    /// How long after a ping the client may be silent, or after a sign of life take nothing.
    pub pong_timeout_ms: u64,
    /// The largest message that a client may send.
    pub message_bytes_max: usize,
    /// What may wait for a client that reads slowly. Beyond, the socket or stream ends with 4008 and the client resumes
    /// by its cursors.
    pub queue_bytes_max: usize,
    /// The buffer that each socket reads into. It is held for as long as the socket is open.
    pub read_buffer_bytes: usize,
    /// How long a closing socket may take to accept its close frame and to answer it.
    pub close_grace_ms: u64,
}

/// The sockets to the subgraphs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// Sockets per subgraph, at most; operations are spread over as many as they need.
    pub sockets_per_subgraph: usize,
    /// How long connecting, and then the subgraph's `connection_ack`, may take.
    pub connect_timeout_ms: u64,
    /// How often a subgraph is pinged.
    pub ping_interval_ms: u64,
    /// How long after a ping a subgraph may be silent.
    pub pong_timeout_ms: u64,
    /// How long a socket without operations is kept.
    pub idle_timeout_ms: u64,
    /// The first wait before a lost socket is opened again; it doubles with each failure.
    pub backoff_min_ms: u64,
    /// The longest wait between two tries.
    pub backoff_max_ms: u64,
    /// How long a subgraph may be away before its operations end with `UNAVAILABLE`.
    pub outage_max_ms: u64,
    /// The largest message that a subgraph may send.
    pub message_bytes_max: usize,
}

/// Planning and the work per event.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExecutionConfig {
    /// Plans kept, by operation; the one unused for longest goes first.
    pub plans_max: usize,
    /// Operations planned at once. Planning takes a processor.
    pub planning_max: usize,
    /// Subscriptions started at once, of those whose plan is known; others wait, in order. When very many come back at
    /// once, what those say who are there already is read in between.
    pub starts_max: usize,
    /// Events executed at once; others wait, in order, within their sockets' bounds.
    pub events_max: usize,
    /// How long one fetch from a subgraph may take within an event.
    pub fetch_timeout_ms: u64,
    /// An event comes once: while a subgraph answers `UNAVAILABLE`, the event waits for it this long. Longer than a
    /// rebuild of the subgraphs' views, so that their loss is a pause for clients and no hole.
    pub event_patience_ms: u64,
    /// How long a query or mutation over the socket may take.
    pub request_timeout_ms: u64,
}

/// How sockets end when the process stops or its configuration is replaced.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainConfig {
    /// After a reload, sockets and streams of the old schema are closed one by one over this time, so that clients do
    /// not all come back at once. Less than `supergraph.connection_shutdown_timeout`, which cuts the streams off.
    pub retire_window_ms: u64,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            sockets_max: 200_000,
            sockets_per_viewer_max: 32,
            sockets_per_key_max: 1_000,
            operations_max: 100,
            operations_per_viewer_max: 400,
            operations_per_key_max: 10_000,
            init_timeout_ms: 5_000,
            ping_interval_ms: 25_000,
            pong_timeout_ms: 10_000,
            message_bytes_max: 256 * 1024,
            queue_bytes_max: 512 * 1024,
            read_buffer_bytes: 1024,
            close_grace_ms: 3_000,
        }
    }
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            sockets_per_subgraph: 1_024,
            connect_timeout_ms: 5_000,
            ping_interval_ms: 10_000,
            pong_timeout_ms: 10_000,
            idle_timeout_ms: 30_000,
            backoff_min_ms: 50,
            backoff_max_ms: 5_000,
            outage_max_ms: 300_000,
            message_bytes_max: 4 * 1024 * 1024,
        }
    }
}

impl Default for ExecutionConfig {
    fn default() -> Self {
        Self {
            plans_max: 512,
            planning_max: 2,
            starts_max: 64,
            events_max: 256,
            fetch_timeout_ms: 10_000,
            event_patience_ms: 60_000,
            request_timeout_ms: 60_000,
        }
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { retire_window_ms: 20_000 }
    }
}

fn path() -> String {
    "/ws".to_owned()
}

/// A configured number of milliseconds.
pub(super) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_refused_and_the_rest_has_defaults() {
        let config: SubscriptionsConfig = serde_yaml::from_str("listen: 127.0.0.1:4000").unwrap();
        assert_eq!(config.path, "/ws");
        assert_eq!(config.client.operations_max, 100);
        let unknown = "{listen: '127.0.0.1:4000', client: {sokets_max: 1}}";
        assert!(serde_yaml::from_str::<SubscriptionsConfig>(unknown).is_err());
    }
}
