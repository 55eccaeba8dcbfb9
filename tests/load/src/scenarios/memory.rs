//! Resident memory of each process, and what an idle live client adds to it.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::arguments::{SOCKETS_PER_PERSON, Scenario};
use crate::bench::{Bench, say};
use crate::live::fleet::Fleet;
use crate::people::People;
use crate::population::{Member, Members};
use crate::process::{raise_file_limit, resident_bytes, shared_bytes};
use crate::report::Row;
use crate::schedule::exact;

const MATCHES: &str = "subscription { matchEvents {
    __typename
    ... on MatchCreated { match { id with { id displayName } conversation { id open } } }
    ... on MatchEnded { matchId }
} }";
const AT_ONCE: u32 = 16;
const PATIENCE: Duration = Duration::from_secs(15);
const OPEN_WITHIN: Duration = Duration::from_mins(10);
const MIB: f64 = 1_048_576.0;
const KIB: f64 = 1_024.0;
/// After the last socket was opened: buffers of handshakes are given back.
const SETTLE: Duration = Duration::from_secs(3);
/// Of the files that a process may hold; a socket takes one here and one in the router.
const OTHER_FILES: u64 = 500;

/// A row for each process of the stack.
pub fn note_resident(bench: &mut Bench, when: &str) {
    if !bench.arguments.wants(Scenario::Memory) {
        return;
    }
    let ours = ("velvet-load".to_owned(), std::process::id());
    let all: Vec<(String, u32)> = bench.pids.clone().into_iter().chain([ours]).collect();
    for (name, pid) in all {
        let scenario = format!("memory {when}");
        // PostgreSQL is many processes over one piece of shared memory.
        let family = name.starts_with("postgres") || name.starts_with("replica");
        let row = if family {
            shared_bytes(pid).map(|(bytes, count)| {
                Row::new(&scenario, &name).value(bytes / MIB, "MiB").note(format!("Pss of {count} processes"))
            })
        } else {
            resident_bytes(pid).map(|bytes| Row::new(&scenario, &name).value(bytes / MIB, "MiB"))
        };
        if let Some(row) = row {
            bench.add(row);
        }
    }
}

pub async fn measure(bench: &mut Bench, people: &People) -> Result<()> {
    note_resident(bench, "after the load");
    let files = raise_file_limit()?;
    let first = bench.arguments.clients_to_warm_up();
    let count = bench.arguments.clients;
    if u64::from(first + count) + OTHER_FILES > files {
        bail!(
            "{count} clients need more than the {files} files that a process may hold: raise `ulimit -n`, or pass --clients"
        );
    }
    let member = |token: &str| Member { id: String::new(), token: token.to_owned() };
    let tokens: Members =
        people.all.iter().filter_map(|person| person.client.token().map(member)).collect::<Vec<_>>().into();
    if tokens.len() * (SOCKETS_PER_PERSON as usize) < (first + count) as usize {
        bail!("too few people for {count} clients");
    }
    // A heap that has grown under load has room for clients, who would then seem to cost nothing.
    for name in ["api", "router"] {
        bench.restart(name).await.context("starting anew for the idle clients")?;
    }
    let mut fleet = Fleet::new(&bench.handle.info.ws_url, &tokens, MATCHES, 1, first + count, PATIENCE)?;
    let before = fleet.open(0..first, AT_ONCE, OPEN_WITHIN).await.context("opening the first clients")?.retried;
    tokio::time::sleep(SETTLE).await;
    let start = Memory::read(bench)?;
    say(&format!("{count} clients subscribe"));
    let opening = fleet.open(first..first + count, AT_ONCE, OPEN_WITHIN).await.context("opening idle clients")?;
    tokio::time::sleep(SETTLE).await;
    let after = Memory::read(bench)?;
    let (lost, retried) = (fleet.lost(), before + opening.retried);
    fleet.drop_all().await;
    let note = format!(
        "{count} clients after {first}, each a socket with one idle matchEvents, processes fresh; {lost} lost, {retried} refused at first"
    );
    for (name, before, after) in [("router", start.router, after.router), ("API", start.api, after.api)] {
        let each = (after - before) / exact(u64::from(count));
        let grown = format!("{:.1} to {:.1} MiB", before / MIB, after / MIB);
        bench.add(Row::new("idle live client", name).value(each / KIB, "KiB").note(&note).note(grown));
    }
    if lost > 0 {
        bail!("{lost} of {count} idle clients lost their socket");
    }
    Ok(())
}

struct Memory {
    router: f64,
    api: f64,
}

impl Memory {
    fn read(bench: &Bench) -> Result<Self> {
        let of = |name: &str| {
            let pid = bench.pids.get(name).copied();
            pid.and_then(resident_bytes).with_context(|| format!("reading the memory of {name}"))
        };
        Ok(Self { router: of("router")?, api: of("api")? })
    }
}
