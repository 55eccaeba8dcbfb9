//! `velvet-fuzz <target> <seconds> [seed]`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use velvet_fuzz::mutate::{Numbers, input};
use velvet_fuzz::{TARGETS, Target, corpus, target};

/// What one input may take; the slowest reader takes a small part of it without optimisation.
const INPUT_TIME_MAX: Duration = Duration::from_secs(2);
/// How often an input is tried that took longer: the machine may have had something else to do.
const SLOW_TRIES: u32 = 4;

/// The stack of the router's own threads.
const STACK_BYTES: usize = 2 * 1024 * 1024;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let usage = format!("velvet-fuzz <{}> <seconds> [seed]", names.join("|"));
    let target = arguments.next().and_then(|name| target(&name)).with_context(|| usage.clone())?;
    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok()).with_context(|| usage.clone())?;
    let seed = match arguments.next() {
        Some(seed) => seed.parse().context(usage)?,
        None => 1,
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let fuzzing = thread.spawn(move || fuzz(target, Duration::from_secs(seconds), seed))?;
    fuzzing.join().unwrap_or_else(|_| bail!("the fuzzer itself failed"))
}

fn fuzz(target: Target, time: Duration, seed: u64) -> anyhow::Result<()> {
    let inputs: Vec<Vec<u8>> = corpus::read(target.name)?.into_iter().map(|(_, input)| input).collect();
    // What ends the process at once, as a full stack does, is found here.
    let last = std::env::temp_dir().join(format!("velvet-fuzz-{}", target.name));
    println!("{} from seed {seed}; the input being tried is in {}", target.name, last.display());
    let mut numbers = Numbers::new(seed);
    let started = Instant::now();
    let (mut count, mut slowest) = (0_u64, Duration::ZERO);
    while started.elapsed() < time {
        let input = input(&mut numbers, &inputs, target.words);
        std::fs::write(&last, &input)?;
        let mut taken = timed(target, &input);
        for _ in 1..SLOW_TRIES {
            if taken.is_some_and(|taken| taken > INPUT_TIME_MAX) {
                taken = timed(target, &input);
            }
        }
        let Some(taken) = taken.filter(|taken| *taken <= INPUT_TIME_MAX) else {
            let kept = corpus::keep(target.name, &input)?;
            let why = if taken.is_some() { "too slow" } else { "broken" };
            bail!("{why} after {count} inputs; kept as {}", kept.display());
        };
        count += 1;
        slowest = slowest.max(taken);
    }
    std::fs::remove_file(&last)?;
    println!("{count} inputs, the slowest took {slowest:?}");
    Ok(())
}

/// How long a target takes for an input; nothing when it breaks.
fn timed(target: Target, input: &[u8]) -> Option<Duration> {
    let began = Instant::now();
    std::panic::catch_unwind(|| (target.run)(input)).ok().map(|()| began.elapsed())
}
