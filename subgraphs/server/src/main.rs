//! `velvet`: the API of any set of domains (`serve`), their projectors (`project`), or both.
//!
//! It links no database: what it reads is in Redis, what it writes goes to Kafka.

mod connections;
mod operate;
mod operations;
mod run;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use velvet_kernel::{config::Config, domain::Domain};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Every domain there is; the configuration names those that a process runs.
const DOMAINS: [Domain; 3] = [velvet_accounts::DOMAIN, velvet_matching::DOMAIN, velvet_messaging::DOMAIN];

/// The subgraphs of Velvet.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file; `VELVET_…` in the environment goes over it.
    #[arg(long, default_value = "velvet.toml", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API only.
    Serve,
    /// Projects only.
    Project,
    /// Writes the subgraphs' schemas.
    Schema {
        /// The folder to write to.
        #[arg(long)]
        out: PathBuf,
    },
    /// Looks after the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Makes the topics that do not exist yet.
    Topics,
    /// Makes a signing key; the newest signs.
    Keys {
        /// The folder of the keys.
        #[arg(long)]
        out: PathBuf,
    },
    /// Registers the people of a file, one JSON object a line, through the log like everyone else.
    Import {
        /// The file.
        #[arg(long)]
        file: PathBuf,
    },
    /// Sets what an operator has found out about a user: `pending`, `verified`, `rejected` or `unverified`.
    Verify {
        /// The user's id.
        #[arg(long)]
        user: String,
        /// The new status.
        #[arg(long)]
        status: String,
    },
    /// Gives a user staff rights, or takes them; tokens that are out keep what they say until they end.
    Grant {
        /// The user's address.
        #[arg(long)]
        email: String,
        /// `ADMIN` or `MODERATOR`.
        #[arg(long)]
        role: String,
        /// Takes them.
        #[arg(long)]
        revoke: bool,
    },
    /// Makes partners and their keys.
    #[command(subcommand)]
    Partner(PartnerCommand),
    /// Looks after a partner's operations, as the partner: with one of its keys and no configuration.
    #[command(subcommand)]
    Operations(operations::Command),
}

#[derive(Subcommand)]
enum PartnerCommand {
    /// Makes a partner with the usual limits.
    Create {
        /// Its short name, for good: 3 to 32 of a-z, 0-9 and -.
        #[arg(long)]
        slug: String,
        /// What people call it.
        #[arg(long)]
        name: String,
        /// The address of its service account.
        #[arg(long)]
        user: String,
    },
    /// Makes a key and prints it, this once.
    Key {
        /// The partner's short name.
        #[arg(long)]
        partner: String,
        /// `test` or `live`.
        #[arg(long)]
        mode: String,
        /// What it lets in to, such as `matching:query,messaging:mutation`, or `*`.
        #[arg(long, value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// Requests must be signed.
        #[arg(long)]
        require_signature: bool,
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
    let config = || -> anyhow::Result<Config> {
        let config = Config::load(&arguments.config)
            .with_context(|| format!("the configuration {}", arguments.config.display()))?;
        config.check_domains(&DOMAINS.map(|domain| domain.name))?;
        for domain in DOMAINS {
            (domain.check)(&config)?;
        }
        Ok(config)
    };
    match arguments.command {
        None => run::run(config()?, run::Roles { serve: true, project: true }).await,
        Some(Command::Serve) => run::run(config()?, run::Roles { serve: true, project: false }).await,
        Some(Command::Project) => run::run(config()?, run::Roles { serve: false, project: true }).await,
        Some(Command::Schema { out }) => operate::write_schemas(&out),
        Some(Command::Config(ConfigCommand::Check)) => {
            config()?;
            println!("the configuration is right");
            Ok(())
        }
        Some(Command::Topics) => operate::make_topics(&config()?).await,
        Some(Command::Keys { out }) => operate::make_key(&out),
        Some(Command::Import { file }) => operate::import(config()?, &file).await,
        Some(Command::Verify { user, status }) => operate::verify(config()?, &user, &status).await,
        Some(Command::Grant { email, role, revoke }) => operate::grant(config()?, &email, &role, !revoke).await,
        Some(Command::Partner(PartnerCommand::Create { slug, name, user })) => {
            operate::create_partner(config()?, &slug, &name, &user).await
        }
        Some(Command::Partner(PartnerCommand::Key { partner, mode, scopes, require_signature })) => {
            let (partner, mode, scopes) = (partner.as_str(), mode.as_str(), scopes.as_slice());
            let key = velvet_accounts::NewPartnerKey { partner, mode, scopes, require_signature };
            operate::create_partner_key(config()?, key).await
        }
        Some(Command::Operations(command)) => operations::run(command).await,
    }
}
