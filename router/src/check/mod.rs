//! `velvet-router check`: whether a supergraph that is to come would break an operation that somebody relies on.
//!
//! Every operation that a partner has registered, and those of our own clients, is parsed, validated, weighed and planned
//! against it. With the supergraph of today (`--from`) it is also seen whether the variables that callers send still fit
//! and whether answers keep their form, which a valid operation does not tell of itself.
//!
//! Ends with 0 when nothing would break, with 1 when something would or the supergraph does not compose, and with 2 when
//! that could not be found out.

mod checker;
mod compare;
mod examine;
mod registered;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgGroup, Parser};

pub use checker::{Checker, RECURSION_MAX, TOKENS_MAX, Unfit};
use examine::{Bounds, examine};
use registered::{Export, Operation, first_party};

use crate::compose;
use crate::plugins::limits::Audience;
use crate::plugins::partners::snapshot;

const BREAKS: u8 = 1;
const UNKNOWN: u8 = 2;

/// Where our own clients are, unless it is said.
const CLIENTS: &str = "clients";

/// Holds registered operations against a supergraph that is to come. Ends with 0 when nothing would break, with 1 when
/// something would, and with 2 when that could not be found out.
#[derive(Debug, Parser)]
#[command(name = "velvet-router check")]
#[command(group(ArgGroup::new("registry_source").args(["redis", "registry"])))]
struct Arguments {
    /// What is to come: a list of subgraphs in rover's format (`.yaml`), which is composed, or a composed schema.
    #[arg(long)]
    against: PathBuf,
    /// What is there today, in either form: then variables and the form of answers are compared as well.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Where partners' operations are read: Redis, with a comma between the members of a cluster.
    #[arg(long)]
    redis: Option<String>,
    /// Partners' operations from a file that `--save` has written.
    #[arg(long)]
    registry: Option<PathBuf>,
    /// Writes what was read from Redis, for a machine that cannot reach it.
    #[arg(long, requires = "redis")]
    save: Option<PathBuf>,
    /// The folder of our own clients; each folder in it that has a persisted-query-manifest.json is one [default: clients,
    /// if it is there].
    #[arg(long)]
    clients: Option<PathBuf>,
    /// The most that a partner's call may cost.
    #[arg(long, default_value_t = Audience::Partner.default_cost_max())]
    partner_cost_max: u64,
    /// The most that a call of our own clients may cost.
    #[arg(long, default_value_t = Audience::User.default_cost_max())]
    first_party_cost_max: u64,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand. The first argument is its name.
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments = Arguments::parse_from(arguments);
    match check(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(UNKNOWN)
        }
    }
}

fn check(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let operations = operations(arguments)?;
    let before = arguments.from.as_deref().map(|path| checker(&sdl(path)?, path)).transpose()?;
    let after = match sdl(&arguments.against).and_then(|sdl| checker(&sdl, &arguments.against)) {
        Ok(after) => after,
        // The file is there, so this is what the change did.
        Err(error) if arguments.against.is_file() => {
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(BREAKS));
        }
        Err(error) => return Err(error),
    };
    let bounds = Bounds { partner: arguments.partner_cost_max, first_party: arguments.first_party_cost_max };
    let mut report = examine(&operations, before.as_ref(), &after, &bounds);
    report.against = arguments.against.display().to_string();
    report.from = arguments.from.as_ref().map(|path| path.display().to_string());
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(BREAKS) })
}

fn operations(arguments: &Arguments) -> anyhow::Result<Vec<Operation>> {
    let mut operations = match &arguments.clients {
        Some(folder) => first_party(folder)?,
        None if Path::new(CLIENTS).is_dir() => first_party(Path::new(CLIENTS))?,
        None => Vec::new(),
    };
    let export = match (&arguments.redis, &arguments.registry) {
        (Some(urls), _) => Some(read_redis(urls)?),
        (None, Some(path)) => Some(Export::read(path)?),
        (None, None) => None,
    };
    if let Some(export) = export {
        if let Some(path) = &arguments.save {
            export.write(path)?;
        }
        operations.extend(export.operations()?);
    }
    Ok(operations)
}

fn read_redis(urls: &str) -> anyhow::Result<Export> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let snapshot = runtime.block_on(snapshot::read(urls)).context("the registry cannot be read from Redis")?;
    Export::of(&snapshot)
}

/// A composed schema, or one that is composed now.
fn sdl(path: &Path) -> anyhow::Result<String> {
    if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        return compose::from_file(path);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn checker(sdl: &str, path: &Path) -> anyhow::Result<Checker> {
    Checker::new(sdl).map_err(|error| anyhow::anyhow!("{} is not a supergraph's schema: {error}", path.display()))
}
