//! One open socket to a subgraph: dialling, and reading and writing with bounds.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, header};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use super::super::config::{UpstreamConfig, millis};
use super::super::metrics::UPSTREAM_SOCKETS;
use super::super::protocol::{Envelope, SUBPROTOCOL};

/// Why a socket was lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the subgraph cannot be reached")]
    Connect(#[source] Box<tungstenite::Error>),
    #[error("the socket failed")]
    Socket(#[source] Box<tungstenite::Error>),
    #[error("the subgraph closed the socket with code {0}")]
    Closed(u16),
    #[error("the subgraph did not answer in time")]
    Timeout,
    #[error("the subgraph sent what is not of the protocol")]
    Protocol,
}

impl From<tungstenite::Error> for Error {
    fn from(error: tungstenite::Error) -> Self {
        Self::Socket(Box::new(error))
    }
}

/// No status was given with the close (RFC 6455 §7.1.5).
const NO_STATUS: u16 = 1005;

/// An acknowledged socket.
pub(super) struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    write_timeout: Duration,
}

impl Wire {
    /// Connects and waits for the subgraph's acknowledgement. The subgraph learns who asks with each operation, so
    /// `connection_init` says nothing.
    pub(super) async fn open(url: &url::Url, config: &UpstreamConfig) -> Result<Self, Error> {
        let limit = millis(config.connect_timeout_ms);
        let socket = tokio::time::timeout(limit, dial(url, config)).await.map_err(|_| Error::Timeout)??;
        UPSTREAM_SOCKETS.add(1);
        let mut wire = Self { socket, write_timeout: millis(config.pong_timeout_ms) };
        wire.send(r#"{"type":"connection_init"}"#.into()).await?;
        tokio::time::timeout(limit, wire.acknowledged()).await.map_err(|_| Error::Timeout)??;
        Ok(wire)
    }

    async fn acknowledged(&mut self) -> Result<(), Error> {
        loop {
            if let Some(text) = self.receive().await? {
                let envelope: Envelope = serde_json::from_str(&text).map_err(|_| Error::Protocol)?;
                match envelope.kind.as_ref() {
                    "connection_ack" => return Ok(()),
                    "ping" => self.send(r#"{"type":"pong"}"#.into()).await?,
                    _ => {}
                }
            }
        }
    }

    /// The next frame; nothing for one that only shows that the subgraph is there.
    pub(super) async fn receive(&mut self) -> Result<Option<Utf8Bytes>, Error> {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => Ok(Some(text)),
            Some(Ok(Message::Close(frame))) => Err(Error::Closed(frame.map_or(NO_STATUS, |frame| frame.code.into()))),
            Some(Ok(Message::Binary(_))) => Err(Error::Protocol),
            Some(Ok(_)) => Ok(None),
            Some(Err(error)) => Err(error.into()),
            None => Err(Error::Closed(NO_STATUS)),
        }
    }

    pub(super) async fn send(&mut self, text: Utf8Bytes) -> Result<(), Error> {
        self.write(Message::Text(text)).await
    }

    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        self.write(Message::Ping(bytes::Bytes::new())).await
    }

    /// Sends many at once.
    pub(super) async fn send_all(&mut self, texts: Vec<Utf8Bytes>) -> Result<(), Error> {
        let writing = async {
            for text in texts {
                self.socket.feed(Message::Text(text)).await?;
            }
            self.socket.flush().await
        };
        Ok(tokio::time::timeout(self.write_timeout, writing).await.map_err(|_| Error::Timeout)??)
    }

    async fn write(&mut self, message: Message) -> Result<(), Error> {
        let writing = self.socket.send(message);
        Ok(tokio::time::timeout(self.write_timeout, writing).await.map_err(|_| Error::Timeout)??)
    }

    /// Says goodbye; whether it is heard does not matter.
    pub(super) async fn close(mut self) {
        let limit = self.write_timeout;
        let _ = tokio::time::timeout(limit, self.socket.close(None)).await;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        UPSTREAM_SOCKETS.add(-1);
    }
}

async fn dial(
    url: &url::Url,
    config: &UpstreamConfig,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Error> {
    let connect = |error| Error::Connect(Box::new(error));
    let mut request = url.as_str().into_client_request().map_err(connect)?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let limits = WebSocketConfig::default()
        .max_message_size(Some(config.message_bytes_max))
        .max_frame_size(Some(config.message_bytes_max));
    // Small frames that must not wait for one another.
    let without_nagle = true;
    let (socket, _) = connect_async_with_config(request, Some(limits), without_nagle).await.map_err(connect)?;
    Ok(socket)
}
