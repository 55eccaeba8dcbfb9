//! The operations that somebody relies on: partners' from the registry, first-party ones from manifests.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use velvet_edge::manifest::Manifest;

use crate::plugins::partners::snapshot::Snapshot;

/// The name that the build tools of Apollo give to a manifest.
pub const MANIFEST_FILE: &str = "persisted-query-manifest.json";

/// Whose an operation is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A partner's, by its short name, with the client that it was published for.
    Partner { slug: String, client: String },
    /// That of a client of our own.
    FirstParty { client: String },
}

/// An operation that somebody relies on.
#[derive(Debug)]
pub struct Operation {
    /// Whose it is.
    pub owner: Owner,
    /// What it is called by.
    pub id: String,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Its text.
    pub body: Arc<str>,
    /// What it was found to cost when it was published.
    pub published_cost: Option<u64>,
    /// How often it was called; nothing when it never was, or when that is not counted.
    pub usage: Option<Usage>,
}

/// How often an operation was called, of all time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Calls.
    pub calls: u64,
    /// RFC 3339.
    pub last_called_at: Option<String>,
}

/// The registry as far as the check needs it; also the form in which it is taken along to a machine without Redis.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Export {
    partners: Vec<Partner>,
    operations: Vec<Registered>,
    /// By `<partner's short name>/<operation's id>`.
    #[serde(default)]
    usage: BTreeMap<String, Usage>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Partner {
    id: String,
    slug: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    partner_id: String,
    id: String,
    name: Option<String>,
    body: String,
    cost: Option<u64>,
    client_name: Option<String>,
    retired_at: Option<String>,
}

impl Export {
    /// From what Redis holds. A record that cannot be read fails: what it is about cannot be said to be safe.
    pub fn of(snapshot: &Snapshot) -> anyhow::Result<Self> {
        let usage = snapshot.usage.iter().map(|(field, value)| {
            let usage = serde_json::from_str(value).with_context(|| format!("the usage of {field} does not parse"))?;
            Ok((field.clone(), usage))
        });
        Ok(Self {
            partners: records("partner", &snapshot.partners)?,
            operations: records("operation", &snapshot.operations)?,
            usage: usage.collect::<anyhow::Result<_>>()?,
        })
    }

    /// From a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not an export of the registry", path.display()))
    }

    /// Into a file.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    /// The operations that are not retired.
    pub fn operations(self) -> anyhow::Result<Vec<Operation>> {
        let slugs: HashMap<String, String> =
            self.partners.into_iter().map(|partner| (partner.id, partner.slug)).collect();
        let live = self.operations.into_iter().filter(|operation| operation.retired_at.is_none());
        let named = live.map(|operation| {
            let slug = slugs.get(&operation.partner_id).with_context(|| {
                format!(
                    "operation {} is of a partner that is not in the registry: {}",
                    operation.id, operation.partner_id
                )
            })?;
            Ok(Operation {
                usage: self.usage.get(&format!("{slug}/{}", operation.id)).cloned(),
                owner: Owner::Partner { slug: slug.clone(), client: operation.client_name.unwrap_or_default() },
                id: operation.id,
                name: operation.name,
                body: operation.body.into(),
                published_cost: operation.cost,
            })
        });
        named.collect()
    }
}

fn records<R: for<'de> Deserialize<'de>>(what: &str, values: &[String]) -> anyhow::Result<Vec<R>> {
    let read = values.iter().map(|value| {
        serde_json::from_str(value).with_context(|| format!("a record of a {what} in the registry does not parse"))
    });
    read.collect()
}

/// The operations of the clients in a folder: each folder in it with a manifest is one client.
pub fn first_party(folder: &Path) -> anyhow::Result<Vec<Operation>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut operations = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let path = entry.path().join(MANIFEST_FILE);
        if path.is_file() {
            read_manifest(&path, &entry.file_name().to_string_lossy(), &mut operations)?;
        }
    }
    Ok(operations)
}

fn read_manifest(path: &Path, client: &str, operations: &mut Vec<Operation>) -> anyhow::Result<()> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let manifest = Manifest::parse(&text).with_context(|| path.display().to_string())?;
    for (operation, problems) in manifest.operations.iter().zip(manifest.problems()) {
        if let Some(problem) = problems.first() {
            bail!("{}: {}: {problem}", path.display(), operation.id);
        }
    }
    operations.extend(manifest.operations.into_iter().map(|listed| Operation {
        owner: Owner::FirstParty { client: client.to_owned() },
        id: listed.id,
        name: listed.name,
        body: listed.body.into(),
        published_cost: None,
        usage: None,
    }));
    Ok(())
}
