//! What stands between one of our processes and what it talks to: for that process alone it can refuse, keep silent and
//! be slow, as a network does.
//!
//! Each process has an address of loopback to itself, and the links listen there. PostgreSQL and the balancer are
//! reached by the address that a process is told. Kafka's brokers have a listener for each process, which advertises
//! the link's address. A Redis Cluster names one address of each server to everybody, so a link puts its own in the
//! place of that: both are as long, so nothing else of a reply changes.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// After the kernel refused to accept, for want of descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
const CHUNK_BYTES: usize = 64 * 1024;
/// How servers call themselves.
const SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The first process has 127.0.0.2; one digit, so that every address is as long as [`SERVER`].
const PROCESSES_MAX: usize = 8;

/// What a link does with what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    /// Connections are dropped, and new ones too.
    Refuses,
    /// Nothing comes through, and nobody is told; what was sent arrives once it is open again.
    Silent,
    /// Whatever is read waits that long before it is written.
    Slow(Duration),
}

/// A link that is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `api-1>kafka-2`: from whom, and to what.
    pub name: String,
    pub listen: SocketAddr,
    pub to: SocketAddr,
    /// Whether the server hands its address out.
    pub names_itself: bool,
}

/// All links of a stack; they end when dropped.
#[derive(Debug, Default)]
pub struct Links {
    states: BTreeMap<String, watch::Sender<State>>,
    /// What accepts connections; kept so that it ends with the links.
    work: JoinSet<()>,
}

/// The address that one of our processes has to itself, by its number.
///
/// # Panics
///
/// When there are more processes than such addresses.
pub fn address(process: usize) -> Ipv4Addr {
    assert!(process < PROCESSES_MAX, "there are {PROCESSES_MAX} addresses for links");
    #[expect(clippy::cast_possible_truncation, reason = "a digit")]
    Ipv4Addr::new(127, 0, 0, 2 + process as u8)
}

/// Whether this machine has more than one address of loopback, without which there are no links.
pub async fn possible() -> bool {
    TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).await.is_ok()
}

impl Links {
    pub async fn start(wanted: Vec<Wanted>) -> Result<Self> {
        let mut links = Self::default();
        for Wanted { name, listen, to, names_itself } in wanted {
            let listener = TcpListener::bind(listen).await.with_context(|| format!("opening the link {name}"))?;
            let state = watch::Sender::new(State::Open);
            let rename = match listen.ip() {
                std::net::IpAddr::V4(own) if names_itself => Some(own),
                _ => None,
            };
            links.work.spawn(accept(listener, to, rename, state.clone()));
            links.states.insert(name, state);
        }
        Ok(links)
    }

    pub fn names(&self) -> Vec<String> {
        self.states.keys().cloned().collect()
    }

    /// Changes one link, or all whose names begin with what stands before a `*`.
    pub fn set(&self, pattern: &str, state: State) -> Result<()> {
        let meant = |name: &str| match pattern.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == pattern,
        };
        let mut known = false;
        for (_, link) in self.states.iter().filter(|(name, _)| meant(name)) {
            link.send_replace(state);
            known = true;
        }
        ensure!(known, "this stack has no link {pattern}");
        Ok(())
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, rename: Option<Ipv4Addr>, state: watch::Sender<State>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(carry(client, to, rename, state.subscribe()));
    }
}

async fn carry(client: TcpStream, to: SocketAddr, rename: Option<Ipv4Addr>, mut state: watch::Receiver<State>) {
    let mut cut = state.clone();
    tokio::select! {
        _ = cut.wait_for(|state| *state == State::Refuses) => {}
        _ = async {
            // A server that cannot be reached over a silent link is not known to be away either.
            let _ = state.wait_for(|state| *state != State::Silent).await;
            let server = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(to)).await??;
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            let asked = pump(from_client, to_server, state.clone(), None);
            let answered = pump(from_server, to_client, state.clone(), rename.map(Rename::to));
            tokio::try_join!(asked, answered).map(drop)
        } => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    mut rename: Option<Rename>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        let now = *state.borrow();
        if let State::Slow(pause) = now {
            tokio::time::sleep(pause).await;
        }
        let _ = state.wait_for(|state| *state != State::Silent).await;
        match &mut rename {
            Some(rename) => to.write_all(&rename.put(&buffer[..count])).await?,
            None => to.write_all(&buffer[..count]).await?,
        }
    }
}

/// Puts a link's address in the place of the server's.
#[derive(Debug)]
struct Rename {
    from: Vec<u8>,
    to: Vec<u8>,
    /// The beginning of an address, perhaps: its rest may come next. No reply of Redis ends so.
    held: Vec<u8>,
}

impl Rename {
    fn to(own: Ipv4Addr) -> Self {
        let bytes = |address: Ipv4Addr| address.to_string().into_bytes();
        Self { from: bytes(SERVER), to: bytes(own), held: Vec::new() }
    }

    fn put(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        let length = self.from.len();
        let mut at = 0;
        while at + length <= bytes.len() {
            if bytes[at..at + length] == self.from[..] {
                bytes[at..at + length].copy_from_slice(&self.to);
                at += length;
            } else {
                at += 1;
            }
        }
        let begun = (at..bytes.len()).find(|start| self.from.starts_with(&bytes[*start..]));
        self.held = bytes.split_off(begun.unwrap_or(bytes.len()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::until;
    use anyhow::bail;

    const SHORT: Duration = Duration::from_millis(100);
    const WITHIN: Duration = Duration::from_secs(5);

    #[test]
    fn an_address_is_put_in_its_place_however_it_is_cut_up() {
        let reply = b"-MOVED 3999 127.0.0.1:6381\r\n*2\r\n$9\r\n127.0.0.1\r\n:6382\r\n127.0.0.\r\n";
        let wanted = b"-MOVED 3999 127.0.0.4:6381\r\n*2\r\n$9\r\n127.0.0.4\r\n:6382\r\n127.0.0.\r\n";
        for size in 1..reply.len() {
            let mut rename = Rename::to(Ipv4Addr::new(127, 0, 0, 4));
            let put: Vec<u8> = reply.chunks(size).flat_map(|chunk| rename.put(chunk)).collect();
            assert_eq!(put, wanted, "in chunks of {size}");
        }
    }

    /// A link to a server that sends back what it is sent.
    async fn linked() -> Result<(Links, SocketAddr)> {
        let echo = TcpListener::bind((SERVER, 0)).await?;
        let to = echo.local_addr()?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        // What is free now may be somebody else's a moment later.
        until("a link", WITHIN, || async {
            let free = TcpListener::bind((SERVER, 0)).await?.local_addr()?;
            let wanted = Wanted { name: "api>kafka-1".to_owned(), listen: free, to, names_itself: false };
            Ok((Links::start(vec![wanted]).await?, free))
        })
        .await
    }

    async fn echoes(stream: &mut TcpStream) -> Result<()> {
        stream.write_all(b"x").await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_link_carries_is_silent_and_refuses_as_it_is_told() -> Result<()> {
        let (links, address) = linked().await?;
        let mut stream = TcpStream::connect(address).await?;
        echoes(&mut stream).await?;

        links.set("api>kafka*", State::Silent)?;
        assert!(tokio::time::timeout(SHORT, echoes(&mut stream)).await.is_err(), "it speaks");
        links.set("api>kafka-1", State::Open)?;
        let mut late = [0];
        tokio::time::timeout(WITHIN, stream.read_exact(&mut late)).await??;

        links.set("*", State::Refuses)?;
        assert!(tokio::time::timeout(WITHIN, echoes(&mut stream)).await?.is_err(), "it carries");
        links.set("*", State::Open)?;
        until("a new connection", WITHIN, || async {
            let mut stream = TcpStream::connect(address).await?;
            echoes(&mut stream).await
        })
        .await?;

        links.set("*", State::Slow(SHORT))?;
        let began = std::time::Instant::now();
        echoes(&mut TcpStream::connect(address).await?).await?;
        if began.elapsed() < SHORT * 2 {
            bail!("there and back took {:?}", began.elapsed());
        }
        assert!(links.set("api>redis*", State::Open).is_err());
        Ok(())
    }
}
