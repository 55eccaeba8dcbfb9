//! The task of one client's socket: what comes in, what goes out, and when it is over.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::SinkExt as _;
use http::HeaderValue;
use tokio::time::{Instant, sleep_until, timeout};
use velvet_edge::signature::Signed;

use super::authority::{self, Authority};
use super::config::{ClientConfig, millis};
use super::generation::Generation;
use super::metrics::SLOW_CLOSES;
use super::outbound::Next;
use super::protocol::{self, ClientMessage, Close, Credentials, SUBPROTOCOL, TransportWs};
use super::registry::Admission;
use super::seats::Seats;
use super::socket::Socket;
use crate::plugins::partners::{Caller, Proof, Refusal};

/// How long a router that is late looks whether something has arrived meanwhile: one turn of its runtime.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// How a socket ends: with a close frame of ours, or because the client has gone.
type Ended = Option<Close>;

/// Where a socket was opened from.
pub(super) struct Origin {
    /// The address that limits hold for, when that is configured and known.
    pub(super) address: Option<Arc<str>>,
    /// What the ingress said, for the subgraphs.
    pub(super) forwarded_for: Option<HeaderValue>,
}

/// Serves a client until its socket is closed.
pub(super) async fn run(mut websocket: WebSocket, generation: Arc<Generation>, admission: Admission, origin: Origin) {
    let socket = Socket::forwarded(generation, &TransportWs, origin.forwarded_for);
    if let Some(address) = origin.address {
        let _ = socket.address.set(address);
    }
    let _membership = admission.register(&socket);
    let negotiated = websocket.protocol().is_some_and(|protocol| protocol == SUBPROTOCOL);
    let ended = if negotiated { Session::new(&socket).serve(&mut websocket).await } else { Some(Close::SUBPROTOCOL) };
    socket.stop_operations();
    if let Some(close) = ended {
        if close == Close::SLOW {
            SLOW_CLOSES.increment();
        }
        let grace = millis(socket.generation.config.client.close_grace_ms);
        let _ = timeout(grace, goodbye(&mut websocket, close)).await;
    }
}

/// Sends the close frame and waits for the client's. Dropping a socket with unread bytes would reset the connection,
/// and the client might never see the code.
async fn goodbye(websocket: &mut WebSocket, close: Close) {
    let frame = CloseFrame { code: close.code, reason: close.reason.into() };
    if websocket.send(Message::Close(Some(frame))).await.is_ok() {
        while let Some(Ok(_)) = websocket.recv().await {}
    }
}

struct Session<'s> {
    socket: &'s Arc<Socket>,
    phase: Phase,
    heartbeat: Heartbeat,
    /// When the viewer's token or the caller's key ends, or has to be replaced.
    expires_at: Option<Instant>,
}

enum Phase {
    /// Until then, `connection_init` must have come.
    Opened(Instant),
    Ready {
        _seats: Seats,
    },
}

#[derive(Clone, Copy)]
enum Heartbeat {
    /// The client was heard; it is pinged when nothing comes until then.
    Heard(Instant),
    /// The client was pinged; it is gone when nothing comes until then.
    Pinged(Instant),
}

impl<'s> Session<'s> {
    fn new(socket: &'s Arc<Socket>) -> Self {
        let config = &socket.generation.config.client;
        let now = Instant::now();
        Self {
            socket,
            phase: Phase::Opened(now + millis(config.init_timeout_ms)),
            heartbeat: Heartbeat::Heard(now + millis(config.ping_interval_ms)),
            expires_at: None,
        }
    }

    fn config(&self) -> &'s ClientConfig {
        &self.socket.generation.config.client
    }

    async fn serve(mut self, websocket: &mut WebSocket) -> Ended {
        loop {
            let step = tokio::select! {
                frame = websocket.recv() => self.receive(frame).await,
                () = self.socket.outbound.woken() => self.send(websocket).await,
                () = sleep_until(self.deadline()) => self.due(websocket).await,
            };
            if let ControlFlow::Break(ended) = step {
                return ended;
            }
        }
    }

    fn deadline(&self) -> Instant {
        let (Heartbeat::Heard(beat) | Heartbeat::Pinged(beat)) = self.heartbeat;
        let phase = match self.phase {
            Phase::Opened(limit) => limit,
            Phase::Ready { .. } => beat,
        };
        beat.min(phase).min(self.expires_at.unwrap_or(beat))
    }

    async fn due(&mut self, websocket: &mut WebSocket) -> ControlFlow<Ended> {
        let now = Instant::now();
        if matches!(self.phase, Phase::Opened(limit) if limit <= now) {
            return self.unless_heard(websocket, Close::INIT_TIMEOUT).await;
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            // Boxed: rare, see `handle`.
            self.expires_at = Box::pin(authority::replace_own_token(self.socket)).await;
            if self.expires_at.is_none() {
                self.socket.expire();
            }
            return ControlFlow::Continue(());
        }
        match self.heartbeat {
            Heartbeat::Pinged(limit) if limit <= now => self.unless_heard(websocket, Close::SILENT).await,
            Heartbeat::Heard(limit) if limit <= now => {
                let patience = millis(self.config().pong_timeout_ms);
                self.heartbeat = Heartbeat::Pinged(now + patience);
                match timeout(patience, websocket.send(Message::Ping(bytes::Bytes::new()))).await {
                    Ok(Ok(())) => ControlFlow::Continue(()),
                    Ok(Err(_)) => ControlFlow::Break(None),
                    Err(_) => ControlFlow::Break(Some(Close::SILENT)),
                }
            }
            _ => ControlFlow::Continue(()),
        }
    }

    /// Closes, unless the client has said something that nobody had time to read: a router that is late is no reason to
    /// leave a client.
    async fn unless_heard(&mut self, websocket: &mut WebSocket, close: Close) -> ControlFlow<Ended> {
        match timeout(LAST_LOOK, websocket.recv()).await {
            Ok(frame) => self.receive(frame).await,
            Err(_) => ControlFlow::Break(Some(close)),
        }
    }

    /// Sends what is queued. A client that takes nothing is left when its queue is full, or after a while.
    async fn send(&mut self, websocket: &mut WebSocket) -> ControlFlow<Ended> {
        let outbound = &self.socket.outbound;
        let sending = async {
            loop {
                match outbound.next() {
                    Next::Send(text) => {
                        if websocket.feed(Message::Text(text)).await.is_err() {
                            return ControlFlow::Break(None);
                        }
                    }
                    Next::Close(close) => return ControlFlow::Break(Some(close)),
                    Next::Nothing => {
                        return match websocket.flush().await {
                            Ok(()) => ControlFlow::Continue(()),
                            Err(_) => ControlFlow::Break(None),
                        };
                    }
                }
            }
        };
        let patience = millis(self.config().ping_interval_ms + self.config().pong_timeout_ms);
        let step = tokio::select! {
            biased;
            step = sending => step,
            close = outbound.told_to_close() => ControlFlow::Break(Some(close)),
            () = tokio::time::sleep(patience) => ControlFlow::Break(Some(Close::SILENT)),
        };
        // `told_to_close` may have taken the wake-up of a message that came after the queue was found empty.
        outbound.wake_if_waiting();
        step
    }

    async fn receive(&mut self, frame: Option<Result<Message, axum::Error>>) -> ControlFlow<Ended> {
        let message = match frame {
            Some(Ok(message)) => message,
            Some(Err(error)) => return ControlFlow::Break(unreadable(error)),
            None => return ControlFlow::Break(None),
        };
        self.heartbeat = Heartbeat::Heard(Instant::now() + millis(self.config().ping_interval_ms));
        let done = match message {
            Message::Text(text) => match ClientMessage::parse(&text) {
                Some(message) => self.handle(message).await,
                None => Err(Close::INVALID),
            },
            Message::Binary(_) => Err(Close::INVALID),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => return ControlFlow::Break(None),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(close) => ControlFlow::Break(Some(close)),
        }
    }

    async fn handle(&mut self, message: ClientMessage) -> Result<(), Close> {
        let ready = matches!(self.phase, Phase::Ready { .. });
        match message {
            ClientMessage::Init(_) if ready => Err(Close::TOO_MANY_INITS),
            // Boxed: the check of a token is large and rare, and the socket's task is held for as long as it is open.
            ClientMessage::Init(credentials) => Box::pin(self.init(credentials)).await,
            ClientMessage::Ping(credentials) => {
                if let Some(authorization) = credentials.authorization.filter(|_| ready) {
                    self.expires_at = Some(Box::pin(authority::renew(self.socket, &authorization)).await?);
                }
                self.socket.outbound.push(protocol::pong());
                Ok(())
            }
            ClientMessage::Pong => Ok(()),
            ClientMessage::Subscribe(id, operation) if ready => self.socket.subscribe(id, *operation),
            ClientMessage::Subscribe(..) => Err(Close::UNAUTHORIZED),
            ClientMessage::Complete(id) => {
                self.socket.complete(&id);
                Ok(())
            }
        }
    }

    async fn init(&mut self, credentials: Credentials) -> Result<(), Close> {
        let caller = match &credentials.api_key {
            Some(key) => Some(self.admit(key, credentials.signature.as_ref()).await?),
            None => None,
        };
        let authority = Authority::of(&self.socket.generation, credentials.authorization.as_deref(), caller).await?;
        let seats = Seats::take(authority.holders(), self.config()).ok_or(Close::TRY_LATER)?;
        self.expires_at = authority.lifetime().map(|lifetime| Instant::now() + lifetime);
        self.socket.admit(authority, &seats);
        self.phase = Phase::Ready { _seats: seats };
        self.socket.outbound.push(protocol::connection_ack());
        Ok(())
    }

    /// The partner whose key it is.
    async fn admit(&self, key: &str, signature: Option<&protocol::Signed>) -> Result<Arc<Caller>, Close> {
        // Without the partners plugin no key can be good.
        let gate = self.socket.generation.gate().ok_or(Close::FORBIDDEN)?;
        let proof = match signature {
            None => Proof::Absent,
            Some(given) => {
                Proof::from_parts(Some(&given.timestamp.to_string()), Some(&given.nonce), Some(&given.signature))
            }
        };
        let path = &self.socket.generation.config.path;
        let signed = Signed { method: "GET", path_and_query: path, body: b"" };
        gate.admit(key, &proof, signed).await.map(Arc::new).map_err(close)
    }
}

fn close(refusal: Refusal) -> Close {
    match refusal {
        Refusal::Unavailable => Close::TRY_LATER,
        _ => Close::FORBIDDEN,
    }
}

/// What ends a socket whose frames cannot be read.
fn unreadable(error: axum::Error) -> Ended {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error.into_inner().downcast_ref::<Error>() {
        Some(Error::Capacity(_)) => Some(Close::TOO_LARGE),
        Some(Error::Utf8(_)) => Some(Close::NO_TEXT),
        // Nobody is there any more.
        Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => None,
        Some(Error::Protocol(_)) => Some(Close::BROKEN_FRAMES),
        _ => None,
    }
}
