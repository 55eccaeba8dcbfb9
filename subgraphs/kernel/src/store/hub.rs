//! The hub: sharded channels of Redis, handed to the listeners of this process.
//!
//! One subscription per channel serves all who listen to it here. A listener that was too slow, or
//! whose connection broke, hears a gap: it must read again what the channel only announces.

use super::{Connection, Current, Error};
use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value, aio::ConnectionLike};
use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{broadcast, mpsc};

/// Messages that wait for a listener; a slower one hears a gap, and reads again.
const LISTENER_QUEUE: usize = 16;
/// Subscribing to a channel and leaving it take turns; by stripes, so that channels rarely wait for others.
const STRIPES: usize = 64;
/// Channels that a sudden end of many listeners may leave to be closed.
const CLOSING_QUEUE: usize = 4096;

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum Signal {
    /// A message on the channel.
    Message(Bytes),
    /// Messages may be missing.
    Gap,
}

/// All channels that this process listens to.
pub struct Hub {
    current: Current,
    channels: Mutex<HashMap<String, Channel>>,
    turns: Vec<tokio::sync::Mutex<()>>,
    hasher: std::hash::RandomState,
    closing: mpsc::Sender<String>,
    disconnected: AtomicBool,
}

/// One channel of Redis.
struct Channel {
    sender: broadcast::Sender<Signal>,
    /// Whether Redis has confirmed the subscription; a second confirmation means that it was lost meanwhile.
    confirmed: bool,
}

/// One listener to one channel.
pub struct Listener {
    channel: String,
    signals: broadcast::Receiver<Signal>,
    closing: mpsc::Sender<String>,
}

impl Listener {
    /// What comes next on the channel.
    pub async fn next(&mut self) -> Signal {
        match self.signals.recv().await {
            Ok(signal) => signal,
            Err(broadcast::error::RecvError::Lagged(_)) => Signal::Gap,
            // The hub keeps the sender while anyone listens; this end is only reached on shutdown.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A full queue leaves an idle subscription behind, which the next listener takes over.
        drop(self.closing.try_send(std::mem::take(&mut self.channel)));
    }
}

impl Hub {
    pub(super) fn start(current: Current, pushes: mpsc::UnboundedReceiver<PushInfo>) -> Arc<Self> {
        let (closing, closed) = mpsc::channel(CLOSING_QUEUE);
        let hub = Arc::new(Self {
            current,
            channels: Mutex::default(),
            turns: (0..STRIPES).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: std::hash::RandomState::new(),
            closing,
            disconnected: AtomicBool::new(false),
        });
        tokio::spawn(dispatch(Arc::clone(&hub), pushes));
        tokio::spawn(close_idle(Arc::clone(&hub), closed));
        hub
    }

    /// Listens to a channel from the moment this returns.
    pub async fn listen(&self, channel: &str) -> Result<Listener, Error> {
        let _turn = self.turn_of(channel).lock().await;
        let known = self.channels.lock().get(channel).map(|channel| channel.sender.subscribe());
        let signals = if let Some(signals) = known {
            signals
        } else {
            let (sender, signals) = broadcast::channel(LISTENER_QUEUE);
            self.channels.lock().insert(channel.to_owned(), Channel { sender, confirmed: false });
            if let Err(error) = self.send("SSUBSCRIBE", channel).await {
                self.channels.lock().remove(channel);
                return Err(error);
            }
            signals
        };
        Ok(Listener { channel: channel.to_owned(), signals, closing: self.closing.clone() })
    }

    fn turn_of(&self, channel: &str) -> &tokio::sync::Mutex<()> {
        let stripe = self.hasher.hash_one(channel) % STRIPES as u64;
        &self.turns[usize::try_from(stripe).unwrap_or_default()]
    }

    async fn send(&self, command: &'static str, channel: &str) -> Result<(), Error> {
        let connection = self.current.load_full();
        match &*connection {
            Connection::Cluster(cluster) if command == "SSUBSCRIBE" => cluster.clone().ssubscribe(channel).await?,
            Connection::Cluster(cluster) => cluster.clone().sunsubscribe(channel).await?,
            Connection::Single(single) => {
                single.clone().req_packed_command(redis::cmd(command).arg(channel)).await.map(drop)?;
            }
        }
        Ok(())
    }

    /// Whether a connection was lost since this was last asked: its subscriptions may be lost with it.
    pub(super) fn was_disconnected(&self) -> bool {
        self.disconnected.swap(false, Ordering::Relaxed)
    }

    /// Subscribes to all channels once more; whoever listens hears a gap. False when some failed.
    pub(super) async fn subscribe_again(&self) -> bool {
        let channels: Vec<String> = self.channels.lock().keys().cloned().collect();
        let mut subscribed = stream::iter(channels)
            .map(|channel| async move { self.send("SSUBSCRIBE", &channel).await })
            .buffer_unordered(STRIPES);
        let mut complete = true;
        while let Some(outcome) = subscribed.next().await {
            if let Err(error) = outcome {
                tracing::warn!(error = %crate::telemetry::chain(&error), "hub.subscribe_failed");
                complete = false;
            }
        }
        self.signal_all();
        complete
    }

    fn signal(&self, channel: &str, signal: Signal) {
        if let Some(channel) = self.channels.lock().get(channel) {
            // Nobody may be listening any more; then nobody misses it.
            drop(channel.sender.send(signal));
        }
    }

    /// A subscription that came back may have missed something before it did.
    fn confirm(&self, channel: &str) {
        if let Some(channel) = self.channels.lock().get_mut(channel)
            && std::mem::replace(&mut channel.confirmed, true)
        {
            drop(channel.sender.send(Signal::Gap));
        }
    }

    fn signal_all(&self) {
        for channel in self.channels.lock().values() {
            drop(channel.sender.send(Signal::Gap));
        }
    }
}

async fn dispatch(hub: Arc<Hub>, mut pushes: mpsc::UnboundedReceiver<PushInfo>) {
    while let Some(push) = pushes.recv().await {
        match (push.kind, push.data.as_slice()) {
            (PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                if let Ok(channel) = std::str::from_utf8(channel) {
                    hub.signal(channel, Signal::Message(Bytes::copy_from_slice(payload)));
                }
            }
            (PushKind::SSubscribe, [Value::BulkString(channel), ..]) => {
                if let Ok(channel) = std::str::from_utf8(channel) {
                    hub.confirm(channel);
                }
            }
            (PushKind::Disconnection, _) => {
                hub.disconnected.store(true, Ordering::Relaxed);
                hub.signal_all();
            }
            _ => {}
        }
    }
}

async fn close_idle(hub: Arc<Hub>, mut closed: mpsc::Receiver<String>) {
    let mut batch = Vec::new();
    while closed.recv_many(&mut batch, STRIPES).await > 0 {
        join_all(batch.drain(..).map(|channel| close_one(&hub, channel))).await;
    }
}

async fn close_one(hub: &Hub, channel: String) {
    let _turn = hub.turn_of(&channel).lock().await;
    let idle = {
        let mut channels = hub.channels.lock();
        let idle = channels.get(&channel).is_some_and(|channel| channel.sender.receiver_count() == 0);
        if idle {
            channels.remove(&channel);
        }
        idle
    };
    if idle && let Err(error) = hub.send("SUNSUBSCRIBE", &channel).await {
        // The subscription lives on unheard; its messages find no channel here.
        tracing::debug!(error = %crate::telemetry::chain(&error), "hub.unsubscribe_failed");
    }
}
