//! Which crate may know which: the database stays with the writer, domains know no other domain.

use anyhow::{Context, Result};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// What each crate of ours may use of ours, besides in its tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("velvet-router", &["velvet-edge"]),
    ("velvet-edge", &[]),
    ("velvet-kernel", &[]),
    ("velvet-accounts", &["velvet-kernel"]),
    ("velvet-matching", &["velvet-kernel"]),
    ("velvet-messaging", &["velvet-kernel"]),
    ("velvet-server", &["velvet-kernel", "velvet-accounts", "velvet-matching", "velvet-messaging"]),
    ("velvet-migrations", &[]),
    (
        "velvet-writer",
        &["velvet-kernel", "velvet-accounts", "velvet-matching", "velvet-messaging", "velvet-migrations"],
    ),
    ("velvet-kit", &[]),
    ("velvet-e2e", &["velvet-kit"]),
    // It folds the log once more, to see that the same is decided.
    (
        "velvet-faults",
        &["velvet-kernel", "velvet-accounts", "velvet-matching", "velvet-messaging", "velvet-kit", "velvet-e2e"],
    ),
    ("velvet-load", &["velvet-kit", "velvet-e2e"]),
    ("velvet-fuzz", &["velvet-edge", "velvet-kernel"]),
];

/// What links a database.
const DATABASE: [&str; 4] = ["sea-orm", "sqlx-core", "sqlx-postgres", "tokio-postgres"];
/// What must never reach one.
const WITHOUT_DATABASE: [&str; 6] =
    ["velvet-kernel", "velvet-accounts", "velvet-matching", "velvet-messaging", "velvet-server", "velvet-router"];

struct Graph {
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
}

fn graph() -> Result<Graph> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .context("running cargo metadata")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let names =
        list(&metadata["packages"]).iter().map(|package| (text(&package["id"]), text(&package["name"]))).collect();
    let edges = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let used = list(&node["deps"]).into_iter().filter(|used| {
                // Only what is linked: neither tests' nor build scripts' dependencies.
                list(&used["dep_kinds"]).iter().any(|kind| kind["kind"].is_null())
            });
            (text(&node["id"]), used.map(|used| text(&used["pkg"])).collect())
        })
        .collect();
    Ok(Graph { names, edges })
}

impl Graph {
    fn id_of(&self, name: &str) -> &str {
        self.names.iter().find(|(_, known)| *known == name).map_or("", |(id, _)| id)
    }

    fn reach(&self, name: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![self.id_of(name)];
        while let Some(id) = open.pop() {
            for used in self.edges.get(id).into_iter().flatten() {
                if reached.insert(self.names[used].as_str()) {
                    open.push(used);
                }
            }
        }
        reached
    }
}

#[test]
fn crates_know_only_those_that_they_may() -> Result<()> {
    let graph = graph()?;
    let ours: BTreeSet<&str> =
        graph.names.values().map(String::as_str).filter(|name| name.starts_with("velvet-")).collect();
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, listed, "say in ALLOWED what a new crate may know");
    for (name, allowed) in ALLOWED {
        for used in &graph.edges[graph.id_of(name)] {
            let used = graph.names[used].as_str();
            assert!(!used.starts_with("velvet-") || allowed.contains(&used), "{name} must not know {used}");
        }
    }
    Ok(())
}

#[test]
fn only_the_writer_links_the_database() -> Result<()> {
    let graph = graph()?;
    assert!(graph.reach("velvet-writer").contains("sea-orm"), "the check itself must be able to see it");
    for name in WITHOUT_DATABASE {
        let reached = graph.reach(name);
        for database in DATABASE {
            assert!(!reached.contains(database), "{name} links {database}");
        }
    }
    Ok(())
}
