//! What operators do while people use the graph: nobody loses anything by it.

#![expect(clippy::disallowed_methods, reason = "tests make ids up as they go")]

#[path = "operations/backup.rs"]
mod backup;
#[path = "operations/moving.rs"]
mod moving;
#[path = "operations/replay.rs"]
mod replay;
#[path = "operations/serving.rs"]
mod serving;

use anyhow::{Context, Result};
use velvet_kit::{Handle, Profile, StackInfo, binaries::Binaries};

fn writer_arguments<'a>(config: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    ["--config", config].into_iter().chain(arguments.iter().copied()).collect()
}

/// Runs an operators' command of the writer to its end; what it printed.
async fn writer(stack: &Handle, arguments: &[&str]) -> Result<String> {
    let config = stack.info.writer_config().to_string_lossy().into_owned();
    let binaries = Binaries::find(&stack.info.root, Profile::Debug)?;
    binaries.run("velvet-writer", &writer_arguments(&config, arguments), &stack.info.root).await
}

/// Host and port of a primary, as operators' commands call it.
fn address(info: &StackInfo, primary: usize) -> Result<String> {
    let url = &info.postgres.get(primary).context("a primary")?.url;
    let place = url.split_once('@').and_then(|(_, place)| place.split_once('/')).context("an address")?;
    Ok(place.0.to_owned())
}
