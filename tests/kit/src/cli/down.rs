//! `velvet-stack down`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use velvet_kit::state::is_owned;
use velvet_kit::{StackInfo, pids, until};

/// Every part may take its whole bound, one after the other.
const DOWN_WITHIN: Duration = Duration::from_mins(4);

pub async fn run(state: &Path) -> Result<ExitCode> {
    if !is_owned(state) {
        let left = pids::reap(&state.join("pids")).await?;
        if left.is_empty() {
            println!("nothing runs");
        } else {
            println!("ended what a killed stack had left: {}", left.join(", "));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let owner = std::fs::read_to_string(state.join("owner")).context("reading who owns the stack")?;
    let pid = owner.trim().parse().ok().and_then(Pid::from_raw).context("reading who owns the stack")?;
    kill_process(pid, Signal::TERM).context("asking the stack to end")?;
    until("the stack has ended", DOWN_WITHIN, || async {
        if is_owned(state) {
            bail!("it is still ending");
        }
        Ok(())
    })
    .await?;
    let _ = std::fs::remove_file(StackInfo::path(state));
    println!("stopped");
    Ok(ExitCode::SUCCESS)
}
