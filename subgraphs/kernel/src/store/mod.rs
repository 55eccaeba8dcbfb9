//! Redis, where every view lives: one cluster of masters, or one server.
//!
//! A [`Call`] is a command or script on keys of one hash tag. [`Store::run`] sends many of them at
//! once: calls of one slot go as one pipeline, in order, and the slots side by side, so that a
//! batch costs about one round trip however many calls it has.

mod call;
mod epoch;
mod hub;
mod scripts;
mod slot;
pub mod view;

pub use call::{Call, Script};
pub use epoch::{CANARIES, Epoch, epoch_of};
pub use hub::{Hub, Listener, Signal};
pub use redis::Value as Reply;

use crate::config::RedisConfig;
use arc_swap::ArcSwap;
use futures::{StreamExt, stream};
use redis::{FromRedisValue, PushInfo, aio::ConnectionLike};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::mpsc::UnboundedSender;

/// A reply that takes longer counts as a failure: the caller must answer its client.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection is up by then, or the server counts as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the connection is tried.
const WATCH_PAUSE: Duration = Duration::from_secs(1);
/// A client gets this many trials to recover by itself.
const FAILURES_BEFORE_REPLACEMENT: u32 = 2;
/// Finding the cluster's masters anew takes no longer.
const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Slots that one batch addresses at the same time; more only queue in the same sockets.
const SLOTS_IN_FLIGHT_MAX: usize = 256;
/// A script that is missing on a server is loaded by sending it once in full, so one retry is enough.
const SCRIPT_ATTEMPTS: usize = 2;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused, or could not be reached in time.
    #[error("asking Redis")]
    Redis(#[from] redis::RedisError),
    /// What is stored is not what this version writes.
    #[error("reading {key}")]
    Malformed {
        /// The key, without its value.
        key: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The reply has another shape than the command promises.
    #[error("reading the reply to a batch")]
    Reply(#[from] redis::ParsingError),
}

/// The connection to one server or to a cluster.
#[derive(Clone)]
enum Connection {
    Cluster(redis::cluster_async::ClusterConnection),
    Single(redis::aio::ConnectionManager),
}

/// The connection that is in use now. A client that does not recover by itself is replaced.
type Current = Arc<ArcSwap<Connection>>;

/// A handle on Redis; clones share the connection.
#[derive(Clone)]
pub struct Store {
    current: Current,
    hub: Arc<Hub>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects. Several addresses are a cluster's, one is a single server's.
    async fn open(config: &RedisConfig, pushes: &UnboundedSender<PushInfo>) -> Result<Self, Error> {
        match config.urls.as_slice() {
            [url] => {
                let manager = redis::aio::ConnectionManagerConfig::new()
                    .set_response_timeout(Some(RESPONSE_TIMEOUT))
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_push_sender(pushes.clone())
                    .set_automatic_resubscription();
                let info: redis::ConnectionInfo = redis::IntoConnectionInfo::into_connection_info(url.as_str())?;
                let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
                let client = redis::Client::open(info.set_redis_settings(settings))?;
                Ok(Self::Single(client.get_connection_manager_with_config(manager).await?))
            }
            urls => {
                let client = redis::cluster::ClusterClientBuilder::new(urls.iter().map(String::as_str))
                    .use_protocol(redis::ProtocolVersion::RESP3)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(RESPONSE_TIMEOUT)
                    .push_sender(pushes.clone())
                    .build()?;
                Ok(Self::Cluster(client.get_async_connection().await?))
            }
        }
    }
}

impl Store {
    /// Connects, and watches over the connection from then on.
    pub async fn connect(config: &RedisConfig) -> Result<Self, Error> {
        let (sender, pushes) = tokio::sync::mpsc::unbounded_channel();
        let current: Current = Arc::new(ArcSwap::from_pointee(Connection::open(config, &sender).await?));
        let hub = Hub::start(Arc::clone(&current), pushes);
        let store = Self { current, hub };
        tokio::spawn(watch(store.clone(), config.clone(), sender));
        Ok(store)
    }

    /// The listeners of this process.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Runs one call.
    pub async fn ask<T: FromRedisValue>(&self, call: Call) -> Result<T, Error> {
        let mut replies = self.run(std::slice::from_ref(&call)).await?;
        Ok(T::from_redis_value(replies.pop().unwrap_or(Reply::Nil))?)
    }

    /// Runs many calls and returns their replies in the same order. Calls of one slot keep their order.
    pub async fn run(&self, calls: &[Call]) -> Result<Vec<Reply>, Error> {
        let mut by_slot: HashMap<u16, Vec<usize>> = HashMap::new();
        for (index, call) in calls.iter().enumerate() {
            by_slot.entry(self.group_of(call)).or_default().push(index);
        }
        let mut replies = vec![Reply::Nil; calls.len()];
        let mut groups = stream::iter(by_slot.into_values().map(|indices| async move {
            let answers = self.run_slot(calls, &indices).await?;
            Ok::<_, Error>((indices, answers))
        }))
        .buffer_unordered(SLOTS_IN_FLIGHT_MAX);
        while let Some(group) = groups.next().await {
            let (indices, answers) = group?;
            for (index, answer) in indices.into_iter().zip(answers) {
                replies[index] = answer;
            }
        }
        Ok(replies)
    }

    /// Calls of one group go in one pipeline: a slot's in a cluster, all of them on one server.
    fn group_of(&self, call: &Call) -> u16 {
        match **self.current.load() {
            Connection::Cluster(_) => call.slot(),
            Connection::Single(_) => 0,
        }
    }

    async fn run_slot(&self, calls: &[Call], indices: &[usize]) -> Result<Vec<Reply>, Error> {
        let mut by_hash = true;
        for _ in 1..SCRIPT_ATTEMPTS {
            match self.send(calls, indices, by_hash).await {
                // Scripts are sent by their hash; a server that restarted has forgotten them.
                Err(error) if is_no_script(&error) => by_hash = false,
                outcome => return outcome,
            }
        }
        self.send(calls, indices, by_hash).await
    }

    async fn send(&self, calls: &[Call], indices: &[usize], by_hash: bool) -> Result<Vec<Reply>, Error> {
        let mut pipeline = redis::pipe();
        for index in indices {
            pipeline.add_command(calls[*index].command(by_hash));
        }
        let count = indices.len();
        let connection = self.current.load_full();
        let replies = match &*connection {
            Connection::Cluster(cluster) => cluster.clone().req_packed_commands(&pipeline, 0, count).await,
            Connection::Single(single) => single.clone().req_packed_commands(&pipeline, 0, count).await,
        }?;
        replies.into_iter().map(|reply| reply.extract_error().map_err(Error::Redis)).collect()
    }
}

/// Replaces a client that has stopped answering: after the death of a master, a cluster's client can
/// wait for its own recovery for ever.
async fn watch(store: Store, config: RedisConfig, pushes: UnboundedSender<PushInfo>) {
    let mut failures = 0;
    let mut subscribed = true;
    loop {
        tokio::time::sleep(WATCH_PAUSE).await;
        failures = if store.epoch().await.is_ok() { 0 } else { failures + 1 };
        // Whatever the client has recovered by itself, no channel may stay silent.
        subscribed &= !store.hub.was_disconnected();
        if failures == 0 && !subscribed {
            subscribed = store.hub.subscribe_again().await;
        }
        if failures < FAILURES_BEFORE_REPLACEMENT {
            continue;
        }
        match tokio::time::timeout(REPLACEMENT_TIMEOUT, Connection::open(&config, &pushes)).await {
            Ok(Ok(connection)) => {
                tracing::warn!("store.connection_replaced");
                metrics::counter!("velvet_store_replacements_total").increment(1);
                store.current.store(Arc::new(connection));
                subscribed = store.hub.subscribe_again().await;
                failures = 0;
            }
            Ok(Err(error)) => tracing::warn!(error = %crate::telemetry::chain(&error), "store.unavailable"),
            Err(_) => tracing::warn!("store.unavailable"),
        }
    }
}

fn is_no_script(error: &Error) -> bool {
    matches!(error, Error::Redis(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript))
}
