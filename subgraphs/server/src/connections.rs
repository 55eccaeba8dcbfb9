//! The connections of those who ask, and how a process that is to end parts with them.
//!
//! Whoever keeps a connection may send on it at any moment, and one that is closed just then takes the request with it.
//! So a process that is to end says with each answer that its connection ends with it, and closes a connection that is
//! kept without use only when whoever keeps it would not send on it any more.

use axum::{
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    http::{HeaderValue, StatusCode, header::CONNECTION},
    middleware::Next,
    response::Response,
    serve::IncomingStream,
};
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Between two looks at the connections that are left.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How much longer than a kept connection may last the parting may: new ones come for as long as a balancer sends them.
const SLACK: Duration = Duration::from_secs(1);

/// All that are open; clones share them.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    since: Instant,
    numbers: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

/// One of them.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    /// Requests whose answers have not begun.
    asked: AtomicUsize,
    /// It speaks another protocol by now.
    upgraded: AtomicBool,
    /// When bytes last went either way, counted from [`Shared::since`].
    moved_ms: AtomicU64,
}

impl Connections {
    /// None yet.
    pub fn new() -> Self {
        Self(Arc::new(Shared { since: Instant::now(), numbers: AtomicU64::new(0), open: Mutex::default() }))
    }

    /// Those that are accepted from now on.
    pub fn accepted_by(&self, listener: TcpListener) -> Listener {
        Listener { listener, connections: self.clone() }
    }

    /// Returns when nobody would send on a connection that is closed now: `notice` is how long balancers may take to see
    /// that this process is not ready, `keep_alive` for how long whoever keeps a connection may still use it.
    pub async fn left(&self, notice: Duration, keep_alive: Duration) {
        let settled = async {
            tokio::time::sleep(notice).await;
            while self.is_kept(keep_alive) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(notice + keep_alive + SLACK, settled).await.is_err() {
            tracing::warn!("drain.connections_kept");
        }
    }

    fn is_kept(&self, keep_alive: Duration) -> bool {
        let now_ms = self.now_ms();
        let keep_alive_ms = u64::try_from(keep_alive.as_millis()).unwrap_or(u64::MAX);
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().any(|connection| connection.is_kept(now_ms, keep_alive_ms))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn open(&self) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            number: self.0.numbers.fetch_add(1, Ordering::Relaxed),
            asked: AtomicUsize::new(0),
            upgraded: AtomicBool::new(false),
            moved_ms: AtomicU64::new(self.now_ms()),
        });
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(connection.number, Arc::clone(&connection));
        connection
    }

    fn closed(&self, connection: &Connection) {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&connection.number);
    }
}

impl Connection {
    /// Whether somebody may be about to send on it. One that is asked something is told of the end with the answer.
    fn is_kept(&self, now_ms: u64, keep_alive_ms: u64) -> bool {
        let unused_ms = now_ms.saturating_sub(self.moved_ms.load(Ordering::Acquire));
        let is_asked = self.asked.load(Ordering::Acquire) > 0;
        !is_asked && !self.upgraded.load(Ordering::Acquire) && unused_ms < keep_alive_ms
    }
}

/// Accepts connections and knows them.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    connections: Connections,
}

impl axum::serve::Listener for Listener {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let (tcp, address) = axum::serve::Listener::accept(&mut self.listener).await;
        let connection = self.connections.open();
        (Stream { tcp, connection, connections: self.connections.clone() }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection's bytes.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    connection: Arc<Connection>,
    connections: Connections,
}

impl Stream {
    fn moved(&self) {
        self.connection.moved_ms.store(self.connections.now_ms(), Ordering::Release);
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.moved();
        }
        written
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connections.closed(&self.connection);
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(context, into);
        if into.filled().len() > before {
            self.moved();
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }
}

/// The connection that a request came on.
#[derive(Debug, Clone)]
pub struct Origin(Arc<Connection>);

impl Connected<IncomingStream<'_, Listener>> for Origin {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        Self(Arc::clone(&stream.io().connection))
    }
}

/// A request that has no answer yet.
struct Asked(Arc<Connection>);

impl Asked {
    fn on(connection: Arc<Connection>) -> Self {
        connection.asked.fetch_add(1, Ordering::AcqRel);
        Self(connection)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Says with each answer of a process that is to end that its connection ends with it.
pub async fn part(
    State(ending): State<CancellationToken>,
    ConnectInfo(Origin(connection)): ConnectInfo<Origin>,
    request: Request,
    next: Next,
) -> Response {
    let asked = Asked::on(connection);
    let mut response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        asked.0.upgraded.store(true, Ordering::Release);
    } else if ending.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, middleware, routing::get};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        sync::Notify,
    };

    /// So long that no test waits for it.
    const LONG: Duration = Duration::from_mins(10);
    const SHORT: Duration = Duration::from_millis(200);
    const SOON: Duration = Duration::from_secs(30);

    struct Server {
        address: SocketAddr,
        connections: Connections,
        ending: CancellationToken,
        /// Lets `/slow` answer.
        answer: Arc<Notify>,
    }

    impl Server {
        async fn start() -> Self {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let (connections, ending, answer) = (Connections::new(), CancellationToken::new(), Arc::new(Notify::new()));
            let held = Arc::clone(&answer);
            let slow = get(|| async move { held.notified().await });
            let routes = Router::new().route("/", get(|| async {})).route("/slow", slow);
            let routes = routes.layer(middleware::from_fn_with_state(ending.clone(), part));
            let served =
                axum::serve(connections.accepted_by(listener), routes.into_make_service_with_connect_info::<Origin>());
            tokio::spawn(served.into_future());
            Self { address, connections, ending, answer }
        }

        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.unwrap()
        }

        /// Whether it parts with all connections at once.
        async fn is_left(&self, keep_alive: Duration) -> bool {
            let left = self.connections.left(Duration::ZERO, keep_alive);
            tokio::time::timeout(SHORT, left).await.is_ok()
        }

        async fn becomes_left(&self, keep_alive: Duration) {
            tokio::time::timeout(SOON, self.connections.left(Duration::ZERO, keep_alive)).await.unwrap();
        }
    }

    async fn ask(stream: &mut TcpStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// The head of the next answer.
    async fn answered(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            bytes.push(tokio::time::timeout(SOON, stream.read_u8()).await.unwrap().unwrap());
        }
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn with_nobody_connected_there_is_nothing_to_wait_for() {
        let server = Server::start().await;
        assert!(server.is_left(LONG).await);
        drop(server.connect().await);
        server.becomes_left(LONG).await;
    }

    #[tokio::test]
    async fn a_connection_that_is_kept_is_waited_for_until_it_would_not_be_used() {
        let server = Server::start().await;
        let mut kept = server.connect().await;
        ask(&mut kept, "/").await;
        assert!(!answered(&mut kept).await.contains("connection: close"));
        assert!(!server.is_left(LONG).await);
        server.becomes_left(SHORT).await;
    }

    #[tokio::test]
    async fn one_that_is_used_meanwhile_is_told_of_the_end() {
        let server = Server::start().await;
        let mut kept = server.connect().await;
        ask(&mut kept, "/").await;
        answered(&mut kept).await;
        server.ending.cancel();
        ask(&mut kept, "/").await;
        assert!(answered(&mut kept).await.contains("connection: close"));
        assert_eq!(kept.read(&mut [0]).await.unwrap(), 0, "it is closed");
        server.becomes_left(LONG).await;
    }

    #[tokio::test]
    async fn one_that_waits_for_an_answer_holds_up_nothing_and_is_told_with_the_answer() {
        let server = Server::start().await;
        let mut kept = server.connect().await;
        ask(&mut kept, "/slow").await;
        server.becomes_left(LONG).await;
        server.ending.cancel();
        server.answer.notify_one();
        assert!(answered(&mut kept).await.contains("connection: close"));
    }
}
