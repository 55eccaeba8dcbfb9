//! A writer beside the stack's own.

use anyhow::{Context, Result};
use tokio::process::Child;
use velvet_kit::{Handle, binaries::Binaries};

/// Ends with SIGKILL when dropped.
#[derive(Debug)]
pub struct SecondWriter(Child);

impl SecondWriter {
    /// Starts one on the stack's configuration, but for these settings (`SECTION__KEY`).
    pub fn start(stack: &Handle, settings: &[(&str, &str)]) -> Result<Self> {
        let child = Binaries::beside(&stack.info, "velvet-writer", "second-writer")?
            .arg("--config")
            .arg(stack.info.writer_config())
            .arg("run")
            .env("VELVET_WRITER__LISTEN", "127.0.0.1:0")
            .envs(settings.iter().map(|(name, value)| (format!("VELVET_{name}"), value)))
            .spawn()
            .context("starting a second writer")?;
        Ok(Self(child))
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill9(mut self) -> Result<()> {
        self.0.kill().await.context("killing the second writer")
    }
}
