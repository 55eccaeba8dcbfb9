//! File systems in memory for servers' files, one each, so that one of them can be full without anybody else's being.
//!
//! Mounting takes root. One is filled by making it as small as what it holds, so that filling costs nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::poll::until;
use crate::progress::Progress;
use crate::servers::run;

/// Far more than the files of a run.
const SIZE: &str = "1g";
const PAGE_KIB: u64 = 4;
const TOOL_WITHIN: Duration = Duration::from_secs(20);
/// A server that writes all the time is ahead of whoever measures it.
const FILLED_WITHIN: Duration = Duration::from_secs(5);

/// The disks of a stack.
#[derive(Debug, Default)]
pub struct Disks {
    wanted: bool,
    mounted: Mutex<BTreeMap<String, PathBuf>>,
}

impl Disks {
    /// With none unless they are wanted and this account may mount; says so when it may not.
    pub async fn new(wanted: bool, state: &Path, progress: Progress) -> Self {
        let tried = state.join("disk");
        let possible = !wanted || {
            let mounted = mount(&tried).await;
            unmount_below(&[&tried]);
            if let Err(cause) = &mounted {
                progress.line(&format!("no disk will be full, as that takes root: {cause:#}"));
            }
            mounted.is_ok()
        };
        Self { wanted: wanted && possible, mounted: Mutex::default() }
    }

    /// Makes the folder a server's disk, if there are any. Whether it is one.
    pub async fn mount(&self, part: &str, folder: &Path) -> Result<bool> {
        if self.wanted {
            mount(folder).await?;
            let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
            mounted.insert(part.to_owned(), folder.to_owned());
        }
        Ok(self.wanted)
    }

    /// Servers that have one, and where it is mounted.
    pub fn mounted(&self) -> BTreeMap<String, PathBuf> {
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn mount(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &format!("size={SIZE},mode=0700"), "velvet"]).arg(folder);
    run(&mut command, None, TOOL_WITHIN).await.with_context(|| format!("mounting {}", folder.display())).map(drop)
}

/// Leaves no room in it, not even for a page; for one page, if it is empty.
pub async fn fill(folder: &Path) -> Result<()> {
    until("a full disk", FILLED_WITHIN, || async {
        let mut ask = Command::new("df");
        let printed = run(ask.args(["-k", "--output=used"]).arg(folder), None, TOOL_WITHIN).await?;
        let used: u64 = printed.lines().last().unwrap_or_default().trim().parse().context("what df prints")?;
        // None at all would be no bound, and could not be changed any more.
        resize(folder, &format!("{}k", used.max(PAGE_KIB))).await
    })
    .await
}

/// Gives it back its room.
pub async fn free(folder: &Path) -> Result<()> {
    resize(folder, SIZE).await
}

async fn resize(folder: &Path, size: &str) -> Result<()> {
    let mut command = Command::new("mount");
    command.args(["-o", &format!("remount,size={size}")]).arg(folder);
    run(&mut command, None, TOOL_WITHIN).await.with_context(|| format!("resizing {}", folder.display())).map(drop)
}

/// Ends all that are mounted below these folders, by a stack that ended or was killed.
pub fn unmount_below(folders: &[&Path]) {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounted = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    for folder in mounted.filter(|mounted| folders.iter().any(|folder| mounted.starts_with(folder))) {
        // Whoever still holds a file there must not keep the rest from going.
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&folder).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_disk_takes_nothing_until_it_has_room_again() -> Result<()> {
        let state = std::env::temp_dir().join(format!("velvet-disks-{}", uuid::Uuid::new_v4().simple()));
        let disks = Disks::new(true, &state, Progress::new(true)).await;
        let folder = state.join("server");
        if !disks.mount("server", &folder).await? {
            // Whoever may not mount has no disks, and is told.
            assert!(disks.mounted().is_empty());
            return Ok(());
        }
        assert_eq!(disks.mounted(), BTreeMap::from([("server".to_owned(), folder.clone())]));
        let write = || fs::write(folder.join("file"), [1; 8_192]);
        fill(&folder).await?;
        let refused = write();
        free(&folder).await?;
        let taken = write();
        unmount_below(&[&state]);
        fs::remove_dir_all(&state).context("removing a folder")?;
        assert_eq!(refused.map_err(|error| error.kind()), Err(std::io::ErrorKind::StorageFull));
        taken.context("writing to a disk with room")
    }

    #[tokio::test]
    async fn nobody_has_a_disk_where_none_is_wanted() -> Result<()> {
        let disks = Disks::new(false, Path::new("/nowhere"), Progress::new(true)).await;
        assert!(!disks.mount("server", Path::new("/nowhere/server")).await?);
        Ok(())
    }
}
