//! graphql-transport-ws, the server's side of <https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>.
//!
//! A router's socket carries the streams of many viewers, most of which have nothing to say: only those that have are
//! polled. What the other side does not read is not asked of its streams.

use async_graphql::{Data, Executor, Request, Response};
use axum::extract::ws::{CloseFrame, Message};
use futures::{
    FutureExt as _, Sink, SinkExt as _, Stream, StreamExt as _,
    future::ready,
    stream::{self, AbortHandle, BoxStream, SelectAll},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// The only protocol that is spoken.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";
/// Operations on one socket; each has a place in memory.
const OPERATIONS_MAX: usize = 100_000;
/// Messages that go out together, when so many are ready.
const BURST_MAX: usize = 64;

/// How long a process that is late looks whether something has arrived meanwhile: one turn of its runtime.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// For how long the other side is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until it says `connection_init`.
    pub init: Duration,
    /// Until it says anything, and until it has read what it was told.
    pub silence: Duration,
}

/// Why a socket ends.
#[derive(Debug)]
enum End {
    /// The other side has gone.
    Gone,
    /// It is told so, by the protocol's code.
    Close(u16, &'static str),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    ConnectionInit {
        payload: Option<serde_json::Value>,
    },
    Subscribe {
        id: String,
        payload: Box<Request>,
    },
    Complete {
        id: String,
    },
    Ping {
        #[serde(default)]
        payload: Option<serde_json::Value>,
    },
    Pong,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Say<'a> {
    ConnectionAck,
    Next {
        id: &'a str,
        payload: &'a Response,
    },
    Complete {
        id: &'a str,
    },
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<serde_json::Value>,
    },
}

impl Say<'_> {
    fn message(&self) -> Message {
        // Of maps whose keys are text, so it can be said; what could not be would end as a frame that says nothing.
        Message::text(serde_json::to_string(self).unwrap_or_default())
    }
}

/// Serves a socket until it ends. `begin` turns the payload of `connection_init` into what all operations share.
pub(super) async fn serve<S, W, E, F>(
    socket: (W, S),
    executor: E,
    patience: Patience,
    begin: impl FnOnce(serde_json::Value) -> F,
) where
    S: Stream<Item = Result<Message, axum::Error>> + Unpin,
    W: Sink<Message, Error = axum::Error> + Unpin,
    E: Executor,
    F: Future<Output = async_graphql::Result<Data>>,
{
    let (sink, frames) = socket;
    let mut connection = Connection { sink, frames, patience, heard: Instant::now() };
    let end = match connection.begin(begin).await {
        Ok(session) => connection.run(Operations::new(executor, session)).await,
        Err(end) => end,
    };
    if let End::Close(code, reason) = end {
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let _ = timeout(patience.init, connection.sink.send(frame)).await;
    }
}

struct Connection<W, S> {
    sink: W,
    frames: S,
    patience: Patience,
    heard: Instant,
}

impl<W, S> Connection<W, S>
where
    S: Stream<Item = Result<Message, axum::Error>> + Unpin,
    W: Sink<Message, Error = axum::Error> + Unpin,
{
    async fn begin<F>(&mut self, begin: impl FnOnce(serde_json::Value) -> F) -> Result<Data, End>
    where
        F: Future<Output = async_graphql::Result<Data>>,
    {
        let patience = self.patience.init;
        let payload = timeout(patience, async {
            loop {
                match self.hear().await? {
                    Said::ConnectionInit { payload } => return Ok(payload.unwrap_or_default()),
                    Said::Ping { payload } => self.say(&Say::Pong { payload }).await?,
                    Said::Subscribe { .. } => return Err(End::Close(4401, "Unauthorized")),
                    Said::Complete { .. } | Said::Pong => {}
                }
            }
        });
        let payload = payload.await.map_err(|_| End::Close(4408, "Connection initialisation timeout"))??;
        let session = begin(payload).await.map_err(|_| End::Close(4403, "Forbidden"))?;
        self.say(&Say::ConnectionAck).await?;
        Ok(session)
    }

    async fn run<E: Executor>(&mut self, mut operations: Operations<E>) -> End {
        let mut alarm = pin!(sleep_until(self.heard + self.patience.silence));
        loop {
            let done = tokio::select! {
                said = self.hear() => self.obey(said, &mut operations).await,
                Some(answer) = operations.streams.next() => self.tell(answer, &mut operations).await,
                () = &mut alarm => {
                    // A process that is late has heard all that has arrived before it is the other side's fault.
                    let done = match timeout(LAST_LOOK, self.hear()).await {
                        Ok(said) => self.obey(said, &mut operations).await,
                        Err(_) if self.heard.elapsed() < self.patience.silence => Ok(()),
                        Err(_) => Err(End::Close(3008, "Timeout")),
                    };
                    alarm.as_mut().reset(self.heard + self.patience.silence);
                    done
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    async fn obey<E: Executor>(&mut self, said: Result<Said, End>, operations: &mut Operations<E>) -> Result<(), End> {
        match said? {
            Said::Ping { payload } => self.say(&Say::Pong { payload }).await,
            said => operations.hear(said),
        }
    }

    /// What the other side says next. Whatever it is counts as a sign of life.
    async fn hear(&mut self) -> Result<Said, End> {
        loop {
            let frame = self.frames.next().await.and_then(Result::ok).ok_or(End::Gone)?;
            self.heard = Instant::now();
            match frame {
                Message::Text(text) => {
                    return serde_json::from_str(&text).map_err(|_| End::Close(4400, "Invalid message"));
                }
                Message::Binary(_) => return Err(End::Close(4400, "Invalid message")),
                Message::Close(_) => return Err(End::Gone),
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }

    /// Tells an answer, and with it the others that are ready.
    async fn tell<E>(&mut self, answer: Answer, operations: &mut Operations<E>) -> Result<(), End> {
        let told = async {
            let mut ready = Some(answer);
            let mut count = 0;
            while let Some(answer) = ready {
                if let Some(message) = operations.message(&answer) {
                    self.sink.feed(message).await?;
                }
                count += 1;
                ready = if count < BURST_MAX { operations.streams.next().now_or_never().flatten() } else { None };
            }
            self.sink.flush().await
        };
        read_in_time(self.patience.silence, told).await
    }

    async fn say(&mut self, say: &Say<'_>) -> Result<(), End> {
        read_in_time(self.patience.silence, self.sink.send(say.message())).await
    }
}

async fn read_in_time(patience: Duration, told: impl Future<Output = Result<(), axum::Error>>) -> Result<(), End> {
    timeout(patience, told).await.ok().and_then(Result::ok).ok_or(End::Gone)
}

/// What an operation answers; nothing more when there is no response.
struct Answer {
    id: Arc<str>,
    /// Which of the operations of this id it is.
    number: u64,
    response: Option<Response>,
}

/// The operations of a socket.
struct Operations<E> {
    executor: E,
    session: Arc<Data>,
    running: HashMap<Arc<str>, Running>,
    streams: SelectAll<BoxStream<'static, Answer>>,
    started: u64,
}

struct Running {
    number: u64,
    stop: AbortHandle,
}

impl<E> Operations<E> {
    fn new(executor: E, session: Data) -> Self {
        Self { executor, session: Arc::new(session), running: HashMap::new(), streams: SelectAll::new(), started: 0 }
    }

    /// The message for an answer, unless its operation was ended by the other side.
    fn message(&mut self, answer: &Answer) -> Option<Message> {
        let id = &*answer.id;
        if self.running.get(id)?.number != answer.number {
            return None;
        }
        let Some(payload) = &answer.response else {
            self.running.remove(id);
            return Some(Say::Complete { id }.message());
        };
        Some(Say::Next { id, payload }.message())
    }
}

impl<E: Executor> Operations<E> {
    fn hear(&mut self, said: Said) -> Result<(), End> {
        match said {
            Said::Subscribe { id, payload } => self.start(id.into(), *payload),
            Said::Complete { id } => {
                if let Some(running) = self.running.remove(&*id) {
                    running.stop.abort();
                }
                Ok(())
            }
            Said::ConnectionInit { .. } => Err(End::Close(4429, "Too many initialisation requests")),
            Said::Ping { .. } | Said::Pong => Ok(()),
        }
    }

    fn start(&mut self, id: Arc<str>, request: Request) -> Result<(), End> {
        if self.running.contains_key(&id) {
            return Err(End::Close(4409, "Subscriber already exists"));
        }
        if self.running.len() >= OPERATIONS_MAX {
            return Err(End::Close(4429, "Too many operations"));
        }
        self.started += 1;
        let number = self.started;
        let responses = self.executor.execute_stream(request, Some(Arc::clone(&self.session)));
        let (responses, stop) = stream::abortable(responses);
        let name = Arc::clone(&id);
        let answers = responses.map(Some).chain(stream::once(ready(None))).map(move |response| Answer {
            id: Arc::clone(&name),
            number,
            response,
        });
        self.streams.push(answers.boxed());
        self.running.insert(id, Running { number, stop });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
