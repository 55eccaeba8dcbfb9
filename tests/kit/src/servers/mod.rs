//! The servers of others that Velvet runs on.

pub mod kafka;
pub mod postgres;
pub mod ready;
pub mod redis;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Whom to run a server as, when the stack runs as root and the server refuses to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

/// Where a stack keeps what.
#[derive(Debug, Clone)]
pub struct Folders {
    pub state: PathBuf,
    pub data: PathBuf,
    pub logs: PathBuf,
    pub pids: PathBuf,
}

/// Runs a program to its end, as `account`, and gives what it printed; fails with what it complained of.
pub async fn run(command: &mut Command, account: Option<Account>, within: Duration) -> Result<String> {
    let shown = command.as_std().get_program().to_string_lossy().into_owned();
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(within, command.output())
        .await
        .with_context(|| format!("{shown} did not end within {} s", within.as_secs()))?
        .with_context(|| format!("starting {shown}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        bail!("{shown} failed ({}): {}{}", output.status, printed.trim(), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first program of that name on the path, or in one of `more`.
pub fn find_program(name: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(more.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Makes a folder that only its owner may look into.
pub fn private_folder(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("closing {} to others", path.display()))
}

/// Writes a file that only its owner may read.
pub fn private_file(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let whole = path.with_extension("new");
    std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&whole)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&whole, path))
        .with_context(|| format!("writing {}", path.display()))
}

/// A secret of 32 random bytes in hex, made on first use and kept.
pub fn secret(path: &Path) -> Result<String> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return Ok(text.trim().to_owned());
    }
    let bytes: [u8; 32] = rand::random();
    let text = bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    private_file(path, &text)?;
    Ok(text)
}
