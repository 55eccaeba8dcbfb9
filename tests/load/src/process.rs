//! What the kernel says of the machine and of processes, under `/proc`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use anyhow::Result;
use serde::Serialize;
use velvet_kit::Handle;

use crate::schedule::exact;

/// Linux counts processor time in hundredths of a second, whatever its own clock does.
const TICK_US: f64 = 10_000.0;
const KIB: f64 = 1_024.0;

/// Where a run took place; numbers of different machines do not compare.
#[derive(Debug, Default, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_mib: f64,
    pub kernel: String,
    pub load_before: String,
    pub profile: &'static str,
}

impl Machine {
    pub fn read() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = field(&file("/proc/meminfo"), "MemTotal");
        let kib: f64 = memory.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or_default();
        Self {
            processor: field(&file("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib / KIB,
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: file("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            profile: if cfg!(debug_assertions) { "debug: these numbers mean nothing" } else { "release" },
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} · {} cores · {:.0} MiB · Linux {} · load before {} · {}",
            self.processor, self.cores, self.memory_mib, self.kernel, self.load_before, self.profile
        )
    }
}

/// Processor time in microseconds that a process has used so far, user and system; none when it is gone.
pub fn cpu_us(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks_of(&stat).map(|ticks| exact(ticks) * TICK_US)
}

/// Fields 14 and 15 of `/proc/<pid>/stat`, the 12th and 13th after the name.
fn ticks_of(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Resident memory in bytes: `VmRSS`.
pub fn resident_bytes(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib_of(&status, "VmRSS:").map(|kib| kib * KIB)
}

/// Resident memory in bytes of a process and its children, shared pages counted once: `Pss`; and how many they are.
pub fn shared_bytes(pid: u32) -> Option<(f64, usize)> {
    let family = family_of(pid);
    let of = |pid: &u32| kib_of(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:");
    let parts: Vec<f64> = family.iter().filter_map(of).collect();
    (!parts.is_empty()).then(|| (parts.iter().sum::<f64>() * KIB, parts.len()))
}

fn kib_of(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// A process and its children.
pub fn family_of(pid: u32) -> Vec<u32> {
    children(pid).into_iter().chain([pid]).collect()
}

fn children(parent: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        of == Some(parent)
    })
    .collect()
}

/// The processes of a stack, by name; those that somebody else runs are not among them.
pub async fn of_stack(handle: &Handle) -> BTreeMap<String, u32> {
    let info = &handle.info;
    let mut names: Vec<String> = ["router", "api", "writer", "kafka"].map(str::to_owned).to_vec();
    names.extend((0..info.redis_urls.len()).map(|index| format!("redis-{index}")));
    for (index, server) in info.postgres.iter().enumerate() {
        names.push(format!("postgres-{index}"));
        names.extend(server.replica_url.is_some().then(|| format!("replica-{index}")));
    }
    let mut pids = BTreeMap::new();
    for name in names {
        if let Ok(Some(pid)) = handle.part(&name).pid().await {
            pids.insert(name, pid);
        }
    }
    pids
}

/// Lets this process hold as many files as it may.
pub fn raise_file_limit() -> Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 9 0 1234 1 1";
        assert_eq!(ticks_of(stat), Some(175));
    }

    #[test]
    fn this_process_is_resident() {
        assert!(resident_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000.0));
        assert!(cpu_us(std::process::id()).is_some());
        assert_eq!(resident_bytes(u32::MAX), None);
    }
}
