//! A stack's state folder: who owns it, and what of an earlier stack stays in it.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};

use crate::disks;
use crate::population;
use crate::servers::{postgres, private_folder};

/// Closed to others' reading, but passable, as PostgreSQL's account must get to its folder below.
pub fn private_state(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    private_folder(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o711))
        .with_context(|| format!("opening {} for passing", path.display()))
}

/// Logs of the run before stay readable; those before that go, so that they never fill the disk.
pub fn keep_last_logs(logs: &Path) {
    let last = logs.with_extension("last");
    // Both may be absent.
    let _ = fs::remove_dir_all(&last);
    let _ = fs::rename(logs, &last);
}

/// A file to be locked, made when it is not there yet.
pub fn lock_file(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.with_context(|| format!("opening {}", path.display()))
}

/// Who holds the file owns the state folder; the kernel lets go of it however the owner ends.
#[derive(Debug)]
pub struct Owned(File);

impl Owned {
    pub fn take(state: &Path) -> Result<Self> {
        let file = lock_file(&state.join("lock"))?;
        file.try_lock().with_context(|| {
            let state = state.display();
            format!("another stack uses {state}: end it (dev/down), or set VELVET_STATE_DIR to another folder")
        })?;
        Ok(Self(file))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // A child that does not run its program yet has the file too, so closing it here is not enough.
        let _ = self.0.unlock();
    }
}

/// Whether somebody owns the state folder.
pub fn is_owned(state: &Path) -> bool {
    let file = File::options().write(true).open(state.join("lock"));
    file.is_ok_and(|file| file.try_lock().is_err())
}

/// Removes what an earlier stack has left in its folder, but for the lock.
pub fn clear(state: &Path) -> Result<()> {
    let known = ["data", "logs", "pids", "keys", "schema", "postgres", "told", "clocks", "supergraphs"];
    let known = known.map(|name| state.join(name));
    disks::unmount_below(&[&state.join("data"), &state.join("postgres"), &postgres::outside(state)]);
    for folder in known.into_iter().chain([postgres::outside(state)]) {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
    }
    for file in ["stack.json", population::MARK, "postgres-password"] {
        let _ = fs::remove_file(state.join(file));
    }
    Ok(())
}
