//! The task of one stream: what goes out, and when it is over.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, OwnedPermit, Sender};
use tokio::time::{Instant, sleep, sleep_until};

use super::super::authority;
use super::super::config::millis;
use super::super::metrics::SLOW_CLOSES;
use super::super::outbound::Next;
use super::super::protocol::Close;
use super::super::registry::Admission;
use super::super::seats::Seats;
use super::super::socket::Socket;
use super::framing::Framing;

/// Between the stream's task and the connection: one message under way, as all others wait in the bounded queue, and
/// the ending, for which there is always room.
const CHUNKS: usize = 2;

/// A stream's right to be open.
pub(super) struct Place {
    pub(super) admission: Admission,
    pub(super) seats: Seats,
}

/// How a stream ends: with an ending of ours, or because the client has gone.
type Ended = Option<Close>;

struct Stream {
    socket: Arc<Socket>,
    framing: &'static dyn Framing,
    chunks: Sender<Bytes>,
    /// When the client gets a sign of life, unless it gets something else before.
    heartbeat_at: Instant,
    /// When the viewer's token or the caller's key ends, or has to be replaced.
    expires_at: Option<Instant>,
}

/// Starts to serve a socket whose operation runs, and returns the response's body.
pub(super) fn start(
    socket: Arc<Socket>,
    framing: &'static dyn Framing,
    place: Place,
    expires_in: Option<Duration>,
) -> Body {
    let (chunks, mut received) = mpsc::channel(CHUNKS);
    let ending = chunks.clone().try_reserve_owned();
    let _ = chunks.try_send(framing.opening().into());
    let now = Instant::now();
    let heartbeat_at = now + millis(socket.generation.config.client.ping_interval_ms);
    let stream = Stream { socket, framing, chunks, heartbeat_at, expires_at: expires_in.map(|left| now + left) };
    if let Ok(ending) = ending {
        tokio::spawn(stream.run(ending, place));
    }
    let chunks = futures::stream::poll_fn(move |context| received.poll_recv(context));
    Body::from_stream(futures::StreamExt::map(chunks, Ok::<_, std::convert::Infallible>))
}

impl Stream {
    async fn run(mut self, ending: OwnedPermit<Bytes>, place: Place) {
        let Place { admission, seats } = place;
        let _membership = admission.register(&self.socket);
        let _seats = seats;
        // The key may have been revoked before the stream was among those that are told so.
        self.socket.recheck();
        let ended = self.serve().await;
        self.socket.stop_operations();
        if let Some(close) = ended {
            if close == Close::SLOW {
                SLOW_CLOSES.increment();
            }
            let last = self.framing.ending(close);
            if !last.is_empty() {
                ending.send(last.into());
            }
        }
    }

    async fn serve(&mut self) -> Ended {
        loop {
            let deadline = self.heartbeat_at.min(self.expires_at.unwrap_or(self.heartbeat_at));
            let step = tokio::select! {
                () = self.chunks.closed() => Err(None),
                () = self.socket.outbound.woken() => self.send().await,
                () = sleep_until(deadline) => self.due().await,
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    async fn due(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.expires_at.is_some_and(|at| at <= now) {
            // Boxed: large and rare, and the stream's task is held for as long as it is open.
            self.expires_at = Box::pin(authority::replace_own_token(&self.socket)).await;
            if self.expires_at.is_none() {
                self.socket.expire();
            }
        }
        if self.heartbeat_at > now {
            return Ok(());
        }
        self.heartbeat_at = now + millis(self.socket.generation.config.client.ping_interval_ms);
        match self.chunks.try_send(self.framing.heartbeat().into()) {
            Ok(()) => Ok(()),
            // What was sent last has not been taken since.
            Err(TrySendError::Full(_)) => Err(Some(Close::SILENT)),
            Err(TrySendError::Closed(_)) => Err(None),
        }
    }

    /// Sends what is queued. A client that takes nothing is left when its queue is full, or after a while.
    async fn send(&mut self) -> Result<(), Ended> {
        let config = &self.socket.generation.config.client;
        let patience = millis(config.ping_interval_ms + config.pong_timeout_ms);
        let outbound = &self.socket.outbound;
        loop {
            let room = tokio::select! {
                biased;
                room = self.chunks.reserve() => room.map_err(|_| None)?,
                close = outbound.told_to_close() => return Err(Some(close)),
                () = sleep(patience) => return Err(Some(Close::SILENT)),
            };
            match outbound.next() {
                Next::Send(text) => room.send(text.into()),
                Next::Close(close) => return Err(Some(close)),
                Next::Nothing => break,
            }
        }
        outbound.wake_if_waiting();
        self.heartbeat_at = Instant::now() + millis(config.ping_interval_ms);
        Ok(())
    }
}
