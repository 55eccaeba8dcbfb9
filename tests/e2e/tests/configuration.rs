//! `velvet config check` and `velvet-writer config check`: a typo cannot pass for a setting.

use anyhow::{Context, Result};
use std::{path::PathBuf, process::Output};
use tokio::process::Command;
use velvet_kit::{Handle, Profile, binaries::Binaries};

const PROGRAMS: [&str; 2] = ["velvet", "velvet-writer"];

/// The configuration that a program of the stack runs with.
fn config_of(stack: &Handle, program: &str) -> PathBuf {
    if program == "velvet" { stack.info.config.clone() } else { stack.info.writer_config() }
}

async fn check(stack: &Handle, program: &str, config: &PathBuf, variable: Option<&str>) -> Result<Output> {
    let binaries = Binaries::find(&stack.info.root, Profile::Debug)?;
    let mut command = Command::new(binaries.path(program));
    command.arg("--config").arg(config).args(["config", "check"]);
    command.envs(variable.map(|name| (name, "1"))).output().await.with_context(|| format!("running {program}"))
}

#[tokio::test]
async fn the_running_configuration_is_right() -> Result<()> {
    let stack = Handle::from_env()?;
    for program in PROGRAMS {
        let checked = check(&stack, program, &config_of(&stack, program), None).await?;
        assert!(checked.status.success(), "{program}: {checked:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_writer_alone_is_told_of_the_database() -> Result<()> {
    let stack = Handle::from_env()?;
    let api = std::fs::read_to_string(config_of(&stack, "velvet"))?;
    let writer = std::fs::read_to_string(config_of(&stack, "velvet-writer"))?;
    for postgres in &stack.info.postgres {
        assert!(writer.contains(&postgres.url));
    }
    assert!(!api.contains("postgres"), "{api}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_name_wherever_it_stands() -> Result<()> {
    let stack = Handle::from_env()?;
    let right = std::fs::read_to_string(stack.info.writer_config())?;
    let wrong = [
        ("root", format!("hallway = 1\n{right}")),
        ("section", right.replace("[writer]", "[writer]\nhallway = 1")),
        ("server", right.replace("[[writer.postgres]]", "[[writer.postgres]]\nhallway = 1")),
        ("new-section", format!("{right}\n[hallway]\nwidth = 1\n")),
    ];
    for (place, text) in wrong {
        assert_ne!(text, right, "{place}: the test itself must change something");
        let file = stack.info.state.join(format!("wrong-{place}.toml"));
        std::fs::write(&file, text)?;
        for program in PROGRAMS {
            assert_refused(&check(&stack, program, &file, None).await?, "hallway", &format!("{program}, {place}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_key_in_the_environment_is_refused_by_name() -> Result<()> {
    let stack = Handle::from_env()?;
    for program in PROGRAMS {
        let checked = check(&stack, program, &config_of(&stack, program), Some("VELVET_KAFKA__HALLWAY")).await?;
        assert_refused(&checked, "hallway", program);
    }
    Ok(())
}

#[tokio::test]
async fn each_domain_refuses_settings_that_it_does_not_know() -> Result<()> {
    let stack = Handle::from_env()?;
    let right = std::fs::read_to_string(&stack.info.config)?;
    for domain in ["accounts", "matching", "messaging"] {
        let file = stack.info.state.join(format!("wrong-{domain}.toml"));
        std::fs::write(&file, format!("{right}\n[domains.{domain}]\nhallway = 1\n"))?;
        assert_refused(&check(&stack, "velvet", &file, None).await?, "hallway", domain);
    }
    Ok(())
}

#[tokio::test]
async fn settings_of_a_domain_that_there_is_not_are_refused_by_name() -> Result<()> {
    let stack = Handle::from_env()?;
    for program in PROGRAMS {
        let right = std::fs::read_to_string(config_of(&stack, program))?;
        let file = stack.info.state.join(format!("no-domain-{program}.toml"));
        std::fs::write(&file, format!("{right}\n[domains.matchign]\nlikes_per_day = 5\n"))?;
        assert_refused(&check(&stack, program, &file, None).await?, "matchign", program);
    }
    Ok(())
}

fn assert_refused(checked: &Output, key: &str, what: &str) {
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success(), "{what} is taken for right");
    assert!(said.contains(key), "{what}: the message does not name {key}: {said}");
}
