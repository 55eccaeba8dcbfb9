//! `velvet-stack run -- command`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use velvet_kit::info::TEST_STACK;
use velvet_kit::{Handle, Stack, StackInfo, StackOptions};

use super::{Run, asked_to_end};

/// How long the command has to end after it was asked to.
const END_WITHIN: Duration = Duration::from_secs(20);

impl Run {
    /// Gives the command's own code.
    pub async fn run(&self, root: &Path) -> Result<ExitCode> {
        let mut options = StackOptions::test(root)?;
        if self.redundant {
            options = options.redundant();
            options.faults = !self.unharmed;
        }
        self.common.apply(&mut options);
        options.primaries = usize::from(self.primaries);
        options.fsync = self.fsync;
        let stack = Stack::new(options).await?;
        let end = asked_to_end();
        tokio::pin!(end);
        let outcome = tokio::select! {
            code = &mut end => code,
            started = stack.start() => match started {
                Ok(handle) => self.command(&handle, end).await,
                Err(cause) => Err(cause),
            },
        };
        let stopped = stack.stop().await;
        let code = outcome?;
        stopped?;
        Ok(ExitCode::from(code))
    }

    async fn command(&self, handle: &Handle, end: impl Future<Output = Result<u8>>) -> Result<u8> {
        let info = &handle.info;
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .env(TEST_STACK, StackInfo::path(&info.state))
            .env("VELVET_GRAPHQL_URL", &info.graphql_url)
            .env("VELVET_WS_URL", &info.ws_url)
            .env("VELVET_ROUTER_URL", &info.router_url)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.command[0]))?;
        tokio::select! {
            status = child.wait() => {
                let status = status.context("waiting for the command")?;
                Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
            }
            code = end => {
                ask_to_end(&mut child).await;
                code
            }
        }
    }
}

async fn ask_to_end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
        if tokio::time::timeout(END_WITHIN, child.wait()).await.is_err() {
            let _ = child.start_kill();
        }
    }
}
