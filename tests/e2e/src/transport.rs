//! The ways a live stream can come.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Response;
use serde_json::{Value, json};
use velvet_kit::client::ws::{Event, Socket};

/// A protocol for subscriptions. All that is said of a stream holds for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// graphql-transport-ws.
    WebSocket,
    /// graphql-sse, "distinct connections mode".
    EventStream,
    /// Apollo's multipart protocol.
    Multipart,
}

impl Transport {
    pub const ALL: [Self; 3] = [Self::WebSocket, Self::EventStream, Self::Multipart];

    fn accept(self) -> &'static str {
        match self {
            Self::WebSocket => "",
            Self::EventStream => "text/event-stream",
            Self::Multipart => "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json",
        }
    }

    /// What stands between two messages.
    fn delimiter(self) -> &'static str {
        if self == Self::Multipart { "\r\n--graphql" } else { "\n\n" }
    }
}

/// Where the graph is, for each of them.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub ws_url: String,
    pub graphql_url: String,
}

/// One operation on a connection of its own.
#[derive(Debug)]
pub enum Connection {
    Socket { socket: Box<Socket>, id: String },
    Http(Http),
}

/// A response that is read as it comes.
#[derive(Debug)]
pub struct Http {
    transport: Transport,
    response: Response,
    buffer: String,
}

impl Connection {
    /// Subscribes.
    pub async fn open(
        transport: Transport,
        addresses: &Addresses,
        token: Option<&str>,
        payload: Value,
    ) -> Result<Self> {
        if transport == Transport::WebSocket {
            let mut socket = Box::new(Socket::open(&addresses.ws_url, token).await?);
            let id = socket.subscribe_with(payload).await?;
            return Ok(Self::Socket { socket, id });
        }
        Ok(Self::Http(Http::open(transport, &addresses.graphql_url, token, payload).await?))
    }

    pub async fn next(&mut self, within: Duration) -> Result<Event> {
        match self {
            Self::Socket { socket, id } => socket.next(id, within).await,
            Self::Http(http) => tokio::time::timeout(within, http.next()).await.context("nothing came")?,
        }
    }
}

impl Http {
    async fn open(transport: Transport, url: &str, token: Option<&str>, mut payload: Value) -> Result<Self> {
        let mut request = reqwest::Client::new().post(url).header("accept", transport.accept());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        // The way a browser comes back.
        if let (Transport::EventStream, Some(after)) = (transport, payload["extensions"]["after"].as_str())
            && !after.is_empty()
        {
            request = request.header("last-event-id", after);
            payload["extensions"] = json!({});
        }
        let response = request.json(&payload).send().await.with_context(|| format!("asking {url}"))?;
        ensure!(response.status().is_success(), "{url} answered {}", response.status());
        Ok(Self { transport, response, buffer: String::new() })
    }

    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some((message, rest)) = self.buffer.split_once(self.transport.delimiter()) {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.buffer = rest;
                if let Some(event) = self.read(&message)? {
                    return Ok(event);
                }
            } else if let Some(chunk) = self.response.chunk().await.context("reading a stream")? {
                self.buffer.push_str(std::str::from_utf8(&chunk).context("reading a stream")?);
            } else if self.buffer == "--\r\n" {
                return Ok(Event::Complete);
            } else {
                bail!("the stream was cut off");
            }
        }
    }

    /// Nothing for signs of life.
    fn read(&self, message: &str) -> Result<Option<Event>> {
        if self.transport == Transport::Multipart {
            let Some((_, body)) = message.split_once("\r\n\r\n") else { return Ok(None) };
            let mut body: Value = serde_json::from_str(body).context("reading a part")?;
            return Ok(match (body.get("payload").is_some(), body.get("errors").is_some()) {
                (_, true) => Some(Event::Errors(body["errors"].take())),
                (true, false) => Some(Event::Next(body["payload"].take())),
                (false, false) => None,
            });
        }
        let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        match field("event") {
            Some("next") => {
                let data = field("data").context("an event without data")?;
                let response: Value = serde_json::from_str(data).context("reading an event")?;
                let (id, cursor) = (field("id"), response["extensions"]["cursor"].as_str());
                ensure!(id == cursor, "the event's id is {id:?} and its cursor {cursor:?}");
                Ok(Some(Event::Next(response)))
            }
            Some("complete") => Ok(Some(Event::Complete)),
            None => Ok(None),
            Some(other) => bail!("no event of the protocol: {other}"),
        }
    }
}
