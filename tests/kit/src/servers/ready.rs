//! How one sees that a process serves.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::Metadata;
use tokio::process::Command;

use super::redis::open;
use super::run;

/// A single question; the caller repeats it.
const QUESTION: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub enum Ready {
    /// The address answers 200.
    Http(String),
    /// PING is answered, so the file has been loaded too.
    Redis(u16),
    /// The metadata name a broker.
    Kafka(String),
    /// `pg_isready` is content.
    Postgres { pg_isready: PathBuf, port: u16 },
    /// Running is enough.
    Running,
}

impl Ready {
    pub async fn check(&self) -> Result<()> {
        match self {
            Self::Http(url) => http(url).await,
            Self::Redis(port) => {
                let mut connection = open(*port).await?;
                let _: String = redis::cmd("PING").query_async(&mut connection).await?;
                Ok(())
            }
            Self::Kafka(brokers) => match brokers_known(brokers).await? {
                0 => bail!("Kafka names no broker yet"),
                _ => Ok(()),
            },
            Self::Postgres { pg_isready, port } => {
                let mut command = Command::new(pg_isready);
                command.args(["-q", "-h", "127.0.0.1", "-d", "postgres", "-p", &port.to_string()]);
                run(&mut command, None, QUESTION).await.map(drop)
            }
            Self::Running => Ok(()),
        }
    }
}

async fn http(url: &str) -> Result<()> {
    let client = reqwest::Client::builder().timeout(QUESTION).build().context("making an HTTP client")?;
    let response = client.get(url).send().await.with_context(|| format!("asking {url}"))?;
    let status = response.status();
    if !status.is_success() {
        let text = response.text().await.unwrap_or_default();
        bail!("{url} answers {status}: {}", text.chars().take(300).collect::<String>());
    }
    Ok(())
}

/// How many brokers these name.
pub async fn brokers_known(brokers: &str) -> Result<usize> {
    described(brokers, |metadata| metadata.brokers().len()).await
}

/// What Kafka's metadata say.
pub async fn described<T: Send + 'static>(
    brokers: &str,
    read: impl FnOnce(&Metadata) -> T + Send + 'static,
) -> Result<T> {
    let brokers = brokers.to_owned();
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("log_level", "0")
            .create()
            .context("making a Kafka client")?;
        let metadata = consumer.fetch_metadata(None, QUESTION).context("asking Kafka for its metadata")?;
        Ok(read(&metadata))
    })
    .await
    .context("asking Kafka")?
}
