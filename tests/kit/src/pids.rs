//! Which processes a stack has started, kept in files, so that a stack that was killed leaves
//! nothing behind for longer than until the next start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::poll::until;

/// Giving back half a gigabyte takes a moment.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// One file: the process id and the moment it was started, as a pid alone may be someone else's by now.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    pub fn new(folder: &Path, name: &str) -> Self {
        Self(folder.join(name))
    }

    pub fn write(&self, pid: u32) -> Result<()> {
        let started = start_mark(pid).unwrap_or_default();
        fs::write(&self.0, format!("{pid} {started}")).with_context(|| format!("writing {}", self.0.display()))
    }

    pub fn remove(&self) {
        // Absent is what is wanted.
        let _ = fs::remove_file(&self.0);
    }
}

/// Kills what an earlier stack recorded in `folder` and left running, and waits until it is gone; returns the names.
pub async fn reap(folder: &Path) -> Result<Vec<String>> {
    let mut reaped = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(reaped);
    };
    for entry in entries {
        let path = entry.context("reading the pid folder")?.path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if let Some(pid) = still_the_same(&text)
            && kill_process_group(pid, Signal::KILL).is_ok()
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            until(&format!("{name} is gone"), GONE_WITHIN, || async {
                match still_the_same(&text) {
                    Some(_) => bail!("it is still there"),
                    None => Ok(()),
                }
            })
            .await?;
            reaped.push(name);
        }
        let _ = fs::remove_file(&path);
    }
    Ok(reaped)
}

fn still_the_same(text: &str) -> Option<Pid> {
    let (pid, started) = text.split_once(' ')?;
    let pid: u32 = pid.parse().ok()?;
    let now = start_mark(pid)?;
    (now == started).then(|| Pid::from_raw(i32::try_from(pid).ok()?)).flatten()
}

/// When the process started, in the kernel's ticks: field 22 of `/proc/<pid>/stat`, the 20th after the name.
fn start_mark(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.rsplit_once(") ")?.1;
    // A zombie runs no more; it only waits for its parent to look.
    if after_name.starts_with('Z') {
        return None;
    }
    after_name.split(' ').nth(19).map(str::to_owned)
}
