//! Ports on loopback: the well-known ones of development, or free ones for tests.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};

use crate::options::{RedisLayout, StackOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// The defaults below, each movable by its variable.
    Fixed,
    /// Any that are free now.
    Free,
}

/// The ports of a router, an API and a writer beside the first of each.
#[derive(Debug, Clone)]
pub struct Copy {
    pub router: u16,
    pub router_health: u16,
    pub router_metrics: u16,
    pub api: u16,
    pub writer: u16,
}

#[derive(Debug, Clone)]
pub struct Ports {
    pub router: u16,
    pub router_health: u16,
    pub router_metrics: u16,
    pub api: u16,
    pub writer: u16,
    pub collector: u16,
    pub kafka: u16,
    pub kafka_controller: u16,
    /// Brokers beside the first: their port, and their controller's.
    pub more_brokers: Vec<(u16, u16)>,
    /// Of each broker, one for each API and writer that reaches it over a link.
    pub kafka_links: Vec<Vec<u16>>,
    pub copies: Vec<Copy>,
    /// Before the APIs, when there are several.
    pub balancer: u16,
    /// Of a cluster with replicas, the masters first.
    pub redis: Vec<u16>,
    /// Where the members of a cluster speak to each other.
    pub redis_bus: Vec<u16>,
    pub postgres: Vec<u16>,
    pub replicas: Vec<u16>,
}

/// Below the range from which the kernel takes ports for outgoing connections.
const FREE_RANGE: std::ops::Range<u16> = 20_000..32_000;
/// Far more than are ever in use on a machine that works.
const FREE_TRIES: usize = 2_000;
/// The distance that Redis itself uses.
const BUS_OFFSET: u16 = 10_000;

impl Ports {
    pub fn choose(options: &StackOptions, read: impl Fn(&str) -> Option<String>) -> Result<Self> {
        match options.ports {
            PortChoice::Fixed => Self::fixed(options, read),
            PortChoice::Free => Self::free(options),
        }
    }

    fn fixed(options: &StackOptions, read: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let port = |variable: &str, default: u16| match read(variable) {
            None => Ok(default),
            Some(text) => text
                .parse::<u16>()
                .ok()
                .filter(|port| *port != 0)
                .with_context(|| format!("{variable} is {text:?}, which is not a port")),
        };
        let row = |first: u16, step: u16, count: usize| -> Result<Vec<u16>> {
            (0..u16::try_from(count)?)
                .map(|i| first.checked_add(i * step).with_context(|| format!("port {first} leaves no room above it")))
                .collect()
        };
        if options.copies > 1 || options.brokers > 1 || options.redis_replicas {
            bail!("a stack with more than one of each takes free ports");
        }
        let redis = row(port("VELVET_REDIS_PORT", 17_001)?, 1, options.redis.servers())?;
        let bus = port("VELVET_REDIS_BUS_PORT", redis[0].checked_add(BUS_OFFSET).unwrap_or(17_101))?;
        let postgres = port("VELVET_POSTGRES_PORT", 55_432)?;
        let replica = port("VELVET_POSTGRES_REPLICA_PORT", postgres.saturating_add(1))?;
        Ok(Self {
            router: port("VELVET_ROUTER_PORT", 4_000)?,
            router_health: port("VELVET_ROUTER_HEALTH_PORT", 4_001)?,
            router_metrics: port("VELVET_ROUTER_METRICS_PORT", 4_002)?,
            api: port("VELVET_API_PORT", 4_100)?,
            writer: port("VELVET_WRITER_PORT", 4_200)?,
            collector: port("VELVET_COLLECTOR_PORT", 4_318)?,
            kafka: port("VELVET_KAFKA_PORT", 19_092)?,
            kafka_controller: port("VELVET_KAFKA_CONTROLLER_PORT", 19_093)?,
            more_brokers: Vec::new(),
            kafka_links: Vec::new(),
            copies: Vec::new(),
            balancer: 0,
            redis_bus: row(bus, 1, redis.len())?,
            redis,
            postgres: row(postgres, 2, options.primaries)?,
            replicas: row(replica, 2, options.primaries)?,
        })
    }

    fn free(options: &StackOptions) -> Result<Self> {
        let mut taken = BTreeSet::new();
        let linked = if options.faults { options.brokers } else { 0 };
        let mut one = || -> Result<u16> {
            (0..FREE_TRIES)
                .map(|_| rand::random_range(FREE_RANGE))
                .find(|port| bindable(*port) && taken.insert(*port))
                .context("no free port on loopback")
        };
        let mut row = |count: usize| (0..count).map(|_| one()).collect::<Result<Vec<_>>>();
        Ok(Self {
            redis: row(options.redis_servers())?,
            redis_bus: row(options.redis_servers())?,
            postgres: row(options.primaries)?,
            replicas: row(options.primaries)?,
            router: row(1)?[0],
            router_health: row(1)?[0],
            router_metrics: row(1)?[0],
            api: row(1)?[0],
            writer: row(1)?[0],
            collector: row(1)?[0],
            kafka: row(1)?[0],
            kafka_controller: row(1)?[0],
            more_brokers: (1..options.brokers).map(|_| Ok((row(1)?[0], row(1)?[0]))).collect::<Result<_>>()?,
            kafka_links: (0..linked).map(|_| row(2 * options.copies)).collect::<Result<_>>()?,
            copies: (1..options.copies).map(|_| Copy::of(&row(5)?)).collect::<Result<_>>()?,
            balancer: row(1)?[0],
        })
    }

    /// Fails on the first port that is needed and taken, and says which variable moves it.
    pub fn check(&self, options: &StackOptions) -> Result<()> {
        for (port, what, variable) in self.needed(options) {
            if !bindable(port) {
                bail!(
                    "port {port} on 127.0.0.1, wanted for {what}, is taken by another program: \
                     stop that program, or set {variable} to a free port"
                );
            }
        }
        Ok(())
    }

    fn needed(&self, options: &StackOptions) -> Vec<(u16, &'static str, &'static str)> {
        let mut needed = Vec::new();
        if !options.servers_only {
            needed.push((self.router, "the router", "VELVET_ROUTER_PORT"));
            needed.push((self.router_health, "the router's health", "VELVET_ROUTER_HEALTH_PORT"));
            needed.push((self.router_metrics, "the router's metrics", "VELVET_ROUTER_METRICS_PORT"));
            needed.push((self.api, "the API", "VELVET_API_PORT"));
            needed.push((self.writer, "the writer", "VELVET_WRITER_PORT"));
        }
        if options.external.kafka.is_none() {
            needed.push((self.kafka, "Kafka", "VELVET_KAFKA_PORT"));
            needed.push((self.kafka_controller, "Kafka's controller", "VELVET_KAFKA_CONTROLLER_PORT"));
        }
        if options.external.redis.is_none() {
            needed.extend(self.redis.iter().map(|port| (*port, "Redis", "VELVET_REDIS_PORT")));
            if options.redis == RedisLayout::Cluster {
                needed
                    .extend(self.redis_bus.iter().map(|port| (*port, "Redis's cluster bus", "VELVET_REDIS_BUS_PORT")));
            }
        }
        if options.external.postgres.is_none() {
            needed.extend(self.postgres.iter().map(|port| (*port, "PostgreSQL", "VELVET_POSTGRES_PORT")));
            needed.extend(
                self.replicas.iter().map(|port| (*port, "PostgreSQL's replica", "VELVET_POSTGRES_REPLICA_PORT")),
            );
        }
        needed
    }
}

impl Copy {
    fn of(ports: &[u16]) -> Result<Self> {
        let [router, router_health, router_metrics, api, writer] = *ports else { bail!("a copy takes five ports") };
        Ok(Self { router, router_health, router_metrics, api, writer })
    }
}

fn bindable(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
