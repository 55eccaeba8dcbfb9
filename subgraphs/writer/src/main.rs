//! `velvet-writer`: the only process that talks to the database.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::{path::PathBuf, time::Duration};
use velvet_kernel::config::Config;
use velvet_writer::{domain::DOMAINS, migrate, operate, run, shards};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The writer of Velvet.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file; `VELVET_…` in the environment goes over it.
    #[arg(long, default_value = "velvet.toml", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes, decides and reads back until it is told to end.
    Run,
    /// Brings all shards to the newest tables.
    Migrate,
    /// Has all views rebuilt from the database by the running processes, and waits until they are.
    Rebuild {
        /// How long to wait, in seconds.
        #[arg(long, default_value_t = 3600)]
        timeout: u64,
    },
    /// Looks after the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Says whether the configuration is right.
    Check,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(dispatch(arguments))
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    let config =
        Config::load(&arguments.config).with_context(|| format!("the configuration {}", arguments.config.display()))?;
    config.check_domains(&DOMAINS.map(velvet_writer::domain::Domain::name))?;
    shards::servers(&config.writer.postgres)?;
    match arguments.command {
        Command::Run => run::run(config).await,
        Command::Migrate => {
            let applied = migrate::run(&config.writer.postgres).await?;
            println!("{applied} migrations applied to {} shards", shards::COUNT);
            Ok(())
        }
        Command::Rebuild { timeout } => operate::rebuild(&config, Duration::from_secs(timeout)).await,
        Command::Config(ConfigCommand::Check) => {
            println!("the configuration is right: {} shards, {} domains", shards::COUNT, DOMAINS.len());
            Ok(())
        }
    }
}
