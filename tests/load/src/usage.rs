//! What the processes of a stack use for each request: processor time, and bytes over their connections.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::process::{cpu_us, family_of};
use crate::report::short;
use crate::schedule::exact;

/// The processes that are shown, in this order; several of one kind count together.
pub const GROUPS: [&str; 7] = ["load", "router", "api", "writer", "kafka", "redis", "postgres"];
/// `ss` looks at each file of each process once.
const SOCKETS_WITHIN: Duration = Duration::from_secs(10);

/// What was used until one moment, by group.
#[derive(Debug, Clone, Default)]
pub struct Used(BTreeMap<&'static str, Share>);

/// What was used for one request, by group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uses(BTreeMap<String, Share>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    pub cpu_us: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<f64>,
}

impl Used {
    pub async fn read(pids: &BTreeMap<String, u32>) -> Self {
        let mut members: BTreeMap<u32, &'static str> = BTreeMap::from([(std::process::id(), "load")]);
        for (name, pid) in pids {
            let Some(group) = group_of(name) else { continue };
            let family = if group == "postgres" { family_of(*pid) } else { vec![*pid] };
            members.extend(family.into_iter().map(|pid| (pid, group)));
        }
        let mut used = BTreeMap::new();
        for (pid, group) in &members {
            let share: &mut Share = used.entry(*group).or_default();
            share.cpu_us += cpu_us(*pid).unwrap_or_default();
        }
        for (pid, received, sent) in traffic().await {
            if let Some(share) = members.get(&pid).and_then(|group| used.get_mut(group)) {
                *share.received_bytes.get_or_insert(0.0) += received;
                *share.sent_bytes.get_or_insert(0.0) += sent;
            }
        }
        Self(used)
    }

    /// What was used from then on, for each of `count` requests. Bytes are those of connections that stood at both moments.
    pub fn until(&self, later: &Self, count: u64) -> Uses {
        let count = exact(count.max(1));
        let per = |before: f64, after: f64| (after - before).max(0.0) / count;
        // Fewer than before: connections have ended, and with them what was known of them.
        let bytes =
            |before: Option<f64>, after: Option<f64>| Some(per(before?, after.filter(|after| Some(*after) >= before)?));
        let share = |(group, after): (&&'static str, &Share)| {
            let before = self.0.get(group)?;
            let share = Share {
                cpu_us: per(before.cpu_us, after.cpu_us),
                received_bytes: bytes(before.received_bytes, after.received_bytes),
                sent_bytes: bytes(before.sent_bytes, after.sent_bytes),
            };
            Some(((*group).to_owned(), share))
        };
        Uses(later.0.iter().filter_map(share).collect())
    }
}

impl Uses {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn of(&self, group: &str) -> Option<Share> {
        self.0.get(group).copied()
    }

    pub fn cpu_us(&self, group: &str) -> Option<f64> {
        self.of(group).map(|share| share.cpu_us)
    }

    #[must_use]
    pub fn without(mut self, group: &str) -> Self {
        self.0.remove(group);
        self
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", short(self.cpu_us))?;
        match (self.received_bytes, self.sent_bytes) {
            (Some(received), Some(sent)) => write!(f, "; {received:.0}, {sent:.0}"),
            _ => Ok(()),
        }
    }
}

fn group_of(name: &str) -> Option<&'static str> {
    let kind = name.split('-').next()?;
    let kind = if kind == "replica" { "postgres" } else { kind };
    GROUPS.into_iter().find(|group| *group == kind)
}

/// What went over each process' open connections so far: process, received, sent. Nothing without `ss`.
async fn traffic() -> Vec<(u32, f64, f64)> {
    let listed = Command::new("ss").args(["-tinpOH"]).kill_on_drop(true).output();
    match tokio::time::timeout(SOCKETS_WITHIN, listed).await {
        Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).lines().filter_map(connection).collect(),
        _ => Vec::new(),
    }
}

/// One connection of `ss`: the kernel counts its bytes.
fn connection(line: &str) -> Option<(u32, f64, f64)> {
    let digits = |name: &str| {
        let rest = line.split(name).nth(1)?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<f64>().ok()
    };
    let pid = line.split("pid=").nth(1)?.split(',').next()?.parse().ok()?;
    Some((pid, digits(" bytes_received:").unwrap_or_default(), digits(" bytes_sent:").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_read_with_its_process_and_bytes() {
        let line = "ESTAB 0 0 127.0.0.1:5000 127.0.0.1:6000 users:((\"velvet\",pid=42,fd=9)) cubic rto:200 \
            bytes_sent:1200 bytes_acked:1201 bytes_received:3400 segs_out:7";
        assert_eq!(connection(line), Some((42, 3_400.0, 1_200.0)));
        assert_eq!(connection("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2"), None, "nobody's");
    }

    #[test]
    fn servers_of_one_kind_count_together() {
        assert_eq!(
            ["redis-2", "replica-0", "api", "balancer"].map(group_of),
            [Some("redis"), Some("postgres"), Some("api"), None]
        );
    }

    #[test]
    fn what_was_used_is_divided_by_the_requests() {
        let at = |cpu_us, bytes| {
            let share = Share { cpu_us, received_bytes: Some(bytes), sent_bytes: None };
            Used(BTreeMap::from([("api", share)]))
        };
        let uses = at(1_000.0, 50.0).until(&at(3_000.0, 250.0), 100);
        assert_eq!(uses.of("api"), Some(Share { cpu_us: 20.0, received_bytes: Some(2.0), sent_bytes: None }));
        assert!(uses.without("api").is_empty());
    }
}
