//! `velvet-router check`: a change of the supergraph that would break a partner is seen before it is released.

use anyhow::{Context, Result};
use serde_json::Value;
use std::{path::PathBuf, process::Output};
use tokio::process::Command;
use velvet_e2e::{partner::Partner, program::Program};
use velvet_kit::{Handle, Profile, binaries::Binaries};

const BIO: &str = "query Bio($id: ID!) {\n  user(id: $id) {\n    id\n    bio\n  }\n}";
const PLAIN: &str = "query Plain { deck(first: 1) { distanceKm } }";
const SOME: &str = "query Some { deck(first: 1, filter: { genders: [NON_BINARY] }) { distanceKm } }";
const ASKED: &str = "query Asked($filter: DeckFilter!) { deck(first: 1, filter: $filter) { distanceKm } }";
const NAME: &str = "query Name($id: ID!) { user(id: $id) { displayName } }";

/// A checkout whose schema is about to change.
struct Checkout<'a> {
    stack: &'a Handle,
    folder: PathBuf,
}

impl<'a> Checkout<'a> {
    /// With this in the subgraphs' schemas in the place of that.
    fn with(stack: &'a Handle, name: &str, was: &str, now: &str) -> Result<Self> {
        let folder = stack.info.state.join(format!("check-{name}"));
        std::fs::create_dir_all(folder.join("schema"))?;
        let mut changed = false;
        for subgraph in ["accounts", "matching", "messaging"] {
            let file = format!("schema/{subgraph}.graphql");
            let sdl = std::fs::read_to_string(stack.info.root.join(&file))?;
            changed |= sdl.contains(was);
            std::fs::write(folder.join(&file), sdl.replace(was, now))?;
        }
        assert!(changed, "{was} is in no schema");
        std::fs::copy(stack.info.root.join("supergraph.yaml"), folder.join("supergraph.yaml"))?;
        Ok(Self { stack, folder })
    }

    /// Checks it against what is registered now. Other tests register what was never good: that does not count, as it
    /// does not work today.
    async fn check(&self, more: &[&str]) -> Result<Output> {
        let info = &self.stack.info;
        let binaries = Binaries::find(&info.root, Profile::Debug)?;
        let mut command = Command::new(binaries.path("velvet-router"));
        command.arg("check").arg("--against").arg(self.folder.join("supergraph.yaml"));
        command.arg("--from").arg(info.root.join("schema/supergraph.graphql"));
        command.args(["--redis", &info.redis_urls.join(",")]).arg("--clients").arg(info.root.join("clients"));
        command.args(more).kill_on_drop(true).output().await.context("running velvet-router check")
    }

    /// The exit code, and what would break of this partner's.
    async fn breaks(&self, partner: &Partner) -> Result<(Option<i32>, Vec<Value>)> {
        let checked = self.check(&["--json"]).await?;
        let report: Value = serde_json::from_slice(&checked.stdout)
            .with_context(|| format!("no report: {}", String::from_utf8_lossy(&checked.stderr)))?;
        let all = report["breaks"].as_array().context("a list of what breaks")?;
        let of_partner = all.iter().filter(|finding| finding["partner"] == partner.slug.as_str()).cloned();
        Ok((checked.status.code(), of_partner.collect()))
    }
}

fn ids(findings: &[Value]) -> Vec<&str> {
    let mut ids: Vec<_> = findings.iter().filter_map(|finding| finding["id"].as_str()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_change_that_would_break_a_partner_is_refused_and_one_that_breaks_none_passes() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (acme, other) = (Partner::create(&stack).await?, Partner::create(&stack).await?);
    let program = Program::new(&stack, acme.key().await?)?;
    program.publish(&[("bio", BIO), ("plain", PLAIN), ("some", SOME), ("asked", ASKED)]).await?;
    Program::new(&stack, other.key().await?)?.publish(&[("name", NAME)]).await?;

    // A field goes: the partner that reads it is named, with the operation and the place.
    let gone = Checkout::with(&stack, "field", "\tbio: String!", "\tbiography: String!")?;
    let (code, breaks) = gone.breaks(&acme).await?;
    assert_eq!((code, ids(&breaks)), (Some(1), vec!["bio"]), "{breaks:?}");
    let finding = &breaks[0];
    assert_eq!((&finding["name"], &finding["client"]), (&"Bio".into(), &"app".into()), "{finding}");
    let problem = &finding["problems"][0];
    assert_eq!((&problem["locations"][0]["line"], &problem["locations"][0]["column"]), (&4.into(), &5.into()));
    assert_eq!(gone.breaks(&other).await?.1, Vec::<Value>::new());
    let told = String::from_utf8(gone.check(&[]).await?.stdout)?;
    for part in ["WOULD BREAK: Bio (bio)".to_owned(), format!("of partner {}, client app;", acme.slug)] {
        assert!(told.contains(&part), "{part} is not in\n{told}");
    }

    // An argument becomes required.
    let required = Checkout::with(&stack, "argument", "\t\tfilter: DeckFilter,", "\t\tfilter: DeckFilter!,")?;
    let (code, breaks) = required.breaks(&acme).await?;
    assert_eq!((code, ids(&breaks)), (Some(1), vec!["plain"]), "{breaks:?}");

    // A value of an enum goes: who writes it out breaks, and who may send it.
    let narrowed = Checkout::with(&stack, "enum", "\tNON_BINARY", "\tANOTHER")?;
    let (code, breaks) = narrowed.breaks(&acme).await?;
    assert_eq!((code, ids(&breaks)), (Some(1), vec!["asked", "some"]), "{breaks:?}");

    // A field is added.
    let more = Checkout::with(&stack, "more", "\tbio: String!", "\tbio: String!\n\tmotto: String")?;
    let passed = more.check(&[]).await?;
    let told = String::from_utf8_lossy(&passed.stdout);
    assert_eq!(passed.status.code(), Some(0), "{told}{}", String::from_utf8_lossy(&passed.stderr));
    assert!(told.contains("Nothing would break."), "{told}");
    Ok(())
}
