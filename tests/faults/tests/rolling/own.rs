//! A stack of two or three of everything, for this test alone.

use anyhow::{Context, Result, bail, ensure};
use std::{
    fs::File,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::process::{Child, Command};
use velvet_kit::{Handle, Profile, StackInfo, binaries::Binaries, until};

const UP_WITHIN: Duration = Duration::from_mins(4);
const DOWN_WITHIN: Duration = Duration::from_mins(2);

pub struct OwnStack {
    handle: Handle,
    owner: Child,
}

impl OwnStack {
    /// Starts it beside the one that the tests share.
    pub async fn start(shared: &Handle) -> Result<Self> {
        let state = shared.info.state.join("redundant");
        let log = shared.info.state.join("logs/redundant.log");
        let log = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let mut owner = Command::new(Binaries::find(&shared.info.root, Profile::Debug)?.path("velvet-stack"))
            .args(["run", "--redundant", "--unharmed", "--", "cat"])
            .current_dir(&shared.info.root)
            .env("VELVET_STATE_DIR", &state)
            // It ends with its input: when it is asked to, and when this process is gone.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("sharing a log")?)
            .stderr(log)
            .spawn()
            .context("starting a stack")?;
        let file = StackInfo::path(&state.join("test"));
        let pid = owner.id();
        let handle = until("a stack of its own", UP_WITHIN, || {
            let ended = owner.try_wait();
            let file = file.clone();
            async move { open(&file, pid, ended?) }
        })
        .await?;
        Ok(Self { handle, owner })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Stops it.
    pub async fn end(mut self) -> Result<()> {
        drop(self.owner.stdin.take());
        let ended =
            tokio::time::timeout(DOWN_WITHIN, self.owner.wait()).await.context("a stack that does not end")??;
        ensure!(ended.success(), "the stack ended with {ended}");
        Ok(())
    }
}

/// The stack of this owner, once it is up.
fn open(file: &Path, pid: Option<u32>, ended: Option<ExitStatus>) -> Result<Handle> {
    if let Some(status) = ended {
        bail!("it ended with {status}; see redundant.log");
    }
    let handle = Handle::open(file)?;
    ensure!(Some(handle.info.pid) == pid, "that is what another one has left");
    Ok(handle)
}
