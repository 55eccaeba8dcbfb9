//! Many idle subscribers: what each takes, events to some of them, all of them back at once, readers that are slow.

mod events;
mod slow;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::events::Events;
use crate::bench::{Bench, say};
use crate::live::fleet::{Fleet, Opening};
use crate::plan::{Away, Subscribers};
use crate::population::{self, Members};
use crate::process::{raise_file_limit, resident_bytes};
use crate::raw::echo;
use crate::report::Row;
use crate::schedule::exact;

/// Nothing but what messaging has: each event is forwarded as it is.
const QUERY: &str = "subscription { messageEvents {
    __typename ... on MessageSent { message { id position body } }
} }";
/// Of the files that a process may hold, what is no client's.
const OTHER_FILES: u64 = 800;
/// What a router allows one viewer is 32 sockets.
const SOCKETS_PER_PERSON: u32 = 30;
const SETTLE: Duration = Duration::from_secs(5);
const KIB: f64 = 1_024.0;

/// How many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    sockets: u32,
    streams_per_socket: u32,
    warm_up: u32,
}

pub async fn measure(bench: &mut Bench, name: &str, plan: &Subscribers) -> Result<()> {
    let files = raise_file_limit()?;
    let size = Size::of(plan, files)?;
    let slow = plan.slow_readers.next_multiple_of(2);
    let least = size.sockets.div_ceil(SOCKETS_PER_PERSON).next_multiple_of(2) + slow;
    let everybody = population::members(&bench.handle, least, size.sockets + size.warm_up + slow).await?;
    // An even number, so that each has somebody to write with; and those who read slowly are nobody else.
    let people = (everybody.len() - slow as usize) / 2 * 2;
    let events = Events::prepare(bench, &everybody, people, slow as usize).await?;
    let raw = match plan.raw_sockets {
        0 => None,
        sockets => Some(echo::sockets(bench, sockets).await.context("a bare axum server")?),
    };
    // A heap that has grown has room for subscribers, who would then seem to cost nothing.
    for part in ["api", "router"] {
        bench.restart(part).await.context("starting anew for the subscribers")?;
    }
    let patience = Duration::from_secs(plan.patience_seconds);
    let (url, most) = (&bench.handle.info.ws_url, size.sockets + size.warm_up);
    let mut fleet = Fleet::new(url, &events.members, QUERY, size.streams_per_socket, most, patience)?;
    idle(bench, name, plan, size, &mut fleet, raw).await?;
    let reach = Reach { sockets: most, streams_per_socket: size.streams_per_socket };
    let row = events.wave(bench, name, "events", plan, reach, &fleet).await?;
    bench.add(row);
    for away in &plan.reconnect {
        come_back(bench, name, *away, &mut fleet, most, &events, reach).await?;
    }
    if slow > 0 {
        slow::measure(bench, name, plan, &events, reach, &fleet).await?;
    }
    let lost = fleet.lost();
    fleet.drop_all().await;
    ensure!(
        lost == 0 || plan.reconnect.contains(&Away::Router),
        "{lost} subscribers were let go: {:?}",
        fleet.causes()
    );
    Ok(())
}

/// How far an event goes.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    sockets: u32,
    streams_per_socket: u32,
}

impl Reach {
    /// The streams of one of so many members, when sockets go around.
    fn streams_of(self, member: usize, members: usize) -> u32 {
        let (member, members) = (u32::try_from(member).unwrap_or(0), u32::try_from(members).unwrap_or(1));
        (self.sockets / members + u32::from(member < self.sockets % members)) * self.streams_per_socket
    }
}

impl Size {
    /// As few streams on a socket as the files of one process allow.
    fn of(plan: &Subscribers, files: u64) -> Result<Self> {
        let room = u32::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(u32::MAX);
        let streams_per_socket = match plan.streams_per_socket {
            0 => (plan.count + plan.warm_up).div_ceil(room.max(1)),
            fixed => fixed,
        };
        let sockets = plan.count.div_ceil(streams_per_socket);
        let warm_up = plan.warm_up.div_ceil(streams_per_socket);
        if sockets + warm_up > room || streams_per_socket > 50 {
            bail!(
                "{} subscribers on {streams_per_socket} streams a socket need more than the {files} files that a process \
                 may hold: raise `ulimit -n`, or streams_per_socket",
                plan.count
            );
        }
        Ok(Self { sockets, streams_per_socket, warm_up })
    }

    fn streams(self) -> u64 {
        u64::from(self.sockets) * u64::from(self.streams_per_socket)
    }
}

/// Opens them and says what each takes of each process.
async fn idle(
    bench: &mut Bench,
    name: &str,
    plan: &Subscribers,
    size: Size,
    fleet: &mut Fleet,
    raw: Option<f64>,
) -> Result<()> {
    fleet.open(0..size.warm_up, plan.at_once, bench.left()).await.context("opening the first subscribers")?;
    tokio::time::sleep(SETTLE).await;
    let before = Memory::read(bench)?;
    let all = size.warm_up..size.warm_up + size.sockets;
    say(&format!("{} subscribers on {} sockets", size.streams(), size.sockets));
    let opening = fleet.open(all, plan.at_once, bench.left()).await.context("opening the subscribers")?;
    tokio::time::sleep(SETTLE).await;
    let after = Memory::read(bench)?;
    let shape = format!("{} streams on {} sockets after {}", size.streams(), size.sockets, size.warm_up);
    let row = Row::new(name, "opening").rate(exact(size.streams()) / opening.took.as_secs_f64());
    bench.add(said(row, &opening).note(format!("{} at a time", plan.at_once)));
    for (part, before, after) in before.beside(&after) {
        let each = (after - before) / exact(size.streams());
        let grown = format!("{:.1} to {:.1} MiB", before / KIB / KIB, after / KIB / KIB);
        let mut row =
            Row::new(name, format!("{part}, each idle subscriber")).value(each / KIB, "KiB").note(&shape).note(grown);
        if part == "router"
            && let Some(raw) = raw.filter(|raw| *raw > 0.0)
        {
            let socket = each * exact(u64::from(size.streams_per_socket));
            row = row.note(format!("a socket {:.2} ×", socket / raw)).note("of a bare axum server's");
        }
        bench.add(row);
    }
    if let Some(raw) = raw {
        let note = format!("{} sockets without a stream", plan.raw_sockets);
        bench.add(Row::new(name, "raw: axum, each idle socket").value(raw / KIB, "KiB").note(note));
    }
    Ok(())
}

/// All of them at once, with their cursors; meanwhile something has happened that they must hear of.
async fn come_back(
    bench: &mut Bench,
    name: &str,
    away: Away,
    fleet: &mut Fleet,
    sockets: u32,
    events: &Events,
    reach: Reach,
) -> Result<()> {
    let what = match away {
        Away::Clients => "all clients at once, after a loss of the network",
        Away::Router => "all clients at once, to a router that has just started",
    };
    say(&format!("{name}: {what}"));
    if away == Away::Router {
        bench.restart("router").await.context("starting the router anew")?;
        fleet.wait_until_lost(bench.left()).await?;
    } else {
        fleet.drop_all().await;
    }
    let missed = events.missed(bench, reach).await?;
    fleet.listen_for(Some(missed.clone()));
    let before = bench.used().await;
    let started = Instant::now();
    let opening = fleet.open(0..sockets, sockets, bench.left()).await.context("coming back")?;
    let streams = u64::from(sockets) * u64::from(reach.streams_per_socket);
    let uses = before.until(&bench.used().await, streams);
    events::wait_for(&missed).await;
    fleet.listen_for(None);
    let heard = missed.heard();
    let mut row = Row::new(name, what).rate(exact(streams) / opening.took.as_secs_f64()).uses(uses);
    row.errors = Some(heard.missing + heard.twice);
    let row = row.value(opening.took.as_secs_f64(), "s until all stand").note(format!(
        "of {} events while they were away {} are missing and {} came twice",
        heard.deliveries + heard.missing,
        heard.missing,
        heard.twice
    ));
    bench.add(said(row, &opening));
    say(&format!("{name}: back after {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// How an opening went.
fn said(row: Row, opening: &Opening) -> Row {
    let again = format!("{} tries again, {} let go meanwhile", opening.retried, opening.lost);
    let row = row.latencies(&opening.latencies).note(again);
    match opening.causes.iter().max_by_key(|(_, count)| **count) {
        Some((cause, count)) => row.note(format!("{count} × {cause}")),
        None => row,
    }
}

/// Resident bytes of the processes that hold subscribers, this one among them.
struct Memory(Vec<(&'static str, f64)>);

impl Memory {
    fn read(bench: &Bench) -> Result<Self> {
        let of = |name: &'static str| {
            let pid = if name == "client" { Some(std::process::id()) } else { bench.pids.get(name).copied() };
            let bytes = pid.and_then(resident_bytes).with_context(|| format!("reading the memory of {name}"))?;
            Ok((name, bytes))
        };
        ["router", "api", "client"].into_iter().map(of).collect::<Result<_>>().map(Self)
    }

    fn beside(&self, later: &Self) -> Vec<(&'static str, f64, f64)> {
        let pairs = self.0.iter().zip(&later.0);
        pairs.map(|((name, before), (_, after))| (*name, *before, *after)).collect()
    }
}

/// Those who are connected.
fn first(everybody: &Members, count: usize) -> Members {
    let member =
        |member: &population::Member| population::Member { id: member.id.clone(), token: member.token.clone() };
    everybody.iter().take(count).map(member).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(count: u32, streams_per_socket: u32) -> Subscribers {
        Subscribers {
            count,
            streams_per_socket,
            warm_up: 100,
            at_once: 8,
            share_per_second: 0.01,
            seconds: 1,
            reconnect: Vec::new(),
            patience_seconds: 1,
            slow_readers: 0,
            slow_bytes_per_second: 1_024,
            slow_events_per_second: 1.0,
            raw_sockets: 0,
        }
    }

    #[test]
    fn a_socket_has_one_stream_where_files_suffice_and_no_more_than_needed_where_not() {
        let size = |count, fixed, files| {
            Size::of(&plan(count, fixed), files).map(|size| (size.sockets, size.streams_per_socket))
        };
        assert_eq!(size(100_000, 0, 1_000_000).unwrap(), (100_000, 1));
        assert_eq!(size(100_000, 0, 20_000).unwrap(), (16_667, 6));
        assert_eq!(size(100_000, 10, 20_000).unwrap(), (10_000, 10));
        assert!(size(100_000, 1, 20_000).is_err() && size(100_000, 0, 900).is_err());
    }

    #[test]
    fn sockets_go_around_among_members() {
        let reach = Reach { sockets: 7, streams_per_socket: 2 };
        assert_eq!([0, 1, 2].map(|member| reach.streams_of(member, 3)), [6, 4, 4]);
    }
}
