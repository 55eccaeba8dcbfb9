//! Many idle live clients in one process, each on a socket of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use velvet_kit::client::ws::PROTOCOL;

const MATCHES: &str = "subscription { matchEvents {
    __typename
    ... on MatchCreated { match { id with { id displayName } conversation { id open } } }
    ... on MatchEnded { matchId }
} }";
/// One address has some 28,000 ports to connect from; the next ones come from the next address.
const SOCKETS_PER_ADDRESS: u32 = 20_000;
const AT_ONCE: usize = 16;
/// A client that is refused tries again, as real ones do; how often that was is reported.
const TRIES: u32 = 4;
const TRY_PAUSE: Duration = Duration::from_millis(250);
const OPEN_WITHIN: Duration = Duration::from_secs(15);
/// Nothing large is read or sent here.
const BUFFER_BYTES: usize = 1_024;

type Connection = WebSocketStream<TcpStream>;

pub struct Sockets {
    url: String,
    server: SocketAddr,
    count: u32,
    readers: JoinSet<()>,
    lost: Arc<AtomicU32>,
    retried: Arc<AtomicU32>,
}

impl Sockets {
    pub fn new(url: &str) -> Result<Self> {
        let parsed = reqwest::Url::parse(url).context("reading the socket's address")?;
        let host: IpAddr = parsed.host_str().unwrap_or_default().parse().context("the router has no plain address")?;
        let port = parsed.port_or_known_default().context("the router has no port")?;
        let server = SocketAddr::new(host, port);
        Ok(Self {
            url: url.to_owned(),
            server,
            count: 0,
            readers: JoinSet::new(),
            lost: Arc::default(),
            retried: Arc::default(),
        })
    }

    /// Opens more, each with its subscription standing, and keeps answering what the server asks them.
    pub async fn open(&mut self, tokens: &[&str], more: u32) -> Result<()> {
        let (url, server, retried) = (self.url.as_str(), self.server, Arc::clone(&self.retried));
        let opened = (self.count..self.count + more).map(|index| {
            let (token, retried) = (tokens[index as usize % tokens.len()], Arc::clone(&retried));
            async move {
                let mut tries = 1;
                loop {
                    let opening = tokio::time::timeout(OPEN_WITHIN, subscribe(url, server, source_of(index), token));
                    match opening.await.context("a client was not served in time").and_then(|opened| opened) {
                        Err(_) if tries < TRIES => tries += 1,
                        last => return last,
                    }
                    retried.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(TRY_PAUSE).await;
                }
            }
        });
        let mut opened = stream::iter(opened).buffer_unordered(AT_ONCE);
        while let Some(connection) = opened.try_next().await? {
            self.readers.spawn(keep(connection, Arc::clone(&self.lost)));
        }
        self.count += more;
        Ok(())
    }

    /// Those that the server has let go.
    pub fn lost(&self) -> u32 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How often a client was refused and tried again.
    pub fn retried(&self) -> u32 {
        self.retried.load(Ordering::Relaxed)
    }

    pub async fn close(mut self) {
        self.readers.shutdown().await;
    }
}

fn source_of(index: u32) -> Ipv4Addr {
    // 127.0.0.1, 127.0.0.2 …: all of 127.0.0.0/8 is this machine.
    let [.., last] = (index / SOCKETS_PER_ADDRESS + 1).to_be_bytes();
    Ipv4Addr::new(127, 0, 0, last)
}

async fn subscribe(url: &str, server: SocketAddr, source: Ipv4Addr, token: &str) -> Result<Connection> {
    let socket = TcpSocket::new_v4().context("making a socket")?;
    if server.ip().is_loopback() && source != Ipv4Addr::LOCALHOST {
        socket.bind(SocketAddr::new(source.into(), 0)).context("binding a loopback address")?;
    }
    let tcp = socket.connect(server).await.with_context(|| format!("connecting to {server}"))?;
    let mut request = url.into_client_request().context("reading the socket's address")?;
    request.headers_mut().insert("sec-websocket-protocol", PROTOCOL.parse().context("naming the protocol")?);
    let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(0);
    let (mut connection, _) =
        client_async_with_config(request, tcp, Some(config)).await.context("upgrading to a WebSocket")?;
    let init = json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } });
    send(&mut connection, &init).await?;
    expect(&mut connection, "connection_ack").await?;
    // The answer to this says that the stream stands.
    let payload = json!({ "query": MATCHES, "extensions": { "position": true } });
    send(&mut connection, &json!({ "id": "1", "type": "subscribe", "payload": payload })).await?;
    let standing = expect(&mut connection, "next").await?;
    if standing["payload"]["extensions"]["positioned"] != true {
        bail!("expected the start of a stream and got {standing}");
    }
    Ok(connection)
}

async fn send(connection: &mut Connection, message: &Value) -> Result<()> {
    connection.send(Message::text(message.to_string())).await.context("sending a frame")
}

async fn expect(connection: &mut Connection, kind: &str) -> Result<Value> {
    loop {
        match connection.next().await.context("the socket was closed")?.context("reading a frame")? {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).context("reading a frame")?;
                if frame["type"] == kind {
                    return Ok(frame);
                }
                if frame["type"] != "ping" {
                    bail!("expected {kind} and got {frame}");
                }
                send(connection, &json!({ "type": "pong" })).await?;
            }
            Message::Close(frame) => bail!("expected {kind}; the socket was closed: {frame:?}"),
            // The library answers pings.
            _ => {}
        }
    }
}

/// Answers pings until the connection ends.
async fn keep(mut connection: Connection, lost: Arc<AtomicU32>) {
    while let Some(Ok(message)) = connection.next().await {
        let alive = match message {
            Message::Text(text) if text.contains("\"ping\"") => {
                send(&mut connection, &json!({ "type": "pong" })).await.is_ok()
            }
            Message::Close(_) => false,
            _ => true,
        };
        if !alive {
            break;
        }
    }
    lost.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sockets_come_from_several_addresses() {
        assert_eq!(source_of(0), Ipv4Addr::LOCALHOST);
        assert_eq!(source_of(19_999), Ipv4Addr::LOCALHOST);
        assert_eq!(source_of(20_000), Ipv4Addr::new(127, 0, 0, 2));
    }
}
