//! A base backup of a primary and the archive of what it wrote since, and going back to a moment of it: PostgreSQL's own
//! tools, as docs/operations.md has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::{Child, Command};

use crate::handle::Handle;
use crate::poll::until;
use crate::servers::postgres::{account, bin, outside};
use crate::servers::{Account, private_file, private_folder, run};

const TOOL_WITHIN: Duration = Duration::from_mins(2);
const RECOVERED_WITHIN: Duration = Duration::from_mins(2);
/// The archive's place in what the primary writes.
const SLOT: &str = "backup";
/// What a server is told by the stack and not by its data.
const SETTINGS: &str = "velvet.conf";

/// A backup of one primary, with its archive being written until it is used.
#[derive(Debug)]
pub struct Backup {
    tools: Tools,
    primary: usize,
    receiver: Child,
    base: PathBuf,
    archive: PathBuf,
    folder: PathBuf,
}

/// PostgreSQL's programs, as whom and for which server they run.
#[derive(Debug)]
struct Tools {
    bin: PathBuf,
    account: Option<Account>,
    address: [(&'static str, String); 4],
    work: PathBuf,
}

impl Tools {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(&self.work).envs(self.address.iter().cloned());
        command
    }

    fn own(&self, path: &Path) -> Result<()> {
        let Some(account) = self.account else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .with_context(|| format!("giving {} away", path.display()))
    }

    fn folder(&self, path: &Path) -> Result<()> {
        private_folder(path)?;
        self.own(path)
    }

    fn file(&self, path: &Path, text: &str) -> Result<()> {
        private_file(path, text)?;
        self.own(path)
    }
}

impl Backup {
    /// Begins to archive what a primary writes, and copies it.
    pub async fn take(stack: &Handle, primary: usize) -> Result<Self> {
        let inside = stack.info.state.join("postgres");
        let folder = if inside.is_dir() { inside } else { outside(&stack.info.state) };
        let url = &stack.info.postgres.get(primary).context("a primary")?.url;
        let tools = Tools { bin: bin()?, account: account().await?, address: address(url)?, work: folder.clone() };
        let (base, archive) = (folder.join("backup-base"), folder.join("backup-archive"));
        for path in [&base, &archive] {
            remove(path)?;
            tools.folder(path)?;
        }
        // The server keeps for the slot what has not been archived yet.
        let mut make = tools.command("pg_receivewal");
        make.args(["-S", SLOT, "--create-slot", "--if-not-exists"]);
        run(&mut make, tools.account, TOOL_WITHIN).await.context("making a slot for the archive")?;
        let log = stack.info.state.join("logs/archive.log");
        let log = fs::File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let mut receive = tools.command("pg_receivewal");
        if let Some(account) = tools.account {
            receive.uid(account.uid).gid(account.gid);
        }
        receive.args(["-S", SLOT, "-D"]).arg(&archive).stdin(Stdio::null()).stderr(log).kill_on_drop(true);
        let receiver = receive.spawn().context("starting pg_receivewal")?;
        // The copy is of no use without all that was written since it began.
        until("the archive to begin", TOOL_WITHIN, || async {
            let begun = fs::read_dir(&archive).context("reading the archive")?.next().is_some();
            ensure!(begun, "nothing has come");
            Ok(())
        })
        .await?;
        let mut copy = tools.command("pg_basebackup");
        copy.args(["-X", "none", "--checkpoint=fast", "--no-sync", "-D"]).arg(&base);
        run(&mut copy, tools.account, TOOL_WITHIN).await.context("copying a primary")?;
        Ok(Self { tools, primary, receiver, base, archive, folder })
    }

    /// Puts the copy in the place of a primary that is gone, has the archive read up to a moment (as PostgreSQL writes
    /// times), and makes its replica anew. Both must be stopped.
    pub async fn restore(mut self, stack: &Handle, moment: &str) -> Result<()> {
        self.receiver.kill().await.context("ending pg_receivewal")?;
        let data = self.folder.join(format!("primary-{}", self.primary));
        ensure!(!data.exists(), "{} is still there", data.display());
        fs::rename(&self.base, &data).context("putting the copy into its place")?;
        // The segment that was being written has another name.
        let archive = self.archive.display();
        let fetch = format!("cp {archive}/%f %p || cp {archive}/%f.partial %p");
        let recovery = format!(
            "restore_command = '{fetch}'\nrecovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n"
        );
        self.tools.file(&data.join("postgresql.auto.conf"), &recovery)?;
        self.tools.file(&data.join("recovery.signal"), "")?;
        stack.postgres(self.primary).start().await?;
        let database = stack.database(self.primary)?;
        until("the end of the recovery", RECOVERED_WITHIN, || async {
            let going_on = database.value("SELECT pg_is_in_recovery()").await?;
            ensure!(going_on == false, "it is still reading its archive");
            Ok(())
        })
        .await?;
        self.replica_anew(stack).await
    }

    /// The old one has seen what is no more.
    async fn replica_anew(&self, stack: &Handle) -> Result<()> {
        let name = format!("replica-{}", self.primary);
        let data = self.folder.join(&name);
        if !data.is_dir() {
            return Ok(());
        }
        let kept = [SETTINGS, "postgresql.auto.conf"].map(|file| (file, fs::read_to_string(data.join(file))));
        remove(&data)?;
        let mut copy = self.tools.command("pg_basebackup");
        copy.args(["-X", "stream", "--checkpoint=fast", "--no-sync", "-C", "-S", &name.replace('-', "_"), "-D"])
            .arg(&data);
        run(&mut copy, self.tools.account, TOOL_WITHIN).await.context("copying the restored primary")?;
        for (file, text) in kept {
            self.tools.file(&data.join(file), &text.with_context(|| format!("reading {file}"))?)?;
        }
        self.tools.file(&data.join("standby.signal"), "")?;
        stack.postgres_replica(self.primary).start().await
    }

    /// Where the primary's data are.
    pub fn data(&self) -> PathBuf {
        self.folder.join(format!("primary-{}", self.primary))
    }
}

fn address(url: &str) -> Result<[(&'static str, String); 4]> {
    let url = reqwest::Url::parse(url).context("reading PostgreSQL's address")?;
    Ok([
        ("PGHOST", url.host_str().unwrap_or("127.0.0.1").to_owned()),
        ("PGPORT", url.port().unwrap_or(5432).to_string()),
        ("PGUSER", url.username().to_owned()),
        ("PGPASSWORD", url.password().unwrap_or_default().to_owned()),
    ])
}

fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}
