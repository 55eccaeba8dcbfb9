//! `velvet-writer`: the only process that talks to the database.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::{path::PathBuf, time::Duration};
use velvet_kernel::config::Config;
use velvet_writer::{
    domain::DOMAINS,
    migrate, operate, replay, run,
    shards::{self, moving},
};

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
    /// Says where the shards are, and moves them from server to server.
    #[command(subcommand)]
    Shard(ShardCommand),
    /// Shows the records that could not be applied, and applies them once their cause is mended.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Compares the stored positions with the log: what each shard still has to read, and whether the log has it.
    Positions,
    /// Looks after the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ShardCommand {
    /// Says which server has each shard, and what copies have stayed behind.
    List,
    /// Moves a shard to another server of the configuration while everything runs.
    Move {
        /// Its number, 0 to 15.
        #[arg(long)]
        shard: u8,
        /// The server's host and port, as `shard list` has them.
        #[arg(long)]
        to: String,
        /// How long copying may take, in seconds.
        #[arg(long, default_value_t = 86_400)]
        timeout: u64,
    },
    /// Drops the copies that moves of a shard have left behind.
    DropOld {
        /// Its number, 0 to 15.
        #[arg(long)]
        shard: u8,
    },
}

#[derive(Subcommand)]
enum DeadLettersCommand {
    /// Shows those that have not been replayed.
    List,
    /// Applies those that have not been replayed.
    Replay {
        /// Only the record at this place: topic/partition/offset.
        #[arg(long)]
        at: Option<String>,
    },
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
        Command::Shard(command) => shard(&config, command).await,
        Command::DeadLetters(DeadLettersCommand::List) => replay::list(&config).await,
        Command::DeadLetters(DeadLettersCommand::Replay { at }) => replay::run(&config, at.as_deref()).await,
        Command::Positions => operate::positions(&config).await,
        Command::Config(ConfigCommand::Check) => {
            println!("the configuration is right: {} shards, {} domains", shards::COUNT, DOMAINS.len());
            Ok(())
        }
    }
}

async fn shard(config: &Config, command: ShardCommand) -> anyhow::Result<()> {
    let servers = &config.writer.postgres;
    match command {
        ShardCommand::List => moving::list(servers).await,
        ShardCommand::Move { shard, to, timeout } => {
            moving::run(servers, shard, &to, Duration::from_secs(timeout)).await
        }
        ShardCommand::DropOld { shard } => moving::drop_old(servers, shard).await,
    }
}
