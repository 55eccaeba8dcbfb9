//! One client's socket, with buffers as small as what goes over it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use velvet_kit::client::ws::PROTOCOL;

/// Nothing large is read or sent here.
const BUFFER_BYTES: usize = 1_024;
/// One address has some 28,000 ports to connect from. The kernel looks for a free one for as long as most are taken, so
/// each address has few clients; the next ones come from the next address.
pub const SOCKETS_PER_ADDRESS: u32 = 1_000;
/// What is shown of a message that was not expected.
const SHOWN: usize = 160;

pub type Connection = WebSocketStream<TcpStream>;

/// Where a server is.
#[derive(Debug, Clone)]
pub struct Address {
    url: String,
    server: SocketAddr,
}

/// What a client asks for once it is connected.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub token: &'a str,
    pub query: &'a str,
    pub streams: u32,
    /// Where its streams go on.
    pub after: Option<&'a str>,
}

impl Address {
    pub fn parse(url: &str) -> Result<Self> {
        let parsed = reqwest::Url::parse(url).context("reading a socket's address")?;
        let host: IpAddr = parsed.host_str().unwrap_or_default().parse().context("the server has no plain address")?;
        let port = parsed.port_or_known_default().context("the server has no port")?;
        Ok(Self { url: url.to_owned(), server: SocketAddr::new(host, port) })
    }

    /// Connects from the address that is this client's, and upgrades; the kernel's buffer can be made smaller.
    pub async fn connect(&self, source: Ipv4Addr, receive_bytes: Option<u32>) -> Result<Connection> {
        let socket = TcpSocket::new_v4().context("making a socket")?;
        if let Some(bytes) = receive_bytes {
            socket.set_recv_buffer_size(bytes).context("making a buffer smaller")?;
        }
        if self.server.ip().is_loopback() && source != Ipv4Addr::LOCALHOST {
            socket.bind(SocketAddr::new(source.into(), 0)).context("binding a loopback address")?;
        }
        let tcp = socket.connect(self.server).await.context("connecting")?;
        tcp.set_nodelay(true).context("connecting")?;
        let mut request = self.url.as_str().into_client_request().context("reading a socket's address")?;
        request.headers_mut().insert("sec-websocket-protocol", PROTOCOL.parse().context("naming the protocol")?);
        let config = WebSocketConfig::default().read_buffer_size(BUFFER_BYTES).write_buffer_size(0);
        let (connection, _) = client_async_with_config(request, tcp, Some(config)).await.context("upgrading")?;
        Ok(connection)
    }
}

/// Where the client of this number connects from, the so-manieth time: all of 127.0.0.0/8 is this machine. A port that
/// was left a moment ago is not to be had again, so each time has addresses of its own.
pub fn source_of(index: u32, generation: u32) -> Ipv4Addr {
    let [.., address] = (index / SOCKETS_PER_ADDRESS + 1).to_be_bytes();
    let [.., generation] = generation.to_be_bytes();
    Ipv4Addr::new(127, 0, generation, address)
}

/// Signs in, subscribes, and returns when all streams stand. What comes until then goes to `hear`.
pub async fn subscribe(connection: &mut Connection, wanted: Wanted<'_>, mut hear: impl FnMut(&str)) -> Result<()> {
    let authorization = format!("Bearer {}", wanted.token);
    send(connection, json!({ "type": "connection_init", "payload": { "authorization": authorization } })).await?;
    expect(connection, "\"connection_ack\"", &mut hear).await?;
    let extensions = match wanted.after {
        Some(after) => json!({ "position": true, "after": after }),
        None => json!({ "position": true }),
    };
    for stream in 1..=wanted.streams {
        let payload = json!({ "query": wanted.query, "extensions": extensions });
        send(connection, json!({ "id": stream.to_string(), "type": "subscribe", "payload": payload })).await?;
    }
    for _ in 0..wanted.streams {
        // The answer to a subscription says that it stands.
        expect(connection, "\"positioned\":true", &mut hear).await?;
    }
    Ok(())
}

async fn send(connection: &mut Connection, message: serde_json::Value) -> Result<()> {
    connection.send(Message::text(message.to_string())).await.context("sending a frame")
}

async fn expect(connection: &mut Connection, sign: &str, hear: &mut impl FnMut(&str)) -> Result<()> {
    loop {
        match connection.next().await.context("the socket was closed")?.context("reading a frame")? {
            Message::Text(text) if text.contains(sign) => {
                hear(&text);
                return Ok(());
            }
            Message::Text(text) if is_next(&text) => hear(&text),
            Message::Text(text) => bail!("expected {sign} and got {}", text.chars().take(SHOWN).collect::<String>()),
            Message::Close(frame) => bail!("closed {}", code_of(frame.map(|frame| frame.code.into()))),
            // The library answers pings.
            _ => {}
        }
    }
}

/// Hears until the connection ends; why it did.
pub async fn listen(connection: &mut Connection, mut hear: impl FnMut(&str)) -> String {
    loop {
        match connection.next().await {
            Some(Ok(Message::Text(text))) if is_next(&text) => hear(&text),
            Some(Ok(Message::Text(text))) => return text.chars().take(SHOWN).collect(),
            Some(Ok(Message::Close(frame))) => {
                // The other side waits for the answer, which the library sends when it is asked for more.
                let _ = connection.next().await;
                return code_of(frame.map(|frame| frame.code.into()));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return code_of(Some(1_006)),
        }
    }
}

/// 1005 says that there was none, 1006 that the connection just went.
fn code_of(code: Option<u16>) -> String {
    format!("code {}", code.unwrap_or(1_005))
}

fn is_next(text: &str) -> bool {
    text.contains("\"type\":\"next\"")
}

/// The cursor beside an event.
pub fn cursor_of(text: &str) -> Option<&str> {
    let rest = text.rsplit_once("\"cursor\":\"")?.1;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_sockets_come_from_several_addresses_and_new_ones_after_a_loss() {
        assert_eq!(source_of(0, 0), Ipv4Addr::LOCALHOST);
        assert_eq!(source_of(999, 0), Ipv4Addr::LOCALHOST);
        assert_eq!(source_of(1_000, 0), Ipv4Addr::new(127, 0, 0, 2));
        assert_eq!(source_of(99_999, 3), Ipv4Addr::new(127, 0, 3, 100));
    }

    #[test]
    fn the_cursor_stands_beside_the_data() {
        let text = r#"{"id":"1","type":"next","payload":{"data":{"cursor":"no"},"extensions":{"cursor":"yes","a":1}}}"#;
        assert_eq!(cursor_of(text), Some("yes"));
        assert_eq!(cursor_of("{}"), None);
    }
}
