//! A writer beside the stack's own.

use anyhow::{Context, Result};
use std::{fs::File, process::Stdio};
use tokio::process::{Child, Command};
use velvet_kit::{Handle, Profile, binaries::Binaries};

/// Ends with SIGKILL when dropped.
#[derive(Debug)]
pub struct SecondWriter(Child);

impl SecondWriter {
    /// Starts one on the stack's configuration, but for these settings (`SECTION__KEY`).
    pub fn start(stack: &Handle, settings: &[(&str, &str)]) -> Result<Self> {
        let path = stack.info.state.join("logs/second-writer.log");
        let log = File::options().create(true).append(true).open(&path).context("opening a log file")?;
        let child = Command::new(Binaries::find(&stack.info.root, Profile::Debug)?.path("velvet-writer"))
            .arg("--config")
            .arg(stack.info.writer_config())
            .arg("run")
            .env("VELVET_WRITER__LISTEN", "127.0.0.1:0")
            .envs(settings.iter().map(|(name, value)| (format!("VELVET_{name}"), value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing a log file")?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting a second writer")?;
        Ok(Self(child))
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill9(mut self) -> Result<()> {
        self.0.kill().await.context("killing the second writer")
    }
}
