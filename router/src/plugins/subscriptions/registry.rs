//! The process's client sockets: how many there are, whose, and how they end when the process does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::metrics::SOCKETS;
use super::protocol::Close;
use super::socket::Socket;
use crate::plugins::drain;

/// How long the process waits for its sockets to close; each bounds its own goodbye well below.
const DRAIN_MAX: Duration = Duration::from_secs(10);

pub(super) static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

#[derive(Default)]
pub(super) struct Registry {
    /// Admitted sockets, those that still upgrade included.
    count: AtomicUsize,
    sockets: Mutex<HashMap<u64, Arc<Socket>>>,
    numbers: AtomicU64,
    draining: AtomicBool,
    left: Notify,
}

/// A socket's right to be open.
pub(super) struct Admission(&'static Registry);

/// A socket that is known to the registry.
pub(super) struct Membership {
    number: u64,
    _admission: Admission,
}

impl Registry {
    /// Nothing when there are too many, or when the process is about to end.
    pub(super) fn admit(&'static self, sockets_max: usize) -> Option<Admission> {
        if self.draining.load(Ordering::Acquire) {
            return None;
        }
        let taken = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < sockets_max).then_some(count + 1));
        taken.is_ok().then(|| {
            SOCKETS.add(1);
            Admission(self)
        })
    }

    pub(super) fn of_generation(&self, generation: u64) -> Vec<Arc<Socket>> {
        let sockets = self.sockets.lock();
        sockets.values().filter(|socket| socket.generation.number == generation).cloned().collect()
    }

    /// Closes every socket and waits, within a bound, until they are closed.
    async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        let closing: Vec<_> = self.sockets.lock().values().cloned().collect();
        tracing::info!(sockets.count = closing.len(), "closing client sockets");
        for socket in closing {
            socket.outbound.close(Close::GOING_AWAY);
        }
        let all_left = async {
            while self.count.load(Ordering::Acquire) > 0 {
                self.left.notified().await;
            }
        };
        if tokio::time::timeout(DRAIN_MAX, all_left).await.is_err() {
            tracing::warn!(sockets.count = self.count.load(Ordering::Acquire), "client sockets left open");
        }
    }
}

impl Admission {
    pub(super) fn register(self, socket: &Arc<Socket>) -> Membership {
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        self.0.sockets.lock().insert(number, Arc::clone(socket));
        // The drain may have looked before the socket was there.
        if self.0.draining.load(Ordering::Acquire) {
            socket.outbound.close(Close::GOING_AWAY);
        }
        Membership { number, _admission: self }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        REGISTRY.sockets.lock().remove(&self.number);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        SOCKETS.add(-1);
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.left.notify_one();
    }
}

/// Closes the sockets of callers whose keys are in force no more.
pub(crate) fn recheck_callers() {
    let sockets: Vec<_> = REGISTRY.sockets.lock().values().cloned().collect();
    for socket in sockets {
        socket.recheck();
    }
}

/// Returns when the process was asked to end (SIGINT, SIGTERM), its sockets are closed, and no client would send on a
/// connection that is closed now.
pub(crate) async fn drained() {
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(error) => {
            tracing::error!(error = %error, "no handler for SIGTERM");
            let _ = interrupted.await;
        }
    }
    drain::begin().await;
    REGISTRY.drain().await;
    drain::left().await;
}
