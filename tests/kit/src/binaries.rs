//! Our own programs, as cargo has built them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::info::StackInfo;
use crate::options::Profile;
use crate::servers::run;

/// Migrating 16 schemas on a busy machine is the longest.
const TOOL_WITHIN: Duration = Duration::from_mins(5);

#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// In `VELVET_BIN_DIR`, or where cargo puts what it builds for this profile.
    pub fn find(root: &Path, profile: Profile) -> Result<Self> {
        let profile = match profile {
            Profile::Debug => "debug",
            Profile::Release => "release",
        };
        let folder = match (std::env::var_os("VELVET_BIN_DIR"), std::env::var_os("CARGO_TARGET_DIR")) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, Some(target)) => PathBuf::from(target).join(profile),
            (None, None) => root.join("target").join(profile),
        };
        let binaries = Self { folder: std::path::absolute(&folder).unwrap_or(folder) };
        for name in ["velvet", "velvet-writer", "velvet-router"] {
            if !binaries.path(name).is_file() {
                bail!("{} is not built: run cargo build --workspace", binaries.path(name).display());
            }
        }
        Ok(binaries)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One of them to be run beside a stack's own processes: it writes to a log of its name, and ends with SIGKILL when its
    /// handle is dropped.
    pub fn beside(stack: &StackInfo, program: &str, name: &str) -> Result<Command> {
        let path = stack.state.join("logs").join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("opening {}", path.display()))?;
        let mut command = Command::new(Self::find(&stack.root, Profile::Debug)?.path(program));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing a log file")?)
            .stderr(log)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs one of them to its end.
    pub async fn run(&self, name: &str, args: &[&str], folder: &Path) -> Result<String> {
        let mut command = Command::new(self.path(name));
        command.args(args).current_dir(folder);
        run(&mut command, None, TOOL_WITHIN).await.with_context(|| format!("{name} {}", args.join(" ")))
    }

    /// Writes what the code exports and composes into `folder`: a copy of `supergraph.yaml` and `schema/`.
    pub async fn compose(&self, root: &Path, folder: &Path) -> Result<PathBuf> {
        let schema = folder.join("schema");
        std::fs::create_dir_all(&schema).with_context(|| format!("making {}", schema.display()))?;
        std::fs::copy(root.join("supergraph.yaml"), folder.join("supergraph.yaml"))
            .context("copying supergraph.yaml")?;
        self.run("velvet", &["schema", "--out", "schema"], folder).await?;
        let compose = ["compose", "--config", "supergraph.yaml", "--output", "schema/supergraph.graphql"];
        self.run("velvet-router", &compose, folder).await?;
        let composed = schema.join("supergraph.graphql");
        if !composed.is_file() {
            bail!("velvet-router compose ended well but wrote no {}", composed.display());
        }
        Ok(composed)
    }
}
