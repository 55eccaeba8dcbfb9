//! The masters of a cluster: which has which slot, and a connection to each.
//!
//! The cluster's client takes each pipeline through a task of its own before the one that has the socket, which costs
//! more than the pipeline. So what is for one master goes there directly, for as long as that is known to be right;
//! whatever is out of the ordinary (a slot that has moved, a master that is lost) is left to the cluster's client.

use super::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT, Reply, slot::SLOTS, tcp};
use futures::future::join_all;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, Pipeline, RedisError,
    aio::{ConnectionLike as _, MultiplexedConnection},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Where a master listens.
type Address = (String, u16);

/// Which master has which slot, as the cluster said when it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slots {
    by_slot: Vec<u16>,
    addresses: Vec<Address>,
}

impl Slots {
    /// Reads what `CLUSTER SLOTS` says; nothing unless every slot has a master.
    pub(super) fn read(reply: &Reply) -> Option<Self> {
        let Reply::Array(ranges) = reply else { return None };
        let mut addresses: Vec<Address> = Vec::new();
        let mut by_slot = vec![None; usize::from(SLOTS)];
        for range in ranges {
            let Reply::Array(parts) = range else { return None };
            let [Reply::Int(first), Reply::Int(last), Reply::Array(master), ..] = parts.as_slice() else { return None };
            let address = address_of(master)?;
            let number = addresses.iter().position(|known| *known == address).unwrap_or_else(|| {
                addresses.push(address);
                addresses.len() - 1
            });
            let slots = usize::try_from(*first).ok()?..=usize::try_from(*last).ok()?;
            by_slot.get_mut(slots)?.fill(u16::try_from(number).ok());
        }
        let by_slot = by_slot.into_iter().collect::<Option<Vec<u16>>>()?;
        Some(Self { by_slot, addresses })
    }
}

fn address_of(master: &[Reply]) -> Option<Address> {
    let [host, Reply::Int(port), ..] = master else { return None };
    let host = match host {
        Reply::BulkString(bytes) => String::from_utf8(bytes.clone()).ok()?,
        Reply::SimpleString(text) => text.clone(),
        _ => return None,
    };
    Some((host, u16::try_from(*port).ok()?)).filter(|(host, _)| !host.is_empty())
}

/// A master, with a connection if there could be one.
#[derive(Debug)]
pub(super) struct Master {
    connection: Option<MultiplexedConnection>,
    lost: AtomicBool,
}

impl Master {
    async fn open(template: &ConnectionInfo, (host, port): &Address) -> Self {
        Self { connection: connect(template, host, *port).await, lost: AtomicBool::new(false) }
    }

    /// Whether the connection is there, as far as is known.
    pub(super) fn stands(&self) -> bool {
        self.connection.is_some() && !self.lost.load(Ordering::Relaxed)
    }

    /// Sends a pipeline of `count` commands; nothing when there is no connection. One that fails is not used again.
    pub(super) async fn send(&self, pipeline: &Pipeline, count: usize) -> Option<Result<Vec<Reply>, RedisError>> {
        let mut connection = self.connection.clone()?;
        let replies = connection.req_packed_commands(pipeline, 0, count).await;
        if replies.is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
        Some(replies)
    }
}

async fn connect(template: &ConnectionInfo, host: &str, port: u16) -> Option<MultiplexedConnection> {
    let address = match template.addr() {
        ConnectionAddr::Tcp(..) => ConnectionAddr::Tcp(host.to_owned(), port),
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => return None,
    };
    let client = redis::Client::open(template.clone().set_addr(address).set_tcp_settings(tcp())).ok()?;
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_connection_timeout(Some(CONNECT_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await.ok()
}

/// The masters as they were when the cluster was last asked.
#[derive(Debug, Default)]
pub(super) struct Masters {
    slots: Option<Slots>,
    masters: Vec<Arc<Master>>,
}

impl Masters {
    /// These masters; connections that stand go on to be used.
    pub(super) async fn connect(slots: Slots, template: &ConnectionInfo, before: &Self) -> Self {
        let masters = join_all(slots.addresses.iter().map(|address| async move {
            match before.at(address).filter(|master| master.stands()) {
                Some(master) => master,
                None => Arc::new(Master::open(template, address).await),
            }
        }));
        Self { masters: masters.await, slots: Some(slots) }
    }

    fn at(&self, address: &Address) -> Option<Arc<Master>> {
        let number = self.slots.as_ref()?.addresses.iter().position(|known| known == address)?;
        self.masters.get(number).cloned()
    }

    /// Whether these slots are theirs, and all their connections stand.
    pub(super) fn are(&self, slots: &Slots) -> bool {
        self.slots.as_ref() == Some(slots) && self.masters.iter().all(|master| master.stands())
    }

    /// A number that all slots of one master share.
    pub(super) fn of(&self, slot: u16) -> Option<u16> {
        self.slots.as_ref()?.by_slot.get(usize::from(slot)).copied()
    }

    /// The master of a number, if its connection stands.
    pub(super) fn standing(&self, number: u16) -> Option<Arc<Master>> {
        self.masters.get(usize::from(number)).filter(|master| master.stands()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, port: i64) -> Reply {
        let text = |text: &str| Reply::BulkString(text.as_bytes().to_vec());
        let node = |port: i64| Reply::Array(vec![text("127.0.0.1"), Reply::Int(port), text("id")]);
        Reply::Array(vec![Reply::Int(first), Reply::Int(last), node(port), node(9)])
    }

    #[test]
    fn a_master_is_one_whatever_ranges_it_has() {
        let reply = Reply::Array(vec![range(0, 9, 1), range(10, 16_000, 2), range(16_001, 16_383, 1)]);
        let slots = Slots::read(&reply).unwrap();
        assert_eq!(slots.addresses, [("127.0.0.1".to_owned(), 1), ("127.0.0.1".to_owned(), 2)]);
        assert_eq!([0, 10, 16_383].map(|slot: usize| slots.by_slot[slot]), [0, 1, 0]);
    }

    #[test]
    fn a_cluster_that_is_not_whole_says_nothing() {
        assert_eq!(Slots::read(&Reply::Array(vec![range(0, 9, 1)])), None);
        assert_eq!(Slots::read(&Reply::Array(vec![range(0, 20_000, 1)])), None);
        assert_eq!(Slots::read(&Reply::Nil), None);
    }
}
