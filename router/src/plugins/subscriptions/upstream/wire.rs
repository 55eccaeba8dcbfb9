//! One open socket to a subgraph: dialling, reading, and writing within bounds.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, header};
use tokio::net::TcpStream;
use tokio::time::timeout;
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

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is heard from a subgraph.
pub(super) struct Reader {
    socket: SplitStream<Socket>,
}

/// What is said to a subgraph. The two halves are used at once: a subgraph that waits for us to read would otherwise
/// wait for as long as we wait for it to read.
pub(super) struct Writer {
    socket: SplitSink<Socket, Message>,
    patience: Duration,
    _counted: Counted,
}

/// An open socket in the metrics.
struct Counted;

/// Connects and waits for the subgraph's acknowledgement. The subgraph learns who asks with each operation, so
/// `connection_init` says nothing.
pub(super) async fn open(url: &url::Url, config: &UpstreamConfig) -> Result<(Writer, Reader), Error> {
    let patience = millis(config.connect_timeout_ms);
    let socket = timeout(patience, dial(url, config)).await.map_err(|_| Error::Timeout)??;
    UPSTREAM_SOCKETS.add(1);
    let (sink, stream) = socket.split();
    let mut writer = Writer { socket: sink, patience: millis(config.pong_timeout_ms), _counted: Counted };
    let mut reader = Reader { socket: stream };
    writer.send([r#"{"type":"connection_init"}"#.into()]).await?;
    timeout(patience, acknowledged(&mut reader)).await.map_err(|_| Error::Timeout)??;
    Ok((writer, reader))
}

async fn acknowledged(reader: &mut Reader) -> Result<(), Error> {
    loop {
        if let Some(text) = reader.receive().await? {
            let envelope: Envelope = serde_json::from_str(&text).map_err(|_| Error::Protocol)?;
            if envelope.kind == "connection_ack" {
                return Ok(());
            }
        }
    }
}

impl Reader {
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
}

impl Writer {
    /// Sends all, in order. The bound is on each: many take as long as they take.
    pub(super) async fn send(&mut self, texts: impl IntoIterator<Item = Utf8Bytes>) -> Result<(), Error> {
        for text in texts {
            self.feed(Message::Text(text)).await?;
        }
        self.flush().await
    }

    /// A ping of the protocol, not of the WebSocket: servers count only messages as a sign of life.
    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        self.send([Utf8Bytes::from_static(r#"{"type":"ping"}"#)]).await
    }

    /// Says goodbye; whether it is heard does not matter.
    pub(super) async fn close(mut self) {
        let _ = timeout(self.patience, self.socket.close()).await;
    }

    async fn feed(&mut self, message: Message) -> Result<(), Error> {
        Ok(timeout(self.patience, self.socket.feed(message)).await.map_err(|_| Error::Timeout)??)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(timeout(self.patience, self.socket.flush()).await.map_err(|_| Error::Timeout)??)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        UPSTREAM_SOCKETS.add(-1);
    }
}

async fn dial(url: &url::Url, config: &UpstreamConfig) -> Result<Socket, Error> {
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
