//! An API beside the stack's own, with other settings.

use anyhow::{Context, Result, ensure};
use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};
use tokio::process::Child;
use velvet_kit::{Handle, binaries::Binaries, client::Client, until};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// Ends with SIGKILL when dropped.
#[derive(Debug)]
pub struct SecondApi {
    address: SocketAddr,
    _process: Child,
}

impl SecondApi {
    /// Starts one on the stack's configuration, but for these settings (`SECTION__KEY`). It serves and does not project.
    pub async fn start(stack: &Handle, settings: &[(&str, &str)]) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("a free port")?;
        let process = Binaries::beside(&stack.info, "velvet", "second-api")?
            .arg("--config")
            .arg(&stack.info.config)
            .arg("serve")
            .env("VELVET_API__LISTEN", address.to_string())
            .envs(settings.iter().map(|(name, value)| (format!("VELVET_{name}"), value)))
            .spawn()
            .context("starting a second API")?;
        let api = Self { address, _process: process };
        let ready = format!("http://{address}/ready");
        until("the second API", READY_WITHIN, || async {
            let answer = reqwest::get(&ready).await.context("asking whether it is ready")?;
            ensure!(answer.status().is_success(), "{}", answer.status());
            Ok(())
        })
        .await?;
        Ok(api)
    }

    /// A client of one of its subgraphs.
    pub fn subgraph(&self, name: &str, token: &str) -> Result<Client> {
        Ok(Client::new(&format!("http://{}/{name}/graphql", self.address))?.bearer(token))
    }
}
