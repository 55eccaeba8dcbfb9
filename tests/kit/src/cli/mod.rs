//! The command line.

mod down;
mod run;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use velvet_kit::binaries::Binaries;
use velvet_kit::options::{find_root, state_dir};
use velvet_kit::population::MOST_PEOPLE;
use velvet_kit::{Profile, RedisLayout, StackOptions};

#[derive(Debug, Parser)]
#[command(name = "velvet-stack", about = "Starts and stops Velvet with all its servers on this machine")]
pub struct Cli {
    /// The checkout; found from the current folder when left out.
    #[arg(long, global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Starts everything for development and stays until Ctrl-C.
    Up(Up),
    /// Ends what `up` started.
    Down,
    /// Restarts every writer, API and router of a running stack, one after the other.
    Roll {
        /// The stack's file; that of `VELVET_TEST_STACK`, or of what `up` started, when left out.
        #[arg(long)]
        stack: Option<PathBuf>,
    },
    /// Starts a fresh stack on free ports, runs a command with its address, stops everything.
    Run(Run),
    /// Writes what the code exports and composes: the contents of `schema/`.
    Schema {
        /// Where to put the files.
        #[arg(long, default_value = "schema")]
        out: PathBuf,
    },
    /// Fetches Kafka, so that nothing is fetched later.
    Install,
}

#[derive(Debug, Args)]
struct Common {
    /// How many people to load, besides the two with a sign-in.
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=MOST_PEOPLE))]
    people: Option<u64>,
    /// One Redis instead of a cluster of three.
    #[arg(long)]
    single_redis: bool,
    /// Takes the binaries of the release profile.
    #[arg(long)]
    release: bool,
    /// `PostgreSQL`, Redis and Kafka, and nothing of ours.
    #[arg(long)]
    servers_only: bool,
}

#[derive(Debug, Args)]
struct Up {
    #[command(flatten)]
    common: Common,
    /// Goes to the background once everything is up; `dev/down` ends it.
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    common: Common,
    /// How many `PostgreSQL` primaries share the shards.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    primaries: u8,
    /// Two or three of everything, so that any one may be missed, and all that a nemesis wants.
    #[arg(long)]
    redundant: bool,
    /// Nothing for a nemesis: connections that nobody can cut, disks and clocks that are right.
    #[arg(long, requires = "redundant")]
    unharmed: bool,
    /// Lets `PostgreSQL` sync to disk, as benches need it and tests do not.
    #[arg(long)]
    fsync: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Cli {
    pub async fn run(self) -> Result<ExitCode> {
        let root = match self.root {
            Some(root) => std::path::absolute(root).context("reading --root")?,
            None => find_root()?,
        };
        match self.task {
            Task::Up(up) => up.run(&root).await,
            Task::Down => down::run(&state_dir(&root)).await,
            Task::Roll { stack } => roll(&root, stack).await,
            Task::Run(run) => run.run(&root).await,
            Task::Schema { out } => write_schema(&root, &out).await,
            Task::Install => {
                velvet_kit::servers::kafka::install(velvet_kit::progress::Progress::new(false)).await?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Common {
    fn apply(&self, options: &mut StackOptions) {
        options.people = self.people.unwrap_or(options.people);
        if self.single_redis {
            options.redis = RedisLayout::Single;
        }
        if self.release {
            options.profile = Profile::Release;
        }
        options.servers_only = self.servers_only;
    }
}

async fn roll(root: &std::path::Path, stack: Option<PathBuf>) -> Result<ExitCode> {
    let named = stack.or_else(|| std::env::var_os(velvet_kit::info::TEST_STACK).map(PathBuf::from));
    let file = named.unwrap_or_else(|| velvet_kit::StackInfo::path(&state_dir(root)));
    let stack = velvet_kit::Handle::open(&file)?;
    velvet_kit::roll::roll(&stack, |rolled| {
        println!("{} is back after {:.1} s", rolled.part, rolled.took.as_secs_f64());
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

async fn write_schema(root: &std::path::Path, out: &std::path::Path) -> Result<ExitCode> {
    let profile = if cfg!(debug_assertions) { Profile::Debug } else { Profile::Release };
    let scratch = state_dir(root).join(format!("schema-{}", std::process::id()));
    let composed = Binaries::find(root, profile)?.compose(root, &scratch).await;
    let copied = composed.and_then(|_| {
        std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
        for entry in std::fs::read_dir(scratch.join("schema")).context("reading the written schemas")? {
            let path = entry.context("reading the written schemas")?.path();
            let name = path.file_name().unwrap_or_default();
            std::fs::copy(&path, out.join(name)).with_context(|| format!("copying {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    });
    let _ = std::fs::remove_dir_all(&scratch);
    copied
}

/// Ends when somebody wants this program to end; says how a shell would.
async fn asked_to_end() -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    Ok(tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    })
}
