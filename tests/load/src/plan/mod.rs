//! Scenarios in files: what is measured, how often and how long, for a reader to change.

mod kinds;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

pub use self::kinds::{Away, Celebrity, ColdStart, Graph, Mix, Rates, SignIn, Steady, Storm, Subscribers};

/// Where scenarios are that are named without a path, below the root of the checkout.
const FOLDER: &str = "tests/load/scenarios";
/// No scenario may take longer.
const WITHIN_SECONDS_MAX: u64 = 7_200;

/// One scenario's file, with what the command line changes of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Plan {
    /// The file's name.
    #[serde(skip)]
    pub name: String,
    /// What it is about; shown with `--list`.
    pub about: String,
    /// It ends by itself after this time, whatever it has seen.
    pub within_seconds: u64,
    #[serde(flatten)]
    pub kind: Kind,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    Subscribers(Subscribers),
    Mix(Mix),
    Storm(Storm),
    Celebrity(Celebrity),
    SignIn(SignIn),
    ColdStart(ColdStart),
    Steady(Steady),
    Graph(Graph),
}

impl Plan {
    /// Reads a scenario by its name or its path. Of the changes, `name.key=value` hold for the one of this name alone and
    /// must name a key that it has; `key=value` hold for all that have the key.
    pub fn read(root: &Path, name: &str, changes: &[Change]) -> Result<Self> {
        let path = if Path::new(name).extension().is_some() {
            PathBuf::from(name)
        } else {
            root.join(FOLDER).join(name).with_extension("toml")
        };
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("{name} is no scenario: there is no {}", path.display()))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Self::parse(&stem, &text, changes).with_context(|| format!("reading {}", path.display()))
    }

    /// Those that are there, by name.
    pub fn names(root: &Path) -> Vec<String> {
        let files = std::fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten();
        let paths =
            files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
        let mut names: Vec<String> =
            paths.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
        names.sort();
        names
    }

    pub fn within(&self) -> Duration {
        Duration::from_secs(self.within_seconds)
    }

    fn parse(name: &str, text: &str, changes: &[Change]) -> Result<Self> {
        let mut table: toml::Table = text.parse()?;
        for change in changes {
            change.apply(name, &mut table)?;
        }
        let mut plan: Self = toml::Value::Table(table).try_into()?;
        name.clone_into(&mut plan.name);
        ensure!(
            (1..=WITHIN_SECONDS_MAX).contains(&plan.within_seconds),
            "within_seconds is 1 to {WITHIN_SECONDS_MAX}, not {}",
            plan.within_seconds
        );
        plan.kind.check()?;
        Ok(plan)
    }
}

/// A value of a scenario that the command line changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    scenario: Option<String>,
    key: String,
    value: toml::Value,
}

impl Change {
    pub fn of(scenario: &str, key: &str, value: impl Into<toml::Value>) -> Self {
        Self { scenario: Some(scenario.to_owned()), key: key.to_owned(), value: value.into() }
    }

    fn apply(&self, name: &str, table: &mut toml::Table) -> Result<()> {
        if self.scenario.as_ref().is_some_and(|scenario| scenario != name) {
            return Ok(());
        }
        match table.get_mut(&self.key) {
            Some(value) => *value = self.value.clone(),
            None if self.scenario.is_some() => bail!("{name} has no {}", self.key),
            None => {}
        }
        Ok(())
    }
}

impl std::str::FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected [scenario.]key=value")?;
        let (scenario, key) = match name.rsplit_once('.') {
            Some((scenario, key)) => (Some(scenario.to_owned()), key),
            None => (None, name),
        };
        let parsed = format!("value = {value}").parse::<toml::Table>();
        let value = match parsed.ok().and_then(|mut table| table.remove("value")) {
            Some(value) => value,
            None => toml::Value::String(value.to_owned()),
        };
        Ok(Self { scenario, key: key.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORM: &str =
        "about = 'x'\nkind = 'storm'\nwithin_seconds = 60\nconversations = 5\nrate = 10.0\nseconds = 2\n";

    fn storm(changes: &[&str]) -> Result<Storm> {
        let changes: Vec<Change> = changes.iter().map(|text| text.parse().expect("a change")).collect();
        match Plan::parse("storm-many", STORM, &changes)?.kind {
            Kind::Storm(storm) => Ok(storm),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_changes_a_value_of_one_scenario_or_of_all() {
        assert_eq!(storm(&[]).unwrap().conversations, 5);
        assert_eq!(storm(&["conversations=7"]).unwrap().conversations, 7);
        assert_eq!(storm(&["storm-many.conversations=8", "mix.conversations=9"]).unwrap().conversations, 8);
        assert_eq!(storm(&["people=9"]).unwrap().conversations, 5, "what others have");
    }

    #[test]
    fn what_a_scenario_does_not_have_is_refused() {
        assert!(storm(&["storm-many.conversation=7"]).is_err());
        assert!(Plan::parse("x", &STORM.replace("rate", "rats"), &[]).is_err());
        assert!(storm(&["rate='fast'"]).is_err());
        assert!(storm(&["rate=0.0"]).is_err(), "a rate has bounds");
        assert!(storm(&["within_seconds=100000"]).is_err());
    }

    #[test]
    fn the_scenarios_that_are_shipped_are_sound() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let names = Plan::names(&root);
        assert!(names.len() >= 8, "{names:?}");
        for name in names {
            Plan::read(&root, &name, &[]).unwrap();
        }
    }
}
