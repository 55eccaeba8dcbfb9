//! A client that reads, but slower than its events come.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::{PATIENCE, Stack, start};
use crate::streams::{MULTIPART, SSE};

const EVENT_BYTES: usize = 50_000;

/// What it takes of each event.
const TAKEN_BYTES: usize = 5_000;

/// More than twice what the buffers of both ends, the connection and the queue hold together.
const EVENTS_MAX: usize = 2_000;

async fn open(stack: &Stack, accept: &str) -> TcpStream {
    let body = json!({ "query": "subscription { texts }" }).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(("127.0.0.1", stack.router.port)).await.unwrap();
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn a_stream_whose_reader_never_stops_but_is_slower_is_cut_off() {
    let stack = start("plugins: {velvet.subscriptions: {client: {queue_bytes_max: 200000}}}").await;
    let mut slow = [open(&stack, SSE).await, open(&stack, MULTIPART).await];
    let mut quick = stack.viewer("bob").await;
    quick.subscribe("s", "subscription { texts }").await;
    stack.streaming(3).await;
    let text = "x".repeat(EVENT_BYTES);
    let mut taken = vec![0; TAKEN_BYTES];
    let mut posted = 0;
    while stack.router.metric("velvet_router_sockets_slow_total").await < 2 {
        assert!(posted < EVENTS_MAX, "{posted} events of {EVENT_BYTES} bytes have gone somewhere");
        stack.world().post(&text, "ann");
        posted += 1;
        // The pace is the router's own, however loaded the machine is.
        assert_eq!(quick.event("s").await["extensions"]["cursor"], posted.to_string());
        for socket in &mut slow {
            timeout(PATIENCE, socket.read(&mut taken)).await.expect("nothing came").unwrap();
        }
    }
}
