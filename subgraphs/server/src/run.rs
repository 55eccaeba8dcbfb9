//! Running the API, the projectors, or both, until the process is told to end.

use crate::{
    DOMAINS,
    connections::{Connections, Origin, part},
};
use anyhow::{Context as _, bail};
use axum::{Router, middleware};
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
    let api = &config.api;
    let (drain, notice, keep_alive) = (api.drain_ms, api.notice_ms, api.keep_alive_ms);
    let [drain, notice, keep_alive] = [drain, notice, keep_alive].map(Duration::from_millis);
    let listener = TcpListener::bind(api.listen).await.with_context(|| format!("listening on {}", api.listen))?;
    tracing::info!(listen = %api.listen, serve = roles.serve, project = roles.project, "start");
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
    let ending = CancellationToken::new();
    let told = ending.clone();
    tokio::spawn(async move {
        process::ended().await;
        tracing::info!("drain");
        told.cancel();
    });
    let routes = routes(&parts, roles, telemetry.metrics.clone(), &ending)?;
    let routes = routes.layer(middleware::from_fn_with_state(ending.clone(), part));
    let (connections, closing) = (Connections::new(), CancellationToken::new());
    let closed = closing.clone().cancelled_owned();
    let served = axum::serve(connections.accepted_by(listener), routes.into_make_service_with_connect_info::<Origin>())
        .with_graceful_shutdown(closed);
    let parting = async {
        ending.cancelled().await;
        connections.left(notice, keep_alive).await;
        closing.cancel();
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = served.into_future() => served?,
        () = parting => {}
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

fn routes(
    parts: &Parts,
    roles: Roles,
    metrics: PrometheusHandle,
    ending: &CancellationToken,
) -> anyhow::Result<Router> {
    let (store, ending) = (parts.shared.store.clone(), ending.clone());
    let ready = move || {
        let (store, ending) = (store.clone(), ending.clone());
        async move {
            if ending.is_cancelled() {
                return Err("the process is about to end".to_owned());
            }
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
