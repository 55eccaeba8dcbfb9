//! `velvet-load`: measures a running stack beside the raw limits of the machine that it runs on.
//!
//! Called by `dev/bench` through `velvet-stack run`, which names the stack in the environment. Load is
//! open-loop ([`schedule`]), latencies are histograms, everything is bounded in time and count. Nothing
//! is asserted: the report says what was seen, and only an error of a scenario makes the exit code 1.

#![expect(clippy::disallowed_methods, reason = "a bench makes up ids and reads the clock as it goes")]

mod arguments;
mod bench;
mod compare;
mod graph;
mod live;
mod people;
mod picture;
mod plan;
mod population;
mod process;
mod raw;
mod report;
mod scenarios;
mod schedule;
mod shards;
mod slope;
mod steps;
mod turns;
mod usage;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Arguments;
use crate::bench::{Bench, say};
use crate::plan::Plan;
use crate::process::Machine;
use crate::report::Report;

fn main() -> ExitCode {
    let arguments = match prepared() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("velvet-load: {cause:#}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("velvet-load: {cause}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        if arguments.echo { raw::echo::serve().await.map(|()| ExitCode::SUCCESS) } else { run(arguments).await }
    });
    // What still runs on other threads is of no interest any more.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|cause| {
        eprintln!("velvet-load: {cause:#}");
        ExitCode::FAILURE
    })
}

/// What is to be measured; none when nothing is.
fn prepared() -> Result<Option<Arguments>> {
    let arguments = Arguments::parse();
    if arguments.echo {
        return Ok(Some(arguments));
    }
    if !arguments.report.is_empty() {
        return of_reports(&arguments).map(|()| None);
    }
    let root = velvet_kit::options::find_root()?;
    if arguments.list {
        for name in Plan::names(&root) {
            println!("{name}: {}", Plan::read(&root, &name, &[])?.about);
        }
        return Ok(None);
    }
    let arguments = arguments.resolve(&root)?;
    Ok(Some(arguments).filter(|arguments| !arguments.check))
}

/// Draws or compares what other runs have written.
fn of_reports(arguments: &Arguments) -> Result<()> {
    let rows = compare::rows(&arguments.report)?;
    if let Some(path) = &arguments.picture {
        picture::write(path, &rows)?;
    }
    if !arguments.older.is_empty() {
        println!("{}", compare::table(&rows, &compare::rows(&arguments.older)?));
    }
    Ok(())
}

/// Prints and writes what there is, also after a failure or when it is asked to end.
async fn run(arguments: Arguments) -> Result<ExitCode> {
    let (out, picture) = (arguments.out.clone(), arguments.picture.clone());
    let mut bench = Bench::open(arguments).await?;
    bench.report = Report { machine: Machine::read(), notes: notes(&bench), ..Report::default() };
    bench.report.arguments = std::env::args().skip(1).collect();
    let outcome = tokio::select! {
        outcome = scenarios::run_all(&mut bench) => Some(outcome),
        asked = asked_to_end() => asked.map(|()| None)?,
    };
    scenarios::release(&bench).await;
    match &outcome {
        Some(Err(cause)) if bench.report.failures.is_empty() => bench.report.failures.push(format!("{cause:#}")),
        Some(_) => {}
        None => bench.report.failures.push("it was asked to end before all was measured".to_owned()),
    }
    println!("\n{}", bench.report.table());
    if let Some(path) = out {
        bench.report.write(&path)?;
        say(&format!("written to {}", path.display()));
    }
    if let Some(path) = picture {
        picture::write(&path, &bench.report.rows)?;
        say(&format!("drawn to {}", path.display()));
    }
    Ok(if bench.report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn asked_to_end() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// How to read the table.
fn notes(bench: &Bench) -> Vec<String> {
    let arguments = &bench.arguments;
    vec![
        "All on loopback and on the same cores, load generator and servers included: only ratios within one run count."
            .to_owned(),
        "Open loop: requests are due at a constant rate; a latency counts from when its request was due.".to_owned(),
        format!(
            "moderate: {}/s for {} s. highest held: found by steps of {} s, to within 10 %; held is 95 % of the offered \
             rate answered, p99 up to {} ms, at most 1 error in 1,000.",
            arguments.rate, arguments.seconds, arguments.step_seconds, arguments.held_p99_ms
        ),
        "router cpu, API cpu: processor time of the process per request; 1,000,000 / API cpu is what one core of API \
         takes. The API process also projects."
            .to_owned(),
        "of raw: beside the raw limit of the same run (HTTP: the echo's highest rate)".to_owned(),
    ]
}
