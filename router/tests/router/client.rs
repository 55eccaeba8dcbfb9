//! A client of graphql-transport-ws that can also misbehave.

use futures::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::process::PATIENCE;

pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What came last on a socket.
#[derive(Debug, PartialEq)]
pub enum Received {
    Message(Value),
    Closed(u16),
    /// Without a close frame.
    Lost,
}

impl Client {
    /// An open socket on which nothing was said.
    pub async fn open(port: u16, subprotocol: Option<&'static str>) -> Self {
        let mut request = format!("ws://127.0.0.1:{port}/ws").into_client_request().unwrap();
        if let Some(subprotocol) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(subprotocol));
        }
        let (socket, _) = connect_async(request).await.unwrap();
        Self { socket }
    }

    /// A socket after `connection_init`, whatever came of it.
    pub async fn init(port: u16, token: Option<&str>) -> Self {
        let payload = match token {
            Some(token) => json!({ "authorization": format!("Bearer {token}") }),
            None => json!({}),
        };
        Self::init_with(port, payload).await
    }

    /// A socket after `connection_init` with that payload, whatever came of it.
    pub async fn init_with(port: u16, payload: Value) -> Self {
        let mut client = Self::open(port, Some("graphql-transport-ws")).await;
        client.send(&json!({ "type": "connection_init", "payload": payload })).await;
        client
    }

    /// An acknowledged socket.
    pub async fn ready_with(port: u16, payload: Value) -> Self {
        let mut client = Self::init_with(port, payload).await;
        assert_eq!(client.message().await, json!({ "type": "connection_ack" }));
        client
    }

    pub async fn ready(port: u16, token: Option<&str>) -> Self {
        let mut client = Self::init(port, token).await;
        assert_eq!(client.message().await, json!({ "type": "connection_ack" }));
        client
    }

    pub async fn send(&mut self, message: &Value) {
        self.send_raw(Message::text(message.to_string())).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub async fn subscribe(&mut self, id: &str, query: &str) {
        self.subscribe_with(id, json!({ "query": query })).await;
    }

    pub async fn subscribe_with(&mut self, id: &str, payload: Value) {
        self.send(&json!({ "id": id, "type": "subscribe", "payload": payload })).await;
    }

    pub async fn receive(&mut self) -> Received {
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await.expect("nothing came");
            match frame {
                Some(Ok(Message::Text(text))) => return Received::Message(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(frame)))) => return Received::Closed(frame.code.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => return Received::Lost,
            }
        }
    }

    pub async fn message(&mut self) -> Value {
        match self.receive().await {
            Received::Message(message) => message,
            other => panic!("a message was expected: {other:?}"),
        }
    }

    /// The payload of the next event of that operation.
    pub async fn event(&mut self, id: &str) -> Value {
        let mut message = self.message().await;
        assert_eq!((&message["id"], &message["type"]), (&json!(id), &json!("next")), "{message}");
        message["payload"].take()
    }

    /// The code of the first error that ends that operation.
    pub async fn error_code(&mut self, id: &str) -> String {
        let message = self.message().await;
        assert_eq!((&message["id"], &message["type"]), (&json!(id), &json!("error")), "{message}");
        message["payload"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The code that the socket is closed with, whatever comes before.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            match self.receive().await {
                Received::Message(_) => {}
                Received::Closed(code) => return code,
                Received::Lost => panic!("the socket was lost without a close frame"),
            }
        }
    }
}
