//! What stands between the routers and several APIs: new connections go to the APIs in turn, past those that are not
//! ready. It can cut all connections, as a network does.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::servers::ready::Ready;

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How often each API is asked whether it is ready; one that is not gets no new connections while another is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Api {
    address: SocketAddr,
    is_ready: AtomicBool,
}

/// Ends with its connections when dropped.
#[derive(Debug)]
pub struct Balancer {
    cuts: watch::Sender<u64>,
    _work: JoinSet<()>,
}

impl Balancer {
    /// Listens at a port of loopback for the APIs at others.
    pub async fn start(port: u16, apis: &[u16]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("opening the balancer's port")?;
        let address = |port: &u16| SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        let apis: Arc<[Api]> =
            apis.iter().map(|port| Api { address: address(port), is_ready: AtomicBool::new(true) }).collect();
        let cuts = watch::Sender::new(0);
        let mut work = JoinSet::new();
        work.spawn(look(apis.clone()));
        work.spawn(accept(listener, apis, cuts.clone()));
        Ok(Self { cuts, _work: work })
    }

    /// Drops every connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn look(apis: Arc<[Api]>) {
    loop {
        let looks = apis.iter().map(|api| async {
            let ready = Ready::Http(format!("http://{}/ready", api.address));
            let answer = tokio::time::timeout(CONNECT_WITHIN, ready.check()).await;
            api.is_ready.store(matches!(answer, Ok(Ok(()))), Ordering::Relaxed);
        });
        futures::future::join_all(looks).await;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn accept(listener: TcpListener, apis: Arc<[Api]>, cuts: watch::Sender<u64>) {
    let next = AtomicUsize::new(0);
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors, for instance: others may close meanwhile.
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let turn = next.fetch_add(1, Ordering::Relaxed);
        connections.spawn(carry(client, apis.clone(), turn, cuts.subscribe()));
    }
}

async fn carry(mut client: TcpStream, apis: Arc<[Api]>, turn: usize, mut cuts: watch::Receiver<u64>) {
    let Ok(mut api) = connect(&apis, turn).await else { return };
    let _ = (client.set_nodelay(true), api.set_nodelay(true));
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut api) => {}
        _ = cuts.changed() => {}
    }
}

async fn connect(apis: &[Api], turn: usize) -> io::Result<TcpStream> {
    let in_turn = (0..apis.len()).map(|step| &apis[(turn + step) % apis.len()]);
    let (ready, others): (Vec<&Api>, Vec<&Api>) = in_turn.partition(|api| api.is_ready.load(Ordering::Relaxed));
    let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
    for api in ready.into_iter().chain(others) {
        match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(api.address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(cause)) => last = cause,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}
