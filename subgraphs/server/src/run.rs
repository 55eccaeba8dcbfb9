//! Running the API, the projectors, or both, until the process is told to end.

use crate::DOMAINS;
use anyhow::{Context as _, bail};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header::CONNECTION},
    middleware::{self, Next},
    response::Response,
};
use metrics_exporter_prometheus::PrometheusHandle;
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use velvet_kernel::{
    api::{Serve, health_routes},
    config::Config,
    domain::Domain,
    log::Log,
    process,
    project::{Keeper, Shared, Watermarks},
    telemetry,
    time::SystemClock,
};

/// How long a process that is to end takes connections and answers on those that are kept, before it closes them.
const LINGER: Duration = Duration::from_millis(500);

/// What a process does.
#[derive(Debug, Clone, Copy)]
pub struct Roles {
    /// Serves the API.
    pub serve: bool,
    /// Projects.
    pub project: bool,
}

/// What both roles work with.
pub struct Parts {
    /// For the API.
    pub serve: Serve,
    /// For the projectors.
    pub shared: Shared,
    /// The domains of this process.
    pub domains: Vec<Domain>,
}

/// Connects to Redis and Kafka.
pub async fn connect(config: Config, stop: &CancellationToken) -> anyhow::Result<Parts> {
    let domains = chosen(&config)?;
    let config = Arc::new(config);
    let store = process::connect_store(&config.redis).await?;
    let log = Log::connect(&config.kafka).context("making the producer")?;
    let names: Vec<&'static str> = domains.iter().map(|domain| domain.name).collect();
    let watermarks = Arc::new(Watermarks::follow(&store, &names, config.kafka.partitions, stop));
    let mut serve = Serve::new(Arc::clone(&config), store.clone(), log.clone(), watermarks, Arc::new(SystemClock))?;
    if names.contains(&velvet_accounts::DOMAIN.name) {
        serve.activity = Some(velvet_accounts::activity(&serve));
    }
    let shared = Shared { log, store, config, stop: stop.clone() };
    Ok(Parts { serve, shared, domains })
}

fn chosen(config: &Config) -> anyhow::Result<Vec<Domain>> {
    if config.api.domains.is_empty() {
        return Ok(DOMAINS.to_vec());
    }
    config
        .api
        .domains
        .iter()
        .map(|name| match DOMAINS.iter().find(|domain| domain.name == name) {
            Some(domain) => Ok(*domain),
            None => bail!("api.domains names {name}, which there is not"),
        })
        .collect()
}

/// Runs the roles until SIGTERM or SIGINT, then drains.
pub async fn run(config: Config, roles: Roles) -> anyhow::Result<()> {
    let telemetry = telemetry::start(&config.telemetry, "velvet")?;
    let drain = Duration::from_millis(config.api.drain_ms);
    let listener =
        TcpListener::bind(config.api.listen).await.with_context(|| format!("listening on {}", config.api.listen))?;
    tracing::info!(listen = %config.api.listen, serve = roles.serve, project = roles.project, "start");
    let stop = CancellationToken::new();
    let parts = connect(config, &stop).await?;
    let mut loops = JoinSet::new();
    if roles.project {
        for domain in &parts.domains {
            for work in (domain.project)(&parts.shared)? {
                loops.spawn(work);
            }
        }
        loops.spawn(Keeper::new(parts.shared.clone()).run());
    }
    let routes = routes(&parts, roles, telemetry.metrics.clone())?;
    let ending = CancellationToken::new();
    let told = ending.clone();
    tokio::spawn(async move {
        process::ended().await;
        tracing::info!("drain");
        told.cancel();
    });
    let routes = routes.layer(middleware::from_fn_with_state(ending.clone(), say_close));
    let lingered = ending.clone();
    let served = axum::serve(listener, routes).with_graceful_shutdown(async move {
        lingered.cancelled().await;
        tokio::time::sleep(LINGER.min(drain)).await;
    });
    tokio::select! {
        served = served.into_future() => served?,
        () = async { ending.cancelled().await; tokio::time::sleep(drain).await } => {}
    }
    // Only now: open requests wait for what this process itself may be the one to project.
    stop.cancel();
    let drained = tokio::time::timeout(drain, async { while loops.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        // What was not finished is folded again by the next process.
        tracing::warn!("drain.incomplete");
    }
    Ok(())
}

/// Once the process is to end, each answer says that its connection ends with it. So whoever keeps connections gives them
/// up when nothing is on its way; closing one that he believes to be free may meet the request that he has just sent.
async fn say_close(State(ending): State<CancellationToken>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    // An upgraded connection is no longer one of requests and answers.
    if ending.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn routes(parts: &Parts, roles: Roles, metrics: PrometheusHandle) -> anyhow::Result<Router> {
    let store = parts.shared.store.clone();
    let ready = move || {
        let store = store.clone();
        async move {
            match store.epoch().await {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("Redis is being rebuilt".to_owned()),
                Err(_) => Err("Redis does not answer".to_owned()),
            }
        }
    };
    let mut routes = health_routes(metrics, ready);
    if roles.serve {
        for domain in &parts.domains {
            routes = routes.merge((domain.serve)(&parts.serve)?.routes);
        }
    }
    Ok(routes)
}
