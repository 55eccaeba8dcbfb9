//! Reading rows in tests, through PostgreSQL's own client: no database library enters the workspace by this crate.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::process::Command;

use crate::servers::postgres::bin;
use crate::servers::{find_program, run};

const QUERY_WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, Clone)]
pub struct Database {
    psql: PathBuf,
    url: String,
}

impl Database {
    pub fn new(url: &str) -> Result<Self> {
        let beside = bin().ok().into_iter().collect::<Vec<_>>();
        let psql = find_program("psql", &beside).context("psql is not installed (package postgresql-client)")?;
        Ok(Self::with_program(psql, url.to_owned()))
    }

    pub fn with_program(psql: PathBuf, url: String) -> Self {
        Self { psql, url }
    }

    /// The rows of one `select`, each an object of its columns.
    pub async fn query(&self, select: &str) -> Result<Vec<Value>> {
        let wrapped = format!("select coalesce(json_agg(to_json(r)), '[]') from ({select}) r");
        let printed = self.psql(&wrapped).await?;
        serde_json::from_str(printed.trim()).context("reading psql's answer")
    }

    /// The single value of a `select` of one column and one row.
    pub async fn value(&self, select: &str) -> Result<Value> {
        let rows = self.query(select).await?;
        let row = rows.into_iter().next().and_then(|row| row.as_object().cloned());
        row.and_then(|row| row.into_iter().next()).map(|(_, value)| value).with_context(|| format!("no row: {select}"))
    }

    /// Any statements, in order; what they print.
    pub async fn execute(&self, sql: &str) -> Result<String> {
        self.psql(sql).await
    }

    async fn psql(&self, sql: &str) -> Result<String> {
        let mut command = Command::new(&self.psql);
        // The address holds a password, so it goes where other users of the machine cannot read it.
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .env("PGCONNECT_TIMEOUT", "5")
            .envs(connection_env(&self.url)?)
            .current_dir("/");
        run(&mut command, None, QUERY_WITHIN).await.with_context(|| format!("asking PostgreSQL: {sql}"))
    }
}

fn connection_env(url: &str) -> Result<Vec<(&'static str, String)>> {
    let url = reqwest::Url::parse(url).context("reading PostgreSQL's address")?;
    Ok(vec![
        ("PGHOST", url.host_str().unwrap_or("127.0.0.1").to_owned()),
        ("PGPORT", url.port().unwrap_or(5432).to_string()),
        ("PGUSER", url.username().to_owned()),
        ("PGPASSWORD", url.password().unwrap_or_default().to_owned()),
        ("PGDATABASE", url.path().trim_start_matches('/').to_owned()),
    ])
}
