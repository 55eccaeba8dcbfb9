//! PostgreSQL: one or two primaries, each with a streaming replica.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::process::Command;

use super::ready::Ready;
use super::{Account, Folders, find_program, private_file, private_folder, run, secret};
use crate::database::Database;
use crate::disks::Disks;
use crate::info::PostgresInfo;
use crate::options::StackOptions;
use crate::ports::Ports;
use crate::process::Spec;
use crate::supervisor::Supervisor;

const DATABASE: &str = "velvet";
const USER: &str = "app";
/// The account that distributions make for PostgreSQL, used when the stack runs as root.
const ACCOUNT: &str = "postgres";
const TOOL_WITHIN: Duration = Duration::from_mins(2);
const READY_WITHIN: Duration = Duration::from_mins(1);

struct Site<'a> {
    supervisor: &'a Supervisor,
    bin: PathBuf,
    folder: PathBuf,
    account: Option<Account>,
    password: String,
    fsync: bool,
    disks: &'a Disks,
}

pub async fn start(
    supervisor: &Supervisor,
    folders: &Folders,
    ports: &Ports,
    disks: &Disks,
    options: &StackOptions,
) -> Result<Vec<PostgresInfo>> {
    let account = account().await?;
    let site = Site {
        supervisor,
        bin: bin()?,
        folder: data_folder(folders, account).await?,
        account,
        password: secret(&folders.state.join("postgres-password"))?,
        fsync: options.fsync,
        disks,
    };
    let each = (0..options.primaries).map(|index| {
        let replica = (index == 0 || options.replica_for_each).then(|| ports.replicas[index]);
        site.pair(index, ports.postgres[index], replica)
    });
    futures::future::try_join_all(each).await
}

impl Site<'_> {
    async fn pair(&self, index: usize, port: u16, replica: Option<u16>) -> Result<PostgresInfo> {
        let primary = self.home(&format!("postgres-{index}"), &format!("primary-{index}")).await?;
        if !primary.join("velvet.conf").is_file() {
            self.init(&primary).await?;
        }
        self.configure(&primary, port)?;
        self.supervisor.launch(self.spec(format!("postgres-{index}"), &primary, port)).await?;
        self.create_database(port).await?;
        let mut postgres = PostgresInfo { url: self.url(port), replica_url: None };
        if let Some(replica_port) = replica {
            let folder = self.home(&format!("replica-{index}"), &format!("replica-{index}")).await?;
            if !folder.join("standby.signal").is_file() {
                self.copy(&folder, port).await?;
            }
            self.follow(&folder, port)?;
            self.configure(&folder, replica_port)?;
            self.supervisor.launch(self.spec(format!("replica-{index}"), &folder, replica_port)).await?;
            postgres.replica_url = Some(self.url(replica_port));
        }
        Ok(postgres)
    }

    /// Where a server has its folder: on its disk when it has one.
    async fn home(&self, part: &str, name: &str) -> Result<PathBuf> {
        let disk = self.folder.join(format!("{name}.disk"));
        if !self.disks.mount(part, &disk).await? {
            return Ok(self.folder.join(name));
        }
        own(&disk, self.account)?;
        Ok(disk.join(name))
    }

    fn url(&self, port: u16) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{port}/{DATABASE}", self.password)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(&self.folder).env("PGPASSWORD", &self.password);
        command
    }

    async fn init(&self, data: &Path) -> Result<()> {
        remove(data)?;
        let password_file = data.with_extension("password");
        private_file(&password_file, &self.password)?;
        own(&password_file, self.account)?;
        let mut command = self.tool("initdb");
        command
            .args(["-U", USER, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(data)
            .arg("--pwfile")
            .arg(&password_file);
        let made = run(&mut command, self.account, TOOL_WITHIN).await;
        fs::remove_file(&password_file).context("removing a password file")?;
        made.context("making a PostgreSQL data folder")?;
        append(&data.join("postgresql.conf"), "include = 'velvet.conf'\n")
    }

    async fn copy(&self, data: &Path, primary: u16) -> Result<()> {
        remove(data)?;
        let slot = slot(data);
        // A copy that was cut short has left its slot behind.
        let forget = format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}' and not active"
        );
        self.database(primary, "postgres").execute(&forget).await?;
        let mut command = self.tool("pg_basebackup");
        command
            .args(["-h", "127.0.0.1", "-U", USER, "-X", "stream", "--checkpoint=fast", "--no-sync", "-C", "-S", &slot])
            .args(["-p", &primary.to_string(), "-D"])
            .arg(data);
        let copied = run(&mut command, self.account, TOOL_WITHIN).await.context("copying a primary for its replica");
        if copied.is_err() {
            remove(data)?;
        }
        copied.map(drop)
    }

    /// Tells a copy whom to follow; on every start, as ports may have moved.
    fn follow(&self, data: &Path, primary: u16) -> Result<()> {
        let signal = data.join("standby.signal");
        fs::write(&signal, "").context("marking a replica")?;
        own(&signal, self.account)?;
        let text = format!(
            "primary_conninfo = 'host=127.0.0.1 port={primary} user={USER} password={}'\nprimary_slot_name = '{}'\n",
            self.password,
            slot(data)
        );
        self.write_own(&data.join("postgresql.auto.conf"), &text)
    }

    fn configure(&self, data: &Path, port: u16) -> Result<()> {
        let fsync = if self.fsync { "on" } else { "off" };
        let text = format!(
            "port = {port}\n\
             listen_addresses = '127.0.0.1'\n\
             unix_socket_directories = ''\n\
             max_connections = 200\n\
             shared_buffers = 64MB\n\
             wal_level = logical\n\
             max_wal_senders = 16\n\
             max_replication_slots = 16\n\
             hot_standby = on\n\
             max_wal_size = 1GB\n\
             synchronous_commit = on\n\
             fsync = {fsync}\n"
        );
        self.write_own(&data.join("velvet.conf"), &text)
    }

    fn write_own(&self, path: &Path, text: &str) -> Result<()> {
        private_file(path, text)?;
        own(path, self.account)
    }

    fn spec(&self, name: String, data: &Path, port: u16) -> Spec {
        Spec {
            name,
            program: self.bin.join("postgres"),
            args: vec!["-D".to_owned(), data.to_string_lossy().into_owned()],
            env: Vec::new(),
            folder: data.to_owned(),
            account: self.account,
            ready: Ready::Postgres { pg_isready: self.bin.join("pg_isready"), port },
            ready_within: READY_WITHIN,
            retry_within: Duration::from_secs(10),
            // "Fast": ends sessions instead of waiting for them.
            stop_signal: Signal::INT,
            stop_within: Duration::from_secs(30),
            rank: 0,
            leaves: None,
        }
    }

    fn database(&self, port: u16, name: &str) -> Database {
        let url = format!("postgres://{USER}:{}@127.0.0.1:{port}/{name}", self.password);
        Database::with_program(self.bin.join("psql"), url)
    }

    async fn create_database(&self, port: u16) -> Result<()> {
        let postgres = self.database(port, "postgres");
        let present = postgres.query(&format!("select 1 from pg_database where datname = '{DATABASE}'")).await?;
        if present.is_empty() {
            postgres.execute(&format!("create database {DATABASE}")).await?;
        }
        Ok(())
    }
}

fn slot(data: &Path) -> String {
    data.file_name().unwrap_or_default().to_string_lossy().replace('-', "_")
}

/// PostgreSQL's programs: on the path, or where distributions hide them; the newest of those.
pub fn bin() -> Result<PathBuf> {
    let mut hidden: Vec<(u32, PathBuf)> = Vec::new();
    for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr"] {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let digits = name.trim_start_matches("postgresql@").trim_start_matches("pgsql-");
            if let Ok(version) = digits.parse::<u32>() {
                hidden.push((version, entry.path().join("bin")));
            }
        }
    }
    hidden.sort();
    let folders: Vec<PathBuf> = hidden.into_iter().rev().map(|(_, folder)| folder).collect();
    let initdb =
        find_program("initdb", &folders).context("PostgreSQL's server is not installed (package postgresql)")?;
    // Some systems link a few of the programs elsewhere; the rest are where the links lead.
    let real = fs::canonicalize(&initdb).context("following a link")?;
    Ok(real.parent().context("a program without a folder")?.to_owned())
}

/// Whom PostgreSQL runs as, when not as oneself.
pub async fn account() -> Result<Option<Account>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let mut ids = Vec::new();
    for flag in ["-u", "-g"] {
        let mut command = Command::new("id");
        let printed = run(command.args([flag, ACCOUNT]), None, TOOL_WITHIN).await.with_context(|| {
            format!("PostgreSQL does not run as root and there is no account {ACCOUNT}: useradd --system {ACCOUNT}")
        })?;
        ids.push(printed.trim().parse::<u32>().context("reading an account's number")?);
    }
    Ok(Some(Account { uid: ids[0], gid: ids[1] }))
}

/// Within the state folder, unless the account cannot get there (a checkout under `/root`, say).
async fn data_folder(folders: &Folders, account: Option<Account>) -> Result<PathBuf> {
    let inside = folders.state.join("postgres");
    private_folder(&inside)?;
    own(&inside, account)?;
    if account.is_none() || run(Command::new("test").arg("-x").arg(&inside), account, TOOL_WITHIN).await.is_ok() {
        return Ok(inside);
    }
    fs::remove_dir(&inside).context("removing an unreachable folder")?;
    let elsewhere = outside(&folders.state);
    private_folder(&elsewhere)?;
    own(&elsewhere, account)?;
    if run(Command::new("test").arg("-x").arg(&elsewhere), account, TOOL_WITHIN).await.is_err() {
        bail!("the account {ACCOUNT} can reach neither {} nor {}", inside.display(), elsewhere.display());
    }
    Ok(elsewhere)
}

/// Where the data go when the state folder is out of reach; derived from it, so that it is found again.
pub fn outside(state: &Path) -> PathBuf {
    let name = state.to_string_lossy().trim_start_matches('/').replace('/', "-");
    Path::new("/var/tmp").join(format!("velvet-postgres-{name}"))
}

fn own(path: &Path, account: Option<Account>) -> Result<()> {
    match account {
        Some(account) => std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .with_context(|| format!("giving {} to {ACCOUNT}", path.display())),
        None => Ok(()),
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

fn append(path: &Path, text: &str) -> Result<()> {
    fs::OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("adding to {}", path.display()))
}
