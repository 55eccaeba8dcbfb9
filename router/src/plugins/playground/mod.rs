//! `velvet.playground`: `GraphiQL` at `/`, from files on disk, without a network.

mod config;

use std::path::Path;
use std::sync::Arc;

use apollo_router::plugin::{Plugin, PluginInit};
use apollo_router::services::router;
use apollo_router::{Endpoint, ListenAddr, register_plugin};
use bytes::Bytes;
use http::{StatusCode, header};
use multimap::MultiMap;
use tower::{BoxError, ServiceExt as _, service_fn};

use crate::plugins::drain;
use config::PlaygroundConfig;

const PAGE_PATH: &str = "/";
const ASSETS_PATH: &str = "/playground/{file}";

/// The files of a built page and their types. Nothing else on disk can be asked for.
const ASSETS: [(&str, &str); 2] =
    [("playground.js", "text/javascript; charset=utf-8"), ("playground.css", "text/css; charset=utf-8")];

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// The page talks to the router alone; `GraphiQL` styles itself inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'";

struct Playground {
    config: Arc<PlaygroundConfig>,
}

struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

#[async_trait::async_trait]
impl Plugin for Playground {
    type Config = PlaygroundConfig;

    async fn new(init: PluginInit<PlaygroundConfig>) -> Result<Self, BoxError> {
        Ok(Self { config: Arc::new(init.config) })
    }

    fn web_endpoints(&self) -> MultiMap<ListenAddr, Endpoint> {
        let endpoint = |path: &str| {
            Endpoint::from_router_service(path.to_owned(), drain::parting(service(Arc::clone(&self.config))))
        };
        let listen = ListenAddr::from(self.config.listen);
        MultiMap::from_iter([(listen.clone(), endpoint(PAGE_PATH)), (listen, endpoint(ASSETS_PATH))])
    }
}

fn service(config: Arc<PlaygroundConfig>) -> router::BoxService {
    service_fn(move |request: router::Request| {
        let config = Arc::clone(&config);
        async move {
            let answer = answer(&config, request.router_request.uri().path()).await;
            let response = http::Response::builder()
                .status(answer.status)
                .header(header::CONTENT_TYPE, answer.content_type)
                .header(header::CACHE_CONTROL, "no-cache")
                .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
                .header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)
                .body(router::body::from_bytes(answer.body))?;
            router::Response::http_response_builder().context(request.context).response(response).build()
        }
    })
    .boxed()
}

async fn answer(config: &PlaygroundConfig, path: &str) -> Answer {
    if path == PAGE_PATH {
        return page(config).await;
    }
    let asset = ASSETS.iter().find(|(name, _)| path.rsplit('/').next() == Some(*name));
    if let Some((name, content_type)) = asset
        && let Ok(file) = tokio::fs::read(config.assets_dir.join(name)).await
    {
        return Answer { status: StatusCode::OK, content_type, body: file.into() };
    }
    Answer { status: StatusCode::NOT_FOUND, content_type: PLAIN, body: Bytes::from_static(b"There is no such file.\n") }
}

async fn page(config: &PlaygroundConfig) -> Answer {
    let template =
        if built(&config.assets_dir).await { include_str!("page.html") } else { include_str!("unbuilt.html") };
    let html = template
        .replace("{{graphql_path}}", &escaped(&config.graphql_path))
        .replace("{{socket_path}}", &escaped(&config.socket_path));
    Answer { status: StatusCode::OK, content_type: HTML, body: html.into() }
}

async fn built(folder: &Path) -> bool {
    for (name, _) in ASSETS {
        if !tokio::fs::try_exists(folder.join(name)).await.unwrap_or(false) {
            return false;
        }
    }
    true
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

register_plugin!("velvet", "playground", Playground);

#[cfg(test)]
mod tests {
    use super::*;

    fn config(assets_dir: &Path) -> PlaygroundConfig {
        serde_json::from_value(serde_json::json!({ "listen": "127.0.0.1:4000", "assets_dir": assets_dir })).unwrap()
    }

    #[tokio::test]
    async fn only_the_pages_own_files_are_served() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("playground.js"), "js").unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        let config = config(folder.path());
        let status = async |path: &str| answer(&config, path).await.status;
        assert_eq!(status("/playground/playground.js").await, StatusCode::OK);
        for path in ["/playground/secret", "/playground/..%2fsecret", "/playground/playground.css"] {
            assert_eq!(status(path).await, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn a_page_that_is_not_built_says_how() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let text = |answer: Answer| String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(text(answer(&config, "/").await).contains("npm ci"));
        for (name, _) in ASSETS {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        assert!(text(answer(&config, "/").await).contains("data-socket-path=\"/ws\""));
    }
}
