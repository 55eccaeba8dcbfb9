//! What each of our processes is told where it differs from the rest: its links in the place of the servers, the file
//! that sets its clock wrong, the schema that it follows.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::config;
use crate::info::StackInfo;
use crate::links::{Wanted, address};
use crate::ports::Ports;
use crate::servers::private_folder;

/// Milliseconds in a file of this name are added to what the process reads from its clock; debug builds alone look.
const CLOCK: &str = "VELVET_CLOCK_SKEW_FILE";
const FOLLOW_SCHEMA: &str = "APOLLO_ROUTER_HOT_RELOAD";

/// One of our processes, and what it is told.
#[derive(Debug)]
pub struct Told {
    pub name: String,
    /// The stack, as this process sees it.
    pub info: StackInfo,
    pub env: Vec<(String, String)>,
}

/// The first of a kind has the kind's name, the others a number as well.
fn name_of(kind: &str, index: usize) -> String {
    if index == 0 { kind.to_owned() } else { format!("{kind}-{index}") }
}

/// Processes with links: APIs, writers, routers; the place of each is its number.
fn processes(info: &StackInfo) -> Vec<String> {
    let kinds = [("api", info.api_urls.len()), ("writer", info.writer_urls.len()), ("router", info.router_urls.len())];
    kinds.into_iter().flat_map(|(kind, count)| (0..count).map(move |index| name_of(kind, index))).collect()
}

impl Told {
    pub fn of(kind: &str, index: usize, info: &StackInfo, ports: &Ports) -> Result<Self> {
        let name = name_of(kind, index);
        let mut told = Self { name, info: info.clone(), env: Vec::new() };
        if !info.faults.links.is_empty() {
            told.over_links(ports)?;
        }
        if let Some(file) = info.faults.clocks.get(&told.name) {
            told.env.push((CLOCK.to_owned(), file.to_string_lossy().into_owned()));
        }
        if info.faults.supergraphs.contains_key(&told.name) {
            told.env.push((FOLLOW_SCHEMA.to_owned(), "true".to_owned()));
        }
        Ok(told)
    }

    /// The same stack at the addresses of this process's links, in a configuration of its own.
    fn over_links(&mut self, ports: &Ports) -> Result<()> {
        let number = processes(&self.info).iter().position(|name| *name == self.name);
        let number = number.with_context(|| format!("{} has no links", self.name))?;
        let own = address(number).to_string();
        let linked = |url: &str| url.replace(&Ipv4Addr::LOCALHOST.to_string(), &own);
        let brokers = ports.kafka_links.iter().filter_map(|broker| broker.get(number));
        let brokers: Vec<String> = brokers.map(|port| format!("{own}:{port}")).collect();
        let info = &mut self.info;
        info.redis_urls = info.redis_urls.iter().map(|url| linked(url)).collect();
        if self.name.starts_with("router") {
            info.api_url = linked(&info.api_url);
            return Ok(());
        }
        info.kafka_brokers = brokers.join(",");
        for server in &mut info.postgres {
            server.url = linked(&server.url);
            server.replica_url = server.replica_url.as_deref().map(linked);
        }
        let folder = info.state.join("told").join(&self.name);
        private_folder(&info.state.join("told"))?;
        private_folder(&folder)?;
        info.config = folder.join("velvet.toml");
        config::write(info, &info.state.join("keys"))
    }
}

/// The links of all our processes.
pub fn wanted(info: &StackInfo, ports: &Ports) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for (number, name) in processes(info).into_iter().enumerate() {
        let own = address(number);
        let mut link = |server: String, port: u16, names_itself: bool| {
            let (listen, to) = (SocketAddr::from((own, port)), SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            wanted.push(Wanted { name: format!("{name}>{server}"), listen, to, names_itself });
        };
        for (index, port) in ports.redis.iter().enumerate() {
            link(format!("redis-{index}"), *port, true);
        }
        for (index, broker) in ports.kafka_links.iter().enumerate() {
            if let Some(port) = broker.get(number) {
                link(name_of("kafka", index), *port, false);
            }
        }
        if name.starts_with("router") {
            link("balancer".to_owned(), ports.balancer, false);
        }
        if name.starts_with("writer") {
            let servers = ports.postgres.iter().zip(&ports.replicas).enumerate();
            for (index, (primary, replica)) in servers {
                link(format!("postgres-{index}"), *primary, false);
                link(format!("replica-{index}"), *replica, false);
            }
        }
    }
    Ok(wanted)
}

/// A file for the clock of each API and writer, which is right until somebody writes it.
pub fn clocks(info: &StackInfo) -> Result<BTreeMap<String, PathBuf>> {
    let folder = info.state.join("clocks");
    private_folder(&folder)?;
    let clocks = processes(info).into_iter().filter(|name| !name.starts_with("router"));
    Ok(clocks.map(|name| (name.clone(), folder.join(name))).collect())
}

/// A copy of the schema for each router.
pub fn supergraphs(info: &StackInfo, composed: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let folder = info.state.join("supergraphs");
    let mut copies = BTreeMap::new();
    for name in processes(info).into_iter().filter(|name| name.starts_with("router")) {
        // The router watches the folder of its file.
        let own = folder.join(&name);
        fs::create_dir_all(&own).with_context(|| format!("making {}", own.display()))?;
        let copy = own.join("supergraph.graphql");
        fs::copy(composed, &copy).with_context(|| format!("writing {}", copy.display()))?;
        copies.insert(name, copy);
    }
    Ok(copies)
}
