//! Golden files: what a domain decides, as `schema/events/` has it for everyone who reads it. A file
//! is never edited: a new field is optional, and a break is a new version with a file of its own.

use anyhow::{Context, Result, ensure};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema/events");

/// Fails unless the type reads the golden event of each of these kinds and writes the same again.
pub fn reads_and_writes<T: Serialize + DeserializeOwned>(kinds: &[&str]) -> Result<()> {
    for kind in kinds {
        let file = format!("{FOLDER}/{kind}.v1.json");
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        let golden: Value = serde_json::from_str(&text).with_context(|| format!("reading {file}"))?;
        let row: T = serde_json::from_value(golden.clone()).with_context(|| format!("{kind} is not understood"))?;
        let written = serde_json::to_value(row).with_context(|| format!("writing {kind}"))?;
        ensure!(written == golden, "{kind} is written as {written}");
    }
    Ok(())
}
