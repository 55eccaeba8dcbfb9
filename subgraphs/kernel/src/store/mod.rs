//! Redis, where every view lives: one cluster of masters, or one server.
//!
//! A [`Call`] is a command or script on keys of one hash tag. [`Store::run`] sends many of them at
//! once: calls for one master go as one pipeline, in order, and the masters side by side, so that a
//! batch costs about one round trip however many calls it has.

mod call;
mod epoch;
mod hub;
mod masters;
mod merge;
mod scripts;
mod slot;
pub mod view;

pub use call::{Call, Script};
pub use epoch::{CANARIES, Epoch, epoch_of};
pub use hub::{Hub, Listener, Signal};
pub use merge::merged;
pub use redis::Value as Reply;

use crate::config::RedisConfig;
use arc_swap::ArcSwap;
use futures::{StreamExt, stream};
use masters::{Master, Masters, Slots};
use redis::{
    ErrorKind, FromRedisValue, PushInfo, ServerErrorKind,
    aio::ConnectionLike,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
};
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
/// Pipelines of one batch that are on their way at the same time; more only queue in the same sockets.
const PIPELINES_IN_FLIGHT_MAX: usize = 256;
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
    masters: Arc<ArcSwap<Masters>>,
    /// How to connect to a master, but for its address.
    template: Arc<redis::ConnectionInfo>,
    hub: Arc<Hub>,
}

/// Calls that go as one pipeline.
struct Group {
    /// Any of their slots.
    slot: u16,
    /// Whether they are of several slots, which one master had when the cluster was last asked.
    spans: bool,
    /// That master, if there is a connection to it; else the cluster's client takes them.
    master: Option<Arc<Master>>,
    calls: Vec<usize>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// A pipeline that takes two writes must not wait between them for the server to acknowledge the first.
fn tcp() -> redis::io::tcp::TcpSettings {
    redis::io::tcp::TcpSettings::default().set_nodelay(true)
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
                let client = redis::Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp()))?;
                Ok(Self::Single(client.get_connection_manager_with_config(manager).await?))
            }
            urls => {
                let client = redis::cluster::ClusterClientBuilder::new(urls.iter().map(String::as_str))
                    .use_protocol(redis::ProtocolVersion::RESP3)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(RESPONSE_TIMEOUT)
                    .push_sender(pushes.clone())
                    .tcp_settings(tcp())
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
        let template = Arc::new(template_of(config)?);
        let store = Self { current, masters: Arc::default(), template, hub };
        store.ask_for_masters().await;
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
        // On the heap: whoever awaits this would carry room for it, also when idle.
        Box::pin(self.run_groups(calls)).await
    }

    async fn run_groups(&self, calls: &[Call]) -> Result<Vec<Reply>, Error> {
        let mut groups = self.groups(calls);
        if groups.len() <= 1 {
            return match groups.pop() {
                Some(group) => self.run_group(calls, &group).await,
                None => Ok(Vec::new()),
            };
        }
        let mut replies = vec![Reply::Nil; calls.len()];
        let mut answers = stream::iter(groups.into_iter().map(|group| async move {
            let answers = self.run_group(calls, &group).await?;
            Ok::<_, Error>((group.calls, answers))
        }))
        .buffer_unordered(PIPELINES_IN_FLIGHT_MAX);
        while let Some(group) = answers.next().await {
            let (indices, answers) = group?;
            for (index, answer) in indices.into_iter().zip(answers) {
                replies[index] = answer;
            }
        }
        Ok(replies)
    }

    /// Divides calls by where they go: by master as far as the masters are known, else by slot.
    fn groups(&self, calls: &[Call]) -> Vec<Group> {
        if calls.is_empty() {
            return Vec::new();
        }
        if let Connection::Single(_) = **self.current.load() {
            return vec![Group { slot: 0, spans: false, master: None, calls: (0..calls.len()).collect() }];
        }
        let masters = self.masters.load();
        let place = |slot: u16| masters.of(slot).map_or((false, slot), |master| (true, master));
        let mut groups: Vec<Group> = Vec::new();
        let mut by_place: HashMap<(bool, u16), usize> = HashMap::new();
        for (index, call) in calls.iter().enumerate() {
            let slot = call.slot();
            let (known, number) = place(slot);
            let at = *by_place.entry((known, number)).or_insert_with(|| {
                let master = known.then(|| masters.standing(number)).flatten();
                groups.push(Group { slot, spans: false, master, calls: Vec::new() });
                groups.len() - 1
            });
            let group = &mut groups[at];
            group.spans |= group.slot != slot;
            group.calls.push(index);
        }
        groups
    }

    /// Slots may have moved since the cluster was asked; then the calls go once more, slot by slot, and the client
    /// follows each to where it is. A call that was done already changes nothing a second time.
    async fn run_group(&self, calls: &[Call], group: &Group) -> Result<Vec<Reply>, Error> {
        match self.send_group(calls, group).await {
            Err(error) if (group.spans || group.master.is_some()) && is_elsewhere(&error) => {
                self.run_by_slot(calls, group).await
            }
            outcome => outcome,
        }
    }

    async fn run_by_slot(&self, calls: &[Call], group: &Group) -> Result<Vec<Reply>, Error> {
        let mut by_slot: HashMap<u16, Vec<usize>> = HashMap::new();
        for (place, index) in group.calls.iter().enumerate() {
            by_slot.entry(calls[*index].slot()).or_default().push(place);
        }
        let mut replies = vec![Reply::Nil; group.calls.len()];
        let mut answers = stream::iter(by_slot.into_iter().map(|(slot, places)| async move {
            let indices = places.iter().map(|place| group.calls[*place]).collect();
            let part = Group { slot, spans: false, master: None, calls: indices };
            let answers = self.send_group(calls, &part).await?;
            Ok::<_, Error>((places, answers))
        }))
        .buffer_unordered(PIPELINES_IN_FLIGHT_MAX);
        while let Some(part) = answers.next().await {
            let (places, answers) = part?;
            for (place, answer) in places.into_iter().zip(answers) {
                replies[place] = answer;
            }
        }
        Ok(replies)
    }

    async fn send_group(&self, calls: &[Call], group: &Group) -> Result<Vec<Reply>, Error> {
        let mut by_hash = true;
        for _ in 1..SCRIPT_ATTEMPTS {
            match self.send(calls, group, by_hash).await {
                // Scripts are sent by their hash; a server that restarted has forgotten them.
                Err(error) if is_no_script(&error) => by_hash = false,
                outcome => return outcome,
            }
        }
        self.send(calls, group, by_hash).await
    }

    async fn send(&self, calls: &[Call], group: &Group, by_hash: bool) -> Result<Vec<Reply>, Error> {
        let count = group.calls.len();
        let mut pipeline = redis::Pipeline::with_capacity(count);
        for index in &group.calls {
            pipeline.add_command(calls[*index].command(by_hash));
        }
        metrics::counter!("velvet_store_round_trips_total").increment(1);
        let read = |replies: Vec<Reply>| {
            replies.into_iter().map(|reply| reply.extract_error().map_err(Error::Redis)).collect::<Result<_, _>>()
        };
        if let Some(master) = &group.master {
            match master.send(&pipeline, count).await {
                // The cluster's client knows what to do about a master that is gone.
                Some(Err(error)) if error.is_connection_dropped() => {}
                Some(replies) => return read(replies?),
                None => {}
            }
        }
        let connection = self.current.load_full();
        let replies = match &*connection {
            Connection::Cluster(cluster) => {
                let route = SingleNodeRoutingInfo::SpecificNode(Route::new(group.slot, SlotAddr::Master));
                cluster.clone().route_pipeline(pipeline, 0, count, route).await
            }
            Connection::Single(single) => single.clone().req_packed_commands(&pipeline, 0, count).await,
        }?;
        read(replies)
    }

    /// Whether the cluster's own client answers, by which nothing else may go for a while.
    async fn probe(&self) -> Result<(), Error> {
        let calls: Vec<Call> = Self::canary_calls().collect();
        let all = Group { slot: 0, spans: true, master: None, calls: (0..calls.len()).collect() };
        self.run_by_slot(&calls, &all).await.map(drop)
    }

    /// Asks a cluster which master has which slot. Without an answer what was known stands.
    async fn ask_for_masters(&self) {
        let connection = self.current.load_full();
        let Connection::Cluster(cluster) = &*connection else { return };
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let route = redis::cluster_routing::RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary);
        let Ok(reply) = cluster.clone().route_command(command, route).await else { return };
        let known = self.masters.load_full();
        if let Some(slots) = Slots::read(&reply).filter(|slots| !known.are(slots)) {
            self.masters.store(Arc::new(Masters::connect(slots, &self.template, &known).await));
        }
    }
}

/// How to connect to any of the servers, but for the address.
fn template_of(config: &RedisConfig) -> Result<redis::ConnectionInfo, Error> {
    let url = config.urls.first().map(String::as_str).unwrap_or_default();
    let info: redis::ConnectionInfo = redis::IntoConnectionInfo::into_connection_info(url)?;
    let settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

/// Replaces a client that has stopped answering: after the death of a master, a cluster's client can
/// wait for its own recovery for ever.
async fn watch(store: Store, config: RedisConfig, pushes: UnboundedSender<PushInfo>) {
    let mut failures = 0;
    let mut subscribed = true;
    loop {
        tokio::time::sleep(WATCH_PAUSE).await;
        failures = if store.probe().await.is_ok() { 0 } else { failures + 1 };
        if failures == 0 {
            store.ask_for_masters().await;
        }
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
    matches!(error, Error::Redis(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

/// Whether some of the keys are with another master, or on their way there.
fn is_elsewhere(error: &Error) -> bool {
    use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain};
    let Error::Redis(error) = error else { return false };
    matches!(
        error.kind(),
        ErrorKind::Server(Moved | Ask | TryAgain | ClusterDown | MasterDown | BusyLoading | ReadOnly)
    )
}
