//! Many sign in with their passwords: what a hash costs is the limit, and who waits too long is told to come later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use argon2::{Algorithm, Argon2, Params, Version};
use serde_json::json;
use velvet_kit::population::PASSWORD;

use crate::bench::{Bench, Place};
use crate::graph::{body, mutate};
use crate::plan::SignIn;
use crate::population;
use crate::report::Row;
use crate::schedule::exact;
use crate::steps::{Target, moderate_at, search};

const LOGIN: &str = "mutation($input: LoginInput!) { login(input: $input) {
    __typename ... on Session { accessToken refreshToken account { user { id } } }
} }";
/// What accounts asks of Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const RAW: Duration = Duration::from_secs(3);

pub async fn measure(bench: &mut Bench, name: &str, plan: &SignIn) -> Result<()> {
    population::ids(&bench.handle, plan.people, plan.people).await?;
    let hashes = tokio::task::spawn_blocking(hashes_per_second).await.context("hashing")??;
    bench.add(Row::new(name, "raw: Argon2id").rate(hashes).note("on all cores, with nothing else to do"));
    let (client, turn, people) = (bench.client(&Place::Router)?, AtomicU64::new(0), u64::from(plan.people));
    let send = move |_| -> futures::future::BoxFuture<'static, _> {
        // The first people of a population are numbered.
        let email = format!("person-{}@demo.velvet.test", turn.fetch_add(1, Ordering::Relaxed) % people);
        let request = body(LOGIN, &json!({ "input": { "email": email, "password": PASSWORD } }));
        let client = client.clone();
        Box::pin(async move { mutate(&client, request, "login", "Session").await })
    };
    let target = Target {
        scenario: name.to_owned(),
        what: "router".to_owned(),
        place: Some(Place::Router),
        send: Arc::new(send),
        prepare: None,
        note: None,
    };
    moderate_at(bench, &target, plan.rate, Duration::from_secs(plan.seconds)).await?;
    // What a sign-in stands beside is a hash and not an echo.
    let echo = bench.echo_per_second.replace(hashes);
    let found = search(bench, &target).await;
    bench.echo_per_second = echo;
    found.map(drop)
}

fn hashes_per_second() -> Result<f64> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(anyhow::Error::msg)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    let work = || {
        let (mut out, mut done) = ([0; 32], 0_u64);
        while started.elapsed() < RAW {
            argon.hash_password_into(PASSWORD.as_bytes(), b"a salt of 16 byt", &mut out).map_err(anyhow::Error::msg)?;
            done += 1;
        }
        anyhow::Ok(done)
    };
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(Ok(0))).sum::<Result<u64>>()
    })?;
    Ok(exact(done) / started.elapsed().as_secs_f64())
}
