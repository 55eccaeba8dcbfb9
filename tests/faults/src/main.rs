//! `velvet-faults`: what `dev/faults` runs on a stack that `velvet-stack` has started.

#![expect(clippy::disallowed_methods, reason = "without a seed, one is made up")]

use anyhow::{Context, Result};
use clap::Parser;
use std::{process::ExitCode, time::Duration};
use velvet_faults::run::{self, Plan};
use velvet_kit::Handle;

#[derive(Debug, Parser)]
#[command(name = "velvet-faults", about = "Breaks a running stack by a seed, and checks what is left")]
struct Arguments {
    /// The seed; a fresh one when left out.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds to run, from the given one on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// How long each of them lasts, not counting how long it takes to heal.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// How many people live.
    #[arg(long, default_value_t = 10)]
    people: u64,
    /// Breaks nothing: the checker must be content.
    #[arg(long)]
    calm: bool,
    /// Leaves out wiping Redis at the end.
    #[arg(long)]
    no_rebuild: bool,
    /// A bug has been planted: it is a failure when no seed refutes.
    #[arg(long)]
    expect_refuted: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let first = arguments.seed.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    let mut refuted = Vec::new();
    for seed in first..first + arguments.seeds {
        let plan = Plan {
            seed,
            length: Duration::try_from_secs_f64(arguments.minutes * 60.0).context("reading --minutes")?,
            people: arguments.people,
            rebuild: !arguments.no_rebuild,
            breaks: arguments.calm.then(Vec::new),
        };
        let report = run::run(&stack, &plan).await.with_context(|| format!("seed {seed}"))?;
        println!("seed {seed}: {}", report.summary());
        match report.story() {
            None => println!("seed {seed}: all invariants hold"),
            Some(story) => {
                println!("seed {seed}: {} refutations\n{story}", report.refutations.len());
                refuted.push(seed);
                if arguments.expect_refuted {
                    break;
                }
            }
        }
    }
    match (arguments.expect_refuted, refuted.is_empty()) {
        (true, true) => println!("no seed refutes what is known to be wrong"),
        (false, false) => println!("refuted by the seeds {refuted:?}"),
        _ => return Ok(ExitCode::SUCCESS),
    }
    Ok(ExitCode::FAILURE)
}
