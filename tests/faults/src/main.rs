//! `velvet-faults`: what `dev/faults` runs on a stack that `velvet-stack` has started.

#![expect(clippy::disallowed_methods, reason = "without a seed, one is made up")]

use anyhow::{Context, Result};
use clap::Parser;
use std::{fmt, process::ExitCode, time::Duration};
use velvet_faults::{
    nemesis,
    run::{self, Plan},
};
use velvet_kernel::planted::Bug;
use velvet_kit::Handle;

#[derive(Debug, Parser)]
#[command(
    name = "velvet-faults",
    about = "Breaks a running stack by a seed, and checks what is left",
    args_override_self = true
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
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
    /// Prints the names of the bugs that can be planted, and ends.
    #[arg(long)]
    bugs: bool,
}

/// How a seed ended.
enum Ending {
    Held,
    /// The invariants that do not hold.
    Refuted(String),
    /// It could not be judged.
    Broke(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => write!(f, "all invariants hold"),
            Self::Refuted(invariants) => write!(f, "REFUTED: {invariants}"),
            Self::Broke(cause) => write!(f, "COULD NOT BE JUDGED: {cause}"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.bugs {
        for bug in Bug::ALL {
            println!("{}", bug.name());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let first = arguments.seed.unwrap_or_else(|| match arguments.seeds {
        1 => u64::from(uuid::Uuid::new_v4().as_fields().0),
        _ => 1,
    });
    let mut endings = Vec::new();
    for seed in first..first + arguments.seeds {
        let ending = one(&stack, &arguments, seed).await?;
        println!("seed {seed}: {ending}");
        let refuted = matches!(ending, Ending::Refuted(_));
        endings.push((seed, ending));
        if refuted && arguments.expect_refuted {
            break;
        }
    }
    Ok(sum_up(&endings, arguments.expect_refuted))
}

/// Runs a seed. One that breaks off is no reason not to go on with the next.
async fn one(stack: &Handle, arguments: &Arguments, seed: u64) -> Result<Ending> {
    let plan = Plan {
        seed,
        length: Duration::try_from_secs_f64(arguments.minutes * 60.0).context("reading --minutes")?,
        people: arguments.people,
        rebuild: !arguments.no_rebuild,
        breaks: arguments.calm.then(Vec::new),
    };
    let report = match run::run(stack, &plan).await {
        Ok(report) => report,
        Err(cause) => {
            println!("seed {seed}: {cause:#}");
            if let Err(cause) = nemesis::heal(stack).await {
                println!("seed {seed}: the stack is not whole again: {cause:#}");
            }
            // The rest is the end of some log.
            let cause = format!("{cause:#}");
            return Ok(Ending::Broke(cause.lines().next().unwrap_or_default().to_owned()));
        }
    };
    println!("seed {seed}: {}", report.summary());
    let Some(story) = report.story() else { return Ok(Ending::Held) };
    println!("seed {seed}: {} refutations\n{story}", report.refutations.len());
    let refuted = report.refuted();
    let refuted: Vec<String> = refuted.iter().map(|(name, count)| format!("{name} ({count})")).collect();
    Ok(Ending::Refuted(refuted.join("; ")))
}

/// Prints how all have ended; a failure unless that is how they should.
fn sum_up(endings: &[(u64, Ending)], expect_refuted: bool) -> ExitCode {
    let count = |wanted: fn(&Ending) -> bool| endings.iter().filter(|(_, ending)| wanted(ending)).count();
    let held = count(|ending| matches!(ending, Ending::Held));
    let refuted = count(|ending| matches!(ending, Ending::Refuted(_)));
    println!("{} seeds: {held} held, {refuted} refuted, {} broke off", endings.len(), endings.len() - held - refuted);
    for (seed, ending) in endings.iter().filter(|(_, ending)| !matches!(ending, Ending::Held)) {
        println!("  seed {seed}: {ending}");
    }
    let good = if expect_refuted { refuted > 0 } else { held == endings.len() };
    if expect_refuted && !good {
        println!("no seed refutes what is known to be wrong");
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
