//! A router that is to end parts with its clients, and none of them loses a request.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{PATIENCE, Stack, eventually, start};

const BODY: &str = r#"{"query":"{ __typename }"}"#;

/// A connection that a client keeps.
struct Kept(TcpStream);

impl Kept {
    async fn open(stack: &Stack) -> Self {
        Self(TcpStream::connect(("127.0.0.1", stack.router.port)).await.unwrap())
    }

    /// The head of the answer to a query.
    async fn ask(&mut self) -> String {
        let length = BODY.len();
        let head = format!("host: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}");
        self.0.write_all(format!("POST /graphql HTTP/1.1\r\n{head}\r\n\r\n{BODY}").as_bytes()).await.unwrap();
        let head = self.read_until(|read| read.ends_with(b"\r\n\r\n")).await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap_or_else(|| panic!("no length: {head}")).parse().unwrap();
        assert!(self.read_until(|read| read.len() == length).await.contains("query"));
        head
    }

    async fn read_until(&mut self, done: impl Fn(&[u8]) -> bool) -> String {
        let mut read = Vec::new();
        while !done(&read) {
            read.push(tokio::time::timeout(PATIENCE, self.0.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(read).unwrap().to_ascii_lowercase()
    }

    async fn is_told_and_closed(&mut self) {
        let head = self.ask().await;
        assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
        assert!(self.is_closed().await);
    }

    async fn is_closed(&mut self) -> bool {
        matches!(tokio::time::timeout(PATIENCE, self.0.read(&mut [0])).await.unwrap(), Ok(0) | Err(_))
    }
}

#[tokio::test]
async fn a_client_that_keeps_a_connection_is_answered_and_told_that_it_ends() {
    let mut stack = start("plugins: {velvet.drain: {keep_alive_ms: 600000}}").await;
    let mut connections = [Kept::open(&stack).await, Kept::open(&stack).await];
    for kept in &mut connections {
        let head = kept.ask().await;
        assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");
    }
    assert!(stack.router.is_ready().await);
    stack.router.terminate();
    eventually("the router says that it is not ready", async || !stack.router.is_ready().await).await;
    // Whoever has not asked is not closed on either; until then the router stays, also for who comes late.
    let [first, second] = &mut connections;
    first.is_told_and_closed().await;
    Kept::open(&stack).await.is_told_and_closed().await;
    assert!(!stack.router.has_ended());
    second.is_told_and_closed().await;
}

#[tokio::test]
async fn a_connection_that_no_client_would_use_any_more_is_closed() {
    let mut stack = start("plugins: {velvet.drain: {keep_alive_ms: 500}}").await;
    let mut kept = Kept::open(&stack).await;
    kept.ask().await;
    stack.router.terminate();
    assert!(kept.is_closed().await);
    stack.router.ended().await;
}

#[tokio::test]
async fn a_router_that_nobody_has_asked_anything_ends_at_once() {
    let mut stack = start("plugins: {velvet.drain: {keep_alive_ms: 600000}}").await;
    stack.router.terminate();
    stack.router.ended().await;
}
