//! `velvet-router compose`: subgraph schemas to the supergraph's, with the Rust composition of apollo-federation.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use apollo_federation::composition::{CompositionOptions, compose};
use apollo_federation::error::CompositionError;
use apollo_federation::subgraph::typestate::{Initial, Subgraph};
use clap::Parser;
use serde::Deserialize;

/// Composes the supergraph's schema from those of the subgraphs.
#[derive(Debug, Parser)]
#[command(name = "velvet-router compose")]
struct Arguments {
    /// The list of subgraphs, in rover's format.
    #[arg(long, default_value = "supergraph.yaml")]
    config: PathBuf,
    /// Where to write the supergraph's schema; standard output when absent.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// The list of subgraphs. Ordered by name, so that the output does not depend on the file's order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Supergraph {
    /// Accepted for rover's sake; there is one composition here.
    #[serde(default, rename = "federation_version")]
    _federation_version: Option<serde_yaml::Value>,
    subgraphs: BTreeMap<String, SubgraphEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubgraphEntry {
    routing_url: String,
    schema: SchemaEntry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaEntry {
    /// Relative to the list's own folder.
    file: PathBuf,
}

/// Runs the subcommand. The first argument is its name.
pub fn run(arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let arguments = Arguments::parse_from(arguments);
    let supergraph = from_file(&arguments.config)?;
    match &arguments.output {
        None => print!("{supergraph}"),
        Some(output) => write_whole(output, &supergraph)?,
    }
    Ok(())
}

/// Composes a list of subgraphs.
pub fn from_file(config: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(config).with_context(|| format!("cannot read {}", config.display()))?;
    let list: Supergraph =
        serde_yaml::from_str(&text).with_context(|| format!("{} is not a list of subgraphs", config.display()))?;
    let folder = config.parent().unwrap_or_else(|| Path::new("."));
    let mut subgraphs = Vec::with_capacity(list.subgraphs.len());
    for (name, entry) in &list.subgraphs {
        subgraphs.push(parse(name, entry, folder)?);
    }
    match compose(subgraphs, CompositionOptions::default()) {
        Ok(supergraph) => Ok(supergraph.schema().schema().to_string()),
        Err(failure) => bail!("the subgraphs do not compose{}", listed(&failure.errors)),
    }
}

fn parse(name: &str, entry: &SubgraphEntry, folder: &Path) -> anyhow::Result<Subgraph<Initial>> {
    url::Url::parse(&entry.routing_url).with_context(|| format!("subgraph {name}: routing_url is not a URL"))?;
    let file = folder.join(&entry.schema.file);
    let sdl =
        std::fs::read_to_string(&file).with_context(|| format!("subgraph {name}: cannot read {}", file.display()))?;
    Subgraph::parse(name, &entry.routing_url, &sdl).map_err(|error| {
        let errors: Vec<_> = error.to_composition_errors().collect();
        anyhow::anyhow!("subgraph {name}: {} does not parse{}", file.display(), listed(&errors))
    })
}

fn listed(errors: &[CompositionError]) -> String {
    errors.iter().fold(String::new(), |mut text, error| {
        let _ = write!(text, "\n  {}: {error}", error.code().definition().code());
        text
    })
}

/// A running router may be watching the file: it must see the old one or the new one, nothing between.
fn write_whole(output: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = output.parent().filter(|path| !path.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let staged = output.with_extension("graphql.new");
    std::fs::write(&staged, text).with_context(|| format!("cannot write {}", staged.display()))?;
    std::fs::rename(&staged, output).with_context(|| format!("cannot write {}", output.display()))
}
