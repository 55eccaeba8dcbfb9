//! Connections to Redis: a cluster, or one server.

use std::time::Duration;

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::config::RedisConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Where Redis is.
#[derive(Clone)]
pub(in super::super) struct Redis {
    urls: Vec<String>,
}

#[derive(Clone)]
pub(in super::super) enum Connection {
    Cluster(Box<ClusterConnection>),
    Single(MultiplexedConnection),
}

impl Redis {
    pub(super) fn new(config: &RedisConfig) -> Self {
        Self::at(config.list().into_iter().map(str::to_owned).collect())
    }

    /// Several addresses are a cluster's, one is a single server's.
    pub(in super::super) fn at(urls: Vec<String>) -> Self {
        Self { urls }
    }

    /// A connection on which a command may block that long.
    pub(in super::super) async fn open(&self, block: Duration) -> Result<Connection, RedisError> {
        let response = RESPONSE_TIMEOUT + block;
        let opening = async {
            match self.urls.as_slice() {
                [url] => {
                    let config = AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(CONNECT_TIMEOUT))
                        .set_response_timeout(Some(response));
                    let client = Client::open(url.as_str())?;
                    Ok(Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
                }
                urls => {
                    let client = ClusterClientBuilder::new(urls.iter().map(String::as_str))
                        .connection_timeout(CONNECT_TIMEOUT)
                        .response_timeout(response)
                        .build()?;
                    Ok(Connection::Cluster(Box::new(client.get_async_connection().await?)))
                }
            }
        };
        within(CONNECT_TIMEOUT, opening).await
    }
}

impl Connection {
    pub(in super::super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        let value = match self {
            Self::Cluster(cluster) => cluster.req_packed_command(command).await,
            Self::Single(single) => single.req_packed_command(command).await,
        }?;
        Ok(T::from_redis_value(value.extract_error()?)?)
    }
}

/// A connection that is opened when it is needed, and again after it failed.
pub(super) struct OnDemand {
    redis: Redis,
    connection: Mutex<Option<Connection>>,
}

impl OnDemand {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis, connection: Mutex::new(None) }
    }

    /// Asks, within a second; connecting may take another two.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = within(CONNECT_TIMEOUT, self.connection()).await?;
        let answer = within(RESPONSE_TIMEOUT, connection.ask(command)).await;
        if answer.is_err() {
            *self.connection.lock().await = None;
        }
        answer
    }

    async fn connection(&self) -> Result<Connection, RedisError> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = &*connection {
            return Ok(open.clone());
        }
        let opened = self.redis.open(Duration::ZERO).await?;
        *connection = Some(opened.clone());
        Ok(opened)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(unanswered()))
}

fn unanswered() -> RedisError {
    RedisError::from((redis::ErrorKind::Io, "Redis does not answer"))
}
