//! Registered operations of clients without a key, from manifests on disk.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tower::BoxError;
use velvet_edge::manifest::Manifest;
use velvet_edge::sha256_hex;

use super::config::{FirstPartyConfig, Mode};

/// Texts that were logged as not registered; more are not told apart any more.
const LOGGED_MAX: usize = 10_000;

pub(super) struct FirstParty {
    pub(super) mode: Mode,
    operations: HashMap<String, Arc<str>>,
    logged: Mutex<HashSet<String>>,
}

impl FirstParty {
    /// Fails on a manifest that is not one: what clients may call must not depend on which files could be read.
    pub(super) fn load(config: &FirstPartyConfig) -> Result<Self, BoxError> {
        let mut operations = HashMap::new();
        if let Some(folder) = config.manifests_dir.as_deref().filter(|folder| !folder.as_os_str().is_empty()) {
            for entry in std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    read(&path, &mut operations)?;
                }
            }
        }
        Ok(Self { mode: config.mode, operations, logged: Mutex::default() })
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<str>> {
        self.operations.get(id).cloned()
    }

    pub(super) fn bodies(&self) -> impl Iterator<Item = Arc<str>> {
        self.operations.values().cloned()
    }

    /// Says once per text that it is not registered, by its hash: the text may hold what people typed.
    pub(super) fn log(&self, text: &str) {
        let hash = sha256_hex(text.as_bytes());
        if self.operations.contains_key(&hash) {
            return;
        }
        let mut logged = self.logged.lock();
        if logged.len() < LOGGED_MAX && !logged.contains(&hash) {
            tracing::info!(operation.sha256 = %hash, "an operation that is not registered was called");
            logged.insert(hash);
        }
    }
}

fn read(path: &Path, operations: &mut HashMap<String, Arc<str>>) -> Result<(), BoxError> {
    let named = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let text = std::fs::read(path).map_err(|error| named(&error))?;
    let manifest = Manifest::parse(&text).map_err(|error| named(&error))?;
    for (operation, problems) in manifest.operations.iter().zip(manifest.problems()) {
        if let Some(problem) = problems.first() {
            return Err(named(&format!("{}: {problem}", operation.id)).into());
        }
    }
    for operation in manifest.operations {
        let body: Arc<str> = operation.body.into();
        let known = operations.insert(operation.id.clone(), Arc::clone(&body));
        if known.is_some_and(|known| known != body) {
            return Err(named(&format!("{}: stands for another operation elsewhere", operation.id)).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<FirstParty, BoxError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let manifests_dir = Some(folder.path().to_owned());
        FirstParty::load(&FirstPartyConfig { mode: Mode::Required, manifests_dir })
    }

    #[test]
    fn manifests_of_a_folder_are_read_and_a_bad_one_is_refused() {
        let good = load(&[("web.json", r#"{"a":"{ a }"}"#), ("app.json", r#"{"b":"{ b }"}"#), ("x.txt", "")]).unwrap();
        assert_eq!(good.find("a").as_deref(), Some("{ a }"));
        assert!(good.find("b").is_some() && good.find("c").is_none());
        assert!(load(&[("web.json", "{")]).is_err());
        assert!(load(&[("web.json", r#"{"a/b":"{ a }"}"#)]).is_err());
        assert!(load(&[("web.json", r#"{"a":"{ a }"}"#), ("app.json", r#"{"a":"{ b }"}"#)]).is_err());
        assert!(FirstParty::load(&FirstPartyConfig::default()).unwrap().find("a").is_none());
    }
}
