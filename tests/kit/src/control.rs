//! Orders to the owner of a stack: one JSON line each way per connection, on loopback, with a token.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::balancer::Balancer;
use crate::links::{Links, State};
use crate::servers::redis::Redis;
use crate::supervisor::Supervisor;

/// An order is a few words.
const ORDER_BYTES: u64 = 4_096;
const ORDER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Starts it and waits until it serves.
    Start,
    /// Starts it and does not wait.
    Spawn,
    /// Asks it to end and waits until it has.
    Stop,
    /// SIGKILL.
    Kill,
    Pause,
    Resume,
    Restart,
    /// SIGKILL, and a start without the files it had saved; Redis only.
    RestartEmpty,
    /// Drops the connections that go through it; the balancer only.
    Cut,
    /// What the links of that name, or those whose names begin with what stands before a `*`, do from now on.
    Refuse,
    Silence,
    Slow {
        ms: u64,
    },
    Open,
    /// Whether it runs.
    Status,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub token: String,
    pub action: Action,
    pub part: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    pub error: Option<String>,
    pub running: bool,
    pub pid: Option<u32>,
}

#[derive(Debug)]
pub struct Control {
    pub token: String,
    pub supervisor: Arc<Supervisor>,
    /// Absent when somebody else runs it.
    pub redis: Option<Redis>,
    /// Absent when there is one API.
    pub balancer: Option<Balancer>,
    pub links: Links,
}

impl Control {
    /// Takes orders until dropped with its task.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let control = self.clone();
            tokio::spawn(async move {
                if let Err(cause) = control.converse(stream).await {
                    tracing::warn!(error = format!("{cause:#}"), "an order was cut short");
                }
            });
        }
    }

    async fn converse(&self, stream: TcpStream) -> Result<()> {
        let (read, mut write) = stream.into_split();
        let mut line = String::new();
        tokio::time::timeout(ORDER_WITHIN, BufReader::new(read.take(ORDER_BYTES)).read_line(&mut line))
            .await
            .context("no order came")??;
        let order: Order = serde_json::from_str(&line).context("reading an order")?;
        let answer = match self.obey(&order).await {
            Ok(answer) => answer,
            Err(cause) => Answer { error: Some(format!("{cause:#}")), ..Answer::default() },
        };
        let text = serde_json::to_string(&answer)? + "\n";
        write.write_all(text.as_bytes()).await.context("answering an order")
    }

    async fn obey(&self, order: &Order) -> Result<Answer> {
        if order.token != self.token {
            bail!("the order's token is not this stack's");
        }
        if order.action == Action::Cut {
            self.balancer.as_ref().context("this stack has no balancer")?.cut();
            return Ok(Answer { running: true, ..Answer::default() });
        }
        if let Some(state) = of_link(order.action) {
            self.links.set(&order.part, state)?;
            return Ok(Answer { running: true, ..Answer::default() });
        }
        let process = self.supervisor.get(&order.part)?;
        match order.action {
            Action::Start => process.start().await?,
            Action::Spawn => process.spawn().await?,
            Action::Stop => process.stop().await?,
            Action::Kill => process.kill9().await?,
            Action::Pause => process.pause().await?,
            Action::Resume => process.resume().await?,
            Action::Restart => process.restart().await?,
            Action::RestartEmpty => {
                let (redis, index) = self.redis_index(&order.part)?;
                process.kill9().await?;
                redis.remove_files(index)?;
                process.start().await?;
            }
            Action::Status => {}
            Action::Cut | Action::Refuse | Action::Silence | Action::Slow { .. } | Action::Open => {
                bail!("{} is no link", order.part)
            }
        }
        if matches!(order.action, Action::Start | Action::Restart | Action::RestartEmpty) {
            self.settle(&order.part).await?;
        }
        Ok(Answer { error: None, running: process.is_running().await?, pid: process.pid().await })
    }

    /// A Redis that is back must also be back in its cluster, unless others are still missing from it.
    async fn settle(&self, part: &str) -> Result<()> {
        let Ok((redis, _)) = self.redis_index(part) else {
            return Ok(());
        };
        for process in self.supervisor.all() {
            if process.spec.name.starts_with("redis-") && !process.is_running().await? {
                return Ok(());
            }
        }
        redis.wait_ok().await
    }

    fn redis_index(&self, part: &str) -> Result<(&Redis, usize)> {
        let redis = self.redis.as_ref().context("this stack runs no Redis of its own")?;
        let index = part.strip_prefix("redis-").and_then(|index| index.parse().ok());
        Ok((redis, index.with_context(|| format!("{part} is not a Redis"))?))
    }
}

fn of_link(action: Action) -> Option<State> {
    match action {
        Action::Refuse => Some(State::Refuses),
        Action::Silence => Some(State::Silent),
        Action::Slow { ms } => Some(State::Slow(Duration::from_millis(ms))),
        Action::Open => Some(State::Open),
        _ => None,
    }
}
