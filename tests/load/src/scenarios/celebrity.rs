//! Very many like one person: how fast that is folded, what becomes of the celebrity's own screens, and likes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use velvet_kit::servers::redis::open_url;
use velvet_kit::until;

use super::people::deck_target;
use super::swipe::SWIPE;
use crate::bench::{Bench, Place, say};
use crate::graph::{ask, body};
use crate::plan::Celebrity;
use crate::population::{self, Members, SWIPES, folded, now, swipe};
use crate::raw::kafka::{Kafka, Record, per_second};
use crate::report::Row;
use crate::schedule::{Step, exact, open_loop};
use crate::steps::moderate_at;

/// Likes that are made and appended at a time.
const CHUNK: u32 = 20_000;
const LIKE_BACK_PER_SECOND: f64 = 50.0;
const MIB: f64 = 1_048_576.0;

pub async fn measure(bench: &mut Bench, name: &str, plan: &Celebrity) -> Result<()> {
    let people = population::ids(&bench.handle, plan.likes_back + 1, plan.likes.saturating_add(1)).await?;
    let celebrity = population::sign(&bench.handle, people[..1].to_vec())?;
    deck(bench, name, "the celebrity's deck, before", &celebrity, plan).await?;
    like(bench, name, &people, plan).await?;
    deck(bench, name, "the celebrity's deck, after", &celebrity, plan).await?;
    if plan.likes_back > 0 {
        like_back(bench, name, &celebrity, &people, plan.likes_back).await?;
    }
    Ok(())
}

async fn deck(bench: &mut Bench, name: &str, what: &str, celebrity: &Members, plan: &Celebrity) -> Result<()> {
    let target = deck_target(bench, celebrity, name, what)?;
    moderate_at(bench, &target, plan.rate, Duration::from_secs(plan.seconds)).await
}

/// Likes straight to the log, as the API would append them; those beyond the population are of people whom nobody knows.
async fn like(bench: &mut Bench, name: &str, people: &[String], plan: &Celebrity) -> Result<()> {
    say(&format!("{name}: {} people like one", plan.likes));
    let kafka = Kafka::connect(&bench.handle.info.kafka_brokers)?;
    let partitions = kafka.partitions(SWIPES)?;
    let (base, memory) = (folded(bench, "matching").await?, redis_bytes(bench).await?);
    let before = bench.used().await;
    let started = Instant::now();
    let mut first = 0;
    while first < plan.likes {
        let last = plan.likes.min(first + CHUNK);
        let at = now();
        let record = |like: u32| -> Record {
            let liker = people.get(like as usize + 1).cloned();
            let liker = liker.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            swipe(&liker, &people[0], &plan.action, &at)
        };
        let records: Vec<Record> = (first..last).map(record).collect();
        kafka.append(SWIPES, partitions, &records).await?;
        first = last;
    }
    let appended = started.elapsed();
    let wanted = base + exact(u64::from(plan.likes));
    until("all likes are folded", bench.left(), || async {
        let done = folded(bench, "matching").await?;
        if done >= wanted { Ok(()) } else { bail!("{} of {}", done - base, plan.likes) }
    })
    .await?;
    let took = started.elapsed().as_secs_f64();
    let uses = before.until(&bench.used().await, u64::from(plan.likes));
    let raw = per_second(plan.likes as usize, appended.as_secs_f64());
    let grown = (redis_bytes(bench).await? - memory) / exact(u64::from(plan.likes));
    let known = (people.len() - 1).min(plan.likes as usize);
    let row = Row::new(name, format!("likes folded ({})", plan.action)).rate(per_second(plan.likes as usize, took));
    let row = row.beside(Some(raw)).uses(uses).value(grown, "bytes of Redis each");
    bench.add(row.note(format!("{} likes, of {known} people of the population; of their append to Kafka", plan.likes)));
    for (key, bytes) in largest(bench, &people[0]).await? {
        bench.add(Row::new(name, format!("the celebrity's {key}")).value(bytes / MIB, "MiB of Redis"));
    }
    Ok(())
}

/// Each of these likes meets one that has been there.
async fn like_back(bench: &mut Bench, name: &str, celebrity: &Members, people: &[String], count: u32) -> Result<()> {
    let client = bench.client(&Place::Router)?.bearer(&celebrity[0].token);
    let matches = Arc::new(AtomicU64::new(0));
    let step = Step::new(
        LIKE_BACK_PER_SECOND,
        Duration::ZERO,
        Duration::from_secs_f64(f64::from(count) / LIKE_BACK_PER_SECOND),
    );
    let before = bench.used().await;
    let outcome = open_loop(&step, |due| {
        let other = &people[(usize::try_from(due.index).unwrap_or_default() + 1).min(people.len() - 1)];
        let request = body(SWIPE, &json!({ "input": { "userId": other, "action": "LIKE" } }));
        let (client, matches) = (client.clone(), Arc::clone(&matches));
        async move {
            let data = ask(&client, request).await?;
            match data["swipe"]["__typename"].as_str() {
                Some("Swiped") => {
                    matches.fetch_add(u64::from(data["swipe"]["match"].is_object()), Ordering::Relaxed);
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        }
    })
    .await;
    let uses = before.until(&bench.used().await, outcome.ended);
    let note = format!("{} matches of {} likes", matches.load(Ordering::Relaxed), outcome.ended);
    bench.add(Row::new(name, "the celebrity likes back").outcome(&outcome).uses(uses).note(note));
    Ok(())
}

/// What all masters hold.
async fn redis_bytes(bench: &Bench) -> Result<f64> {
    let mut bytes = 0.0;
    for url in &bench.handle.info.redis_urls {
        let mut connection = open_url(url).await?;
        let info: String =
            redis::cmd("INFO").arg("memory").query_async(&mut connection).await.context("asking Redis")?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<f64>().ok());
        bytes += used.unwrap_or_default();
    }
    Ok(bytes)
}

/// What is kept under one person's tag in matching, the largest first.
async fn largest(bench: &Bench, person: &str) -> Result<Vec<(String, f64)>> {
    const SHOWN: usize = 3;
    const PAGE: u32 = 1_000;
    let mut found = Vec::new();
    for url in &bench.handle.info.redis_urls {
        let mut connection = open_url(url).await?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("*{{{person}}}*")).arg("COUNT").arg(PAGE);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut connection).await.context("asking Redis")?;
            for key in keys {
                let usage =
                    redis::cmd("MEMORY").arg("USAGE").arg(&key).query_async::<Option<f64>>(&mut connection).await;
                found.push((key.replace(&format!("{{{person}}}"), "…"), usage.ok().flatten().unwrap_or_default()));
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    found.sort_by(|one, other| other.1.total_cmp(&one.1));
    found.truncate(SHOWN);
    Ok(found)
}
