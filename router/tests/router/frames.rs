//! Frames that no WebSocket library would send (RFC 6455, 5): the socket is closed, and nobody else notices.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::{PATIENCE, eventually, start};

pub const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x40;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 0xa;
const KEY: [u8; 4] = [1, 2, 3, 4];

/// A connection after the handshake, on which any bytes can be sent.
pub struct Raw(TcpStream);

impl Raw {
    pub async fn open(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.expect("no answer to the handshake").unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let mut raw = Self(stream);
        raw.send(&frame(FINAL | TEXT, br#"{"type":"connection_init"}"#)).await;
        let (opcode, payload) = raw.frame().await.unwrap();
        assert_eq!((opcode, payload.as_slice()), (FINAL | TEXT, &br#"{"type":"connection_ack"}"#[..]));
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The first byte and the payload of the next frame; nothing when the connection is over.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let reading = async {
            let head = [self.0.read_u8().await.ok()?, self.0.read_u8().await.ok()?];
            assert!(head[1] < 126, "a longer frame than this test has use for");
            let mut payload = vec![0; usize::from(head[1])];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((head[0], payload))
        };
        timeout(PATIENCE, reading).await.expect("nothing came")
    }

    /// All bytes that still come, to the end of the connection.
    pub async fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A connection that is reset has ended too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.expect("no end came");
        bytes
    }

    /// The code of the close frame, and that nothing follows it.
    async fn close_code(mut self, what: &str) -> u16 {
        let Some((opcode, payload)) = self.frame().await else { panic!("{what}: lost without a close frame") };
        assert_eq!(opcode, FINAL | CLOSE, "{what}");
        // By the protocol the client answers, and the server ends the connection.
        let _ = self.0.write_all(&frame(FINAL | CLOSE, &payload[..2])).await;
        assert_eq!(self.frame().await, None, "{what}");
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

/// A masked frame, as clients send them.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, MASKED | u8::try_from(payload.len()).unwrap()];
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

#[tokio::test]
async fn frames_against_the_protocol_close_their_socket_and_no_other() {
    let stack = start("{}").await;
    let port = stack.router.port;
    let mut alice = stack.viewer("alice").await;
    alice.subscribe("s", "subscription { texts }").await;
    stack.streaming(1).await;

    let unmasked = [&[FINAL | TEXT, 0xf][..], br#"{"type":"ping"}"#].concat();
    let fragment = frame(TEXT, b"{\"type\":");
    // Every other frame of 126 bytes and more says so in bytes that follow; a ping may not be that long.
    let long_ping = [&[FINAL | PING, MASKED | 0x7e, 0, 126][..], &KEY, &[0; 126]].concat();
    for (what, bytes, code) in [
        ("no mask", unmasked, 1002),
        ("a reserved bit", frame(FINAL | RESERVED | TEXT, br#"{"type":"ping"}"#), 1002),
        ("an opcode that there is not", frame(FINAL | 0x3, b"x"), 1002),
        ("a control opcode that there is not", frame(FINAL | 0xb, b"x"), 1002),
        ("a continuation of nothing", frame(FINAL | CONTINUATION, b"x"), 1002),
        ("a message within a message", [fragment.clone(), frame(FINAL | TEXT, b"x")].concat(), 1002),
        ("a ping in pieces", frame(PING, b"x"), 1002),
        ("a ping that is too long", long_ping, 1002),
        ("half a close code", frame(FINAL | CLOSE, b"x"), 1002),
        ("a text that is not UTF-8", frame(FINAL | TEXT, &[0xc3, 0x28]), 1007),
        ("half a character", frame(FINAL | TEXT, &[b'"', 0xc3]), 1007),
        (
            "half a character between two pieces",
            [frame(TEXT, &[b'"', 0xc3]), frame(FINAL | CONTINUATION, b"(")].concat(),
            1007,
        ),
    ] {
        let mut raw = Raw::open(port).await;
        raw.send(&bytes).await;
        assert_eq!(raw.close_code(what).await, code, "{what}");
    }

    // A message in pieces is a message, also with a ping between them.
    let mut whole = Raw::open(port).await;
    let pieces = [fragment.clone(), frame(FINAL | PING, b"p"), frame(FINAL | CONTINUATION, b"\"ping\"}")];
    whole.send(&pieces.concat()).await;
    let (first, second) = (whole.frame().await.unwrap(), whole.frame().await.unwrap());
    assert_eq!(first, (FINAL | PONG, b"p".to_vec()));
    assert_eq!(second, (FINAL | TEXT, br#"{"type":"pong"}"#.to_vec()));
    // Who goes away in the middle of a frame is gone.
    whole.send(&[FINAL | TEXT, MASKED | 0x64, 1]).await;
    drop(whole);
    eventually("only alice is left", async || stack.router.metric("velvet_router_sockets").await == 1).await;

    stack.world().post("hi", "ann");
    assert_eq!(alice.event("s").await["data"], json!({ "texts": "hi" }));
}
