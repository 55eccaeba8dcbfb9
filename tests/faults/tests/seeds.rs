//! Short seeds: people live while parts of the stack are broken at random, and every invariant holds after.

use anyhow::{Result, ensure};
use std::time::Duration;
use velvet_faults::run::{Plan, run};
use velvet_kit::Handle;

/// Short, as three of them are part of each check; the nightly run has longer ones.
const LENGTH: Duration = Duration::from_secs(12);

/// What eight people are answered at the least, whatever breaks: they join before anything does.
const ANSWERED: usize = 20;

async fn holds(seed: u64, rebuild: bool) -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let plan = Plan { seed, length: LENGTH, people: 8, rebuild, breaks: None };
    let report = run(&stack, &plan).await?;
    println!("{}", report.summary());
    let acknowledged = report.evidence.fates().iter().filter(|fate| fate.answer.is_some()).count();
    ensure!(acknowledged >= ANSWERED, "{acknowledged} answers say nothing about anything");
    match report.story() {
        None => Ok(()),
        Some(story) => anyhow::bail!("{} refutations\n{story}", report.refutations.len()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_invariant_holds_after_seed_1() -> Result<()> {
    holds(1, true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_invariant_holds_after_seed_2() -> Result<()> {
    holds(2, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_invariant_holds_after_seed_3() -> Result<()> {
    holds(3, false).await
}
