//! Redis has lost everything: before an API starts, and while people read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use velvet_kit::servers::redis::open_url;
use velvet_kit::{Handle, until};

use super::people::deck_target;
use crate::bench::{Bench, say};
use crate::plan::ColdStart;
use crate::population::{self, Members};
use crate::report::Row;
use crate::schedule::{Step, exact, open_loop};
use crate::steps::moderate_at;

/// The first part of a load in which Redis is still whole.
const WHOLE: Duration = Duration::from_secs(1);
const WIPED_WITHIN: Duration = Duration::from_secs(20);
/// A failure this close to the end of a load says nothing of when failures end.
const AT_THE_END: f64 = 1.0;

pub async fn measure(bench: &mut Bench, name: &str, plan: &ColdStart) -> Result<()> {
    let members = population::members(&bench.handle, plan.people, plan.people).await?;
    decks(bench, name, "deck, before", &members, plan).await?;
    let started = start_cold(bench, name, plan).await;
    if !bench.handle.api().is_running().await? {
        bench.restart("api").await?;
    }
    started?;
    decks(bench, name, "deck, right after the cold start", &members, plan).await?;
    wipe_under_load(bench, name, &members, plan).await
}

/// The API is started with an empty Redis; how long until it serves.
async fn start_cold(bench: &mut Bench, name: &str, plan: &ColdStart) -> Result<()> {
    say(&format!("{name}: the API starts with an empty Redis"));
    let handle = bench.handle.clone();
    handle.api().stop().await?;
    wipe(&handle).await?;
    let used = bench.used().await;
    let started = Instant::now();
    handle.api().spawn().await?;
    ready(&handle, Duration::from_secs(plan.ready_within_seconds)).await?;
    let took = started.elapsed().as_secs_f64();
    if let Some(pid) = handle.api().pid().await? {
        bench.pids.insert("api".to_owned(), pid);
    }
    let rows = rows(&handle).await?;
    let writer = used.until(&bench.used().await, 1).cpu_us("writer").unwrap_or_default() / 1e6;
    let row = Row::new(name, "API ready after a start with an empty Redis").rate(exact(rows) / took).value(took, "s");
    bench.add(row.note(format!("{rows} rows of users, matches, conversations and messages; writer cpu {writer:.1} s")));
    Ok(())
}

/// All keys of all masters; they are freed behind the answer, which a large one would otherwise miss its time for.
async fn wipe(handle: &Handle) -> Result<()> {
    for url in &handle.info.redis_urls {
        until("Redis is wiped", WIPED_WITHIN, || async {
            let mut connection = open_url(url).await?;
            let wiped: redis::RedisResult<String> =
                redis::cmd("FLUSHALL").arg("ASYNC").query_async(&mut connection).await;
            wiped.map(drop).with_context(|| format!("wiping {url}"))
        })
        .await?;
    }
    Ok(())
}

async fn ready(handle: &Handle, within: Duration) -> Result<()> {
    let url = format!("{}/ready", handle.info.api_url);
    until("the API is ready", within, || async {
        let answer = reqwest::get(&url).await.context("asking whether it is ready")?;
        if answer.status().is_success() { Ok(()) } else { bail!("{}", answer.status()) }
    })
    .await
}

/// What there is to rebuild, roughly.
async fn rows(handle: &Handle) -> Result<u64> {
    let servers = handle.info.postgres.len();
    let mut rows = 0;
    for server in 0..servers {
        let counts = crate::shards::schemas_of(server, servers).into_iter().flat_map(|schema| {
            ["users", "matches", "conversations", "messages"]
                .map(|table| format!("SELECT count(*) AS n FROM {schema}.{table}"))
        });
        let counts: Vec<String> = counts.collect();
        let sum = format!("SELECT sum(n)::bigint AS n FROM ({}) AS counts", counts.join(" UNION ALL "));
        rows += handle.database(server)?.value(&sum).await?.as_u64().unwrap_or_default();
    }
    Ok(rows)
}

async fn decks(bench: &mut Bench, name: &str, what: &str, members: &Members, plan: &ColdStart) -> Result<()> {
    let target = deck_target(bench, members, name, what)?;
    moderate_at(bench, &target, plan.rate, Duration::from_secs(plan.seconds)).await
}

/// Everything is taken out of Redis while people read; for how long answers fail.
async fn wipe_under_load(bench: &mut Bench, name: &str, members: &Members, plan: &ColdStart) -> Result<()> {
    say(&format!("{name}: Redis is wiped under load"));
    let send = deck_target(bench, members, name, "")?.send;
    let length = Duration::from_secs(plan.wiped_seconds);
    let failed: Arc<Mutex<Option<(Instant, Instant)>>> = Arc::default();
    let noted = Arc::clone(&failed);
    let step = Step::new(plan.rate, Duration::ZERO, length);
    let handle = bench.handle.clone();
    let load = open_loop(&step, |due| {
        let (answer, failed) = (send(due.index), Arc::clone(&noted));
        async move {
            let answer = answer.await;
            if answer.is_err() {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                // From when the first one was due to when the last one failed.
                let first = failed.map_or(due.at, |(first, _)| first.min(due.at));
                *failed = Some((first, Instant::now()));
            }
            answer
        }
    });
    let wipe = async {
        tokio::time::sleep(WHOLE).await;
        wipe(&handle).await
    };
    let (outcome, wiped) = tokio::join!(load, wipe);
    wiped?;
    ready(&bench.handle, Duration::from_secs(plan.ready_within_seconds)).await?;
    let failed = *failed.lock().unwrap_or_else(PoisonError::into_inner);
    let away = failed.map_or(0.0, |(first, last)| last.saturating_duration_since(first).as_secs_f64());
    let mut row =
        Row::new(name, "deck, Redis wiped meanwhile").outcome(&outcome).value(away, "s until the last failed answer");
    if away + WHOLE.as_secs_f64() + AT_THE_END >= length.as_secs_f64() {
        row = row.note("still failing at the end");
    }
    bench.add(row);
    Ok(())
}
