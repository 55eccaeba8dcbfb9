//! Operators' commands: each does one thing and ends.

use crate::{DOMAINS, run::connect};
use anyhow::{Context as _, bail};
use std::path::Path;
use tokio_util::sync::CancellationToken;
use velvet_kernel::{
    config::Config,
    id::UserId,
    identity, log,
    time::{Clock as _, SystemClock},
};

/// Writes each subgraph's schema to `<out>/<name>.graphql`.
pub fn write_schemas(out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    for domain in DOMAINS {
        let file = out.join(format!("{}.graphql", domain.name));
        std::fs::write(&file, (domain.sdl)()).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// Makes the topics that do not exist yet.
pub async fn make_topics(config: &Config) -> anyhow::Result<()> {
    let names: Vec<&str> = DOMAINS.iter().map(|domain| domain.name).collect();
    let made = log::ensure_topics(&config.kafka, &names).await.context("making the topics")?;
    println!("{made} topics made");
    Ok(())
}

/// Makes a signing key.
pub fn make_key(out: &Path) -> anyhow::Result<()> {
    let kid = identity::generate_key(out, SystemClock.now())?;
    println!("made the key {kid}");
    Ok(())
}

/// Registers the people of a file.
pub async fn import(config: Config, file: &Path) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let parts = connect(config, &stop).await?;
    let text = tokio::fs::read_to_string(file).await.with_context(|| format!("reading {}", file.display()))?;
    let total = text.lines().count();
    velvet_accounts::import::run(&parts.serve, text.lines().map(str::to_owned).collect(), |done| {
        println!("imported {done}/{total}");
    })
    .await?;
    stop.cancel();
    Ok(())
}

/// Sets a user's verification status.
pub async fn verify(config: Config, user: &str, status: &str) -> anyhow::Result<()> {
    let Some(user) = UserId::parse(user) else { bail!("{user} is no user id") };
    let stop = CancellationToken::new();
    let parts = connect(config, &stop).await?;
    velvet_accounts::set_verification(&parts.serve, user, status).await?;
    stop.cancel();
    Ok(())
}

/// Gives a user staff rights, or takes them.
pub async fn grant(config: Config, email: &str, role: &str, held: bool) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let parts = connect(config, &stop).await?;
    velvet_accounts::set_role(&parts.serve, email, role, held).await?;
    stop.cancel();
    Ok(())
}

/// Makes a partner.
pub async fn create_partner(config: Config, slug: &str, name: &str, email: &str) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let parts = connect(config, &stop).await?;
    velvet_accounts::create_partner(&parts.serve, slug, name, email).await?;
    println!("made the partner {slug}");
    stop.cancel();
    Ok(())
}

/// Makes a key and prints it.
pub async fn create_partner_key(config: Config, key: velvet_accounts::NewPartnerKey<'_>) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let parts = connect(config, &stop).await?;
    println!("{}", velvet_accounts::create_partner_key(&parts.serve, key).await?);
    stop.cancel();
    Ok(())
}
