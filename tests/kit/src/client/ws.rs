//! A graphql-transport-ws client that hides nothing: frames can be sent and seen as they are.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub const PROTOCOL: &str = "graphql-transport-ws";
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// One connection; its subscriptions are told apart by id and keep their order.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    waiting: HashMap<String, VecDeque<Event>>,
    ids: u64,
}

/// What the server says about one operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Next(Value),
    Errors(Value),
    Complete,
}

/// Anything that comes out of the socket.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Json(Value),
    /// The code and the reason; 1005 when there was none, 1006 when the connection just went.
    Closed(u16, String),
}

impl Event {
    /// The payload of a `next`.
    pub fn payload(self) -> Result<Value> {
        match self {
            Self::Next(payload) => Ok(payload),
            other => bail!("expected an event and got {other:?}"),
        }
    }
}

impl Socket {
    /// Connects and waits for the acknowledgement.
    pub async fn open(url: &str, token: Option<&str>) -> Result<Self> {
        Self::open_with(url, token, &[]).await
    }

    /// The same with headers of its own on the request that opens it.
    pub async fn open_with(url: &str, token: Option<&str>, headers: &[(&'static str, &str)]) -> Result<Self> {
        let mut socket = Self::connect_with(url, Some(PROTOCOL), headers).await?;
        let payload = token.map(|token| json!({ "authorization": format!("Bearer {token}") }));
        socket.send(&json!({ "type": "connection_init", "payload": payload })).await?;
        match socket.frame(CONNECT_WITHIN).await? {
            Frame::Json(frame) if frame["type"] == "connection_ack" => Ok(socket),
            other => bail!("expected connection_ack and got {other:?}"),
        }
    }

    /// Connects and says nothing.
    pub async fn connect(url: &str, protocol: Option<&str>) -> Result<Self> {
        Self::connect_with(url, protocol, &[]).await
    }

    async fn connect_with(url: &str, protocol: Option<&str>, headers: &[(&'static str, &str)]) -> Result<Self> {
        let mut request = url.into_client_request().with_context(|| format!("reading the address {url}"))?;
        if let Some(protocol) = protocol {
            let value = protocol.parse().context("naming a protocol")?;
            request.headers_mut().insert("sec-websocket-protocol", value);
        }
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().with_context(|| format!("the header {name}"))?);
        }
        let (stream, _) = tokio::time::timeout(CONNECT_WITHIN, connect_async(request))
            .await
            .with_context(|| format!("{url} does not answer"))?
            .with_context(|| format!("connecting to {url}"))?;
        Ok(Self { stream, waiting: HashMap::new(), ids: 0 })
    }

    /// Starts an operation of any kind; the id under which its events come.
    pub async fn subscribe(&mut self, query: &str, variables: Value) -> Result<String> {
        self.subscribe_with(json!({ "query": query, "variables": variables })).await
    }

    /// The same with the whole payload in the caller's hands (`extensions`, `operationName`).
    pub async fn subscribe_with(&mut self, payload: Value) -> Result<String> {
        self.ids += 1;
        let id = self.ids.to_string();
        self.send(&json!({ "id": id, "type": "subscribe", "payload": payload })).await?;
        Ok(id)
    }

    pub async fn complete(&mut self, id: &str) -> Result<()> {
        self.send(&json!({ "id": id, "type": "complete" })).await
    }

    /// The next event of one operation; those of others wait for their turn.
    pub async fn next(&mut self, id: &str, within: Duration) -> Result<Event> {
        let started = Instant::now();
        loop {
            if let Some(event) = self.waiting.get_mut(id).and_then(VecDeque::pop_front) {
                return Ok(event);
            }
            let left = within.saturating_sub(started.elapsed());
            let frame = self.frame(left).await.with_context(|| format!("waiting for operation {id}"))?;
            match frame {
                Frame::Json(frame) => self.sort(frame)?,
                Frame::Closed(code, reason) => {
                    bail!("the socket was closed with {code} {reason:?}")
                }
            }
        }
    }

    /// Sends a message of the protocol, or of none.
    pub async fn send(&mut self, message: &Value) -> Result<()> {
        self.send_text(message.to_string()).await
    }

    pub async fn send_text(&mut self, text: String) -> Result<()> {
        self.stream.send(Message::text(text)).await.context("sending a frame")
    }

    pub async fn send_raw(&mut self, message: Message) -> Result<()> {
        self.stream.send(message).await.context("sending a frame")
    }

    /// Whatever comes next. Pings are answered on the way, on both levels.
    pub async fn frame(&mut self, within: Duration) -> Result<Frame> {
        let waited = tokio::time::timeout(within, self.next_frame()).await;
        waited.with_context(|| format!("nothing came within {} s", within.as_secs_f32()))?
    }

    /// The code that the server closes with; what it says before that is dropped.
    pub async fn closed(&mut self, within: Duration) -> Result<(u16, String)> {
        let started = Instant::now();
        loop {
            if let Frame::Closed(code, reason) = self.frame(within.saturating_sub(started.elapsed())).await? {
                return Ok((code, reason));
            }
        }
    }

    /// Goes away by the protocol. Dropping the socket goes away without a word.
    pub async fn close(mut self) -> Result<()> {
        self.stream.close(None).await.context("closing a socket")
    }

    async fn next_frame(&mut self) -> Result<Frame> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).context("reading a frame")?;
                    if frame["type"] != "ping" {
                        return Ok(Frame::Json(frame));
                    }
                    self.send(&json!({ "type": "pong" })).await?;
                }
                Some(Ok(Message::Close(frame))) => {
                    let closed =
                        frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    return Ok(Frame::Closed(closed.0, closed.1));
                }
                // Answered by the library.
                Some(Ok(_)) => {}
                Some(Err(cause)) => return Ok(Frame::Closed(1006, cause.to_string())),
                None => return Ok(Frame::Closed(1006, String::new())),
            }
        }
    }

    fn sort(&mut self, mut frame: Value) -> Result<()> {
        let Some(id) = frame["id"].as_str().map(str::to_owned) else {
            return Ok(());
        };
        let payload = frame["payload"].take();
        let event = match frame["type"].as_str() {
            Some("next") => Event::Next(payload),
            Some("error") => Event::Errors(payload),
            Some("complete") => Event::Complete,
            _ => bail!("a frame of no known type: {frame}"),
        };
        self.waiting.entry(id).or_default().push_back(event);
        Ok(())
    }
}
