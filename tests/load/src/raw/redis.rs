//! `redis-benchmark` with commands like those of a folded message.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Command;
use velvet_kit::StackInfo;
use velvet_kit::servers::redis::open_url;
use velvet_kit::servers::{find_program, run};

const WITHIN: Duration = Duration::from_secs(20);
const REQUESTS: u32 = 100_000;
const CLIENTS: u32 = 12;
/// The projector sends a batch's calls as one pipeline.
const PIPELINE: u32 = 32;
/// A view's entry by version; an inbox's entry: what each message costs once and twice.
const VIEW: &str = "local old = redis.call('HGET', KEYS[1], 'v')
if old and tonumber(old) > 1 then return 0 end
redis.call('HSET', KEYS[1], 'v', '1', 'b', ARGV[1])
return 1";
const INBOX: &str = "redis.call('XADD', KEYS[1], 'MAXLEN', '~', '1000', '*', 'e', ARGV[1])
redis.call('SPUBLISH', KEYS[1], ARGV[1])
return 1";

/// What is measured: a name, the command. The scripts are known to all masters afterwards, as the kernel's are.
pub async fn commands(info: &StackInfo) -> Result<Vec<(&'static str, Vec<String>)>> {
    let payload = "x".repeat(200);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let view = load(info, VIEW).await?;
    let inbox = load(info, INBOX).await?;
    Ok(vec![
        ("HSET", words(&["HSET", "bench:{tag}:__rand_int__", "b", &payload])),
        ("script of a view's entry", words(&["EVALSHA", &view, "1", "bench:view:{tag}:__rand_int__", &payload])),
        ("script of an inbox's entry", words(&["EVALSHA", &inbox, "1", "bench:inbox:{tag}:__rand_int__", &payload])),
    ])
}

async fn load(info: &StackInfo, script: &str) -> Result<String> {
    let mut digest = String::new();
    for url in &info.redis_urls {
        let mut connection = open_url(url).await?;
        let loaded = redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut connection).await;
        digest = loaded.with_context(|| format!("loading a script into {url}"))?;
    }
    Ok(digest)
}

/// Calls per second over all masters together.
pub async fn measure(info: &StackInfo, command: &[String]) -> Result<f64> {
    let program = find_program("redis-benchmark", &[]).context("redis-benchmark is not installed (redis-tools)")?;
    let url = info.redis_urls.first().context("the stack has no Redis")?;
    let url = reqwest::Url::parse(url).context("reading Redis' address")?;
    let mut benchmark = Command::new(program);
    benchmark.args(["-h", url.host_str().unwrap_or("127.0.0.1"), "-p", &url.port().unwrap_or(6379).to_string()]);
    benchmark.args(["-n", &REQUESTS.to_string(), "-c", &CLIENTS.to_string(), "-P", &PIPELINE.to_string()]);
    benchmark.args(["-r", "1000", "--csv"]);
    if info.redis_urls.len() > 1 {
        benchmark.arg("--cluster");
    }
    benchmark.args(command);
    let printed = run(&mut benchmark, None, WITHIN).await?;
    rate_of(&printed).with_context(|| format!("redis-benchmark said: {printed}"))
}

/// The second column of the last line, counted from its end: the first one is the command and may hold anything.
fn rate_of(csv: &str) -> Option<f64> {
    const BETWEEN: &str = "\",\"";
    let columns = csv.lines().find(|line| line.starts_with("\"test\""))?.split(BETWEEN).count();
    let last = csv.trim_end().lines().next_back()?;
    last.rsplit(BETWEEN).nth(columns.checked_sub(2)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_the_last_line() {
        let csv = "3 masters\n\"test\",\"rps\",\"avg\",\"p99\"\n\"EVAL \nx('a','b')\",\"12345.67\",\"0.1\",\"0.2\"\n\n";
        assert_eq!(rate_of(csv), Some(12_345.67));
        assert_eq!(rate_of("ERR unknown"), None);
    }
}
