//! Configuration of `velvet.playground`.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// `GraphiQL` for people who open the router in a browser.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaygroundConfig {
    /// Where the page is served: the same as `supergraph.listen`.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The folder with the built page, `router/playground/dist` after `npm ci && npm run build` there.
    pub assets_dir: PathBuf,
    /// The path of the GraphQL endpoint: the same as `supergraph.path`.
    #[serde(default = "graphql_path")]
    pub graphql_path: String,
    /// The path of the WebSocket: the same as the `path` of `velvet.subscriptions`.
    #[serde(default = "socket_path")]
    pub socket_path: String,
}

fn graphql_path() -> String {
    "/graphql".to_owned()
}

fn socket_path() -> String {
    "/ws".to_owned()
}
