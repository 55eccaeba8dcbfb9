//! One supervised process: its own process group, a log file, a bounded start and a bounded end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::pids::PidFile;
use crate::poll::PAUSE;
use crate::servers::Account;
use crate::servers::ready::Ready;

/// How much of a log an error shows.
const TAIL_BYTES: u64 = 3_000;
/// SIGKILL cannot be refused; this only bounds a stuck disk.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Spec {
    /// `kafka`, `redis-0`, `postgres-1`, `replica-0`, `writer`, `api`, `router`; also the log's name.
    pub name: String,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// The working folder.
    pub folder: PathBuf,
    /// Whom to run as, when not as oneself.
    pub account: Option<Account>,
    pub ready: Ready,
    pub ready_within: Duration,
    /// For how long an early end is not the last word: the files of one that was killed may still be in use.
    pub retry_within: Duration,
    pub stop_signal: Signal,
    pub stop_within: Duration,
    /// Higher ones are stopped first, equal ones together.
    pub rank: u8,
    /// A file that it writes when it ends as asked, and where that one belongs.
    pub leaves: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug)]
pub struct Process {
    pub spec: Spec,
    log: PathBuf,
    pid_file: PidFile,
    child: Mutex<Option<Child>>,
    /// Where in the log the current run begins.
    log_from: AtomicU64,
}

impl Process {
    pub fn new(spec: Spec, logs: &Path, pids: &Path) -> Self {
        let log = logs.join(format!("{}.log", spec.name));
        let pid_file = PidFile::new(pids, &spec.name);
        Self { spec, log, pid_file, child: Mutex::new(None), log_from: AtomicU64::new(0) }
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Starts it unless it runs, and waits until it is ready.
    pub async fn start(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            self.spawn().await?;
            let outcome = self.wait_ready().await;
            let again = started.elapsed() < self.spec.retry_within && self.ended().await?.is_some();
            if outcome.is_ok() || !again {
                return outcome;
            }
            tokio::time::sleep(PAUSE * 4).await;
        }
    }

    /// Starts it unless it runs.
    pub async fn spawn(&self) -> Result<()> {
        let mut slot = self.child.lock().await;
        if let Some(child) = slot.as_mut()
            && child.try_wait().context("looking at a child")?.is_none()
        {
            return Ok(());
        }
        let output = self.open_log()?;
        let mut command = Command::new(&self.spec.program);
        command
            .args(&self.spec.args)
            .current_dir(&self.spec.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("sharing a log file")?)
            .stderr(output)
            .process_group(0);
        command.envs(self.spec.env.iter().map(|(name, value)| (name, value)));
        if let Some(account) = self.spec.account {
            command.uid(account.uid).gid(account.gid);
        }
        let child = command
            .spawn()
            .with_context(|| format!("starting {} ({})", self.spec.name, self.spec.program.display()))?;
        if let Some(pid) = child.id() {
            self.pid_file.write(pid)?;
        }
        *slot = Some(child);
        Ok(())
    }

    /// Waits until it answers, it ends, or the bound is over.
    pub async fn wait_ready(&self) -> Result<()> {
        let started = Instant::now();
        let mut last = anyhow!("never asked");
        while started.elapsed() < self.spec.ready_within {
            if let Some(status) = self.ended().await? {
                bail!("{} ended before it was ready ({status}){}", self.spec.name, self.tail());
            }
            match self.spec.ready.check().await {
                Ok(()) => return Ok(()),
                Err(cause) => last = cause,
            }
            tokio::time::sleep(PAUSE).await;
        }
        let seconds = self.spec.ready_within.as_secs();
        bail!("{} was not ready within {seconds} s: {last:#}{}", self.spec.name, self.tail());
    }

    /// Asks it to end, then makes it. Nothing happens when it does not run.
    pub async fn stop(&self) -> Result<()> {
        let mut slot = self.child.lock().await;
        let Some(child) = slot.as_mut() else {
            return Ok(());
        };
        if let Some(pid) = pid_of(child) {
            let _ = kill_process(pid, self.spec.stop_signal);
            // A paused one would never see it.
            let _ = kill_process_group(pid, Signal::CONT);
            if tokio::time::timeout(self.spec.stop_within, child.wait()).await.is_err() {
                tracing::warn!(process.name = %self.spec.name, "did not end when asked; killing it");
            } else if let Some((written, wanted)) = &self.spec.leaves {
                // It may have had none to write, or another stack was first; both are fine.
                let _ = std::fs::rename(written, wanted);
            }
            end_group(pid, child).await?;
        }
        *slot = None;
        self.pid_file.remove();
        Ok(())
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill9(&self) -> Result<()> {
        let mut slot = self.child.lock().await;
        let Some(child) = slot.as_mut() else {
            return Ok(());
        };
        if let Some(pid) = pid_of(child) {
            end_group(pid, child).await?;
        }
        *slot = None;
        self.pid_file.remove();
        Ok(())
    }

    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Freezes it: connections stay open and nothing answers.
    pub async fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP).await
    }

    pub async fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let slot = self.child.lock().await;
        let pid = slot.as_ref().and_then(pid_of);
        let pid = pid.with_context(|| format!("{} does not run", self.spec.name))?;
        kill_process_group(pid, signal).with_context(|| format!("signalling {}", self.spec.name))
    }

    pub async fn pid(&self) -> Option<u32> {
        self.child.lock().await.as_ref().and_then(Child::id)
    }

    pub async fn is_running(&self) -> Result<bool> {
        Ok(self.pid().await.is_some() && self.ended().await?.is_none())
    }

    /// How it ended, when it was started and ended by itself.
    pub async fn ended(&self) -> Result<Option<std::process::ExitStatus>> {
        match self.child.lock().await.as_mut() {
            Some(child) => child.try_wait().context("looking at a child"),
            None => Ok(None),
        }
    }

    /// The end of what this run has written, for an error.
    pub fn tail(&self) -> String {
        let text = self.read_tail().unwrap_or_default();
        if text.trim().is_empty() {
            return format!("; it wrote nothing to {}", self.log.display());
        }
        format!("; the end of {}:\n{}", self.log.display(), text.trim_end())
    }

    fn read_tail(&self) -> Result<String> {
        let mut file = File::open(&self.log)?;
        let length = file.metadata()?.len();
        let from = self.log_from.load(Ordering::Relaxed).max(length.saturating_sub(TAIL_BYTES));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open_log(&self) -> Result<File> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("opening {}", self.log.display()))?;
        writeln!(file, "--- {} starts at {}", self.spec.name, chrono::Utc::now().to_rfc3339())
            .with_context(|| format!("writing {}", self.log.display()))?;
        self.log_from.store(file.metadata().map_or(0, |meta| meta.len()), Ordering::Relaxed);
        Ok(file)
    }
}

impl Drop for Process {
    /// Nothing outlives its owner, however that one ends.
    fn drop(&mut self) {
        if let Some(child) = self.child.get_mut()
            && let Some(pid) = pid_of(child)
        {
            let _ = kill_process_group(pid, Signal::KILL);
            self.pid_file.remove();
        }
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

async fn end_group(pid: Pid, child: &mut Child) -> Result<()> {
    let _ = kill_process_group(pid, Signal::KILL);
    tokio::time::timeout(KILLED_WITHIN, child.wait())
        .await
        .context("a killed process did not end")?
        .context("waiting for a child")?;
    Ok(())
}
