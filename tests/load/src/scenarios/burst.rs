//! A burst of facts that the projector folds and the writer stores, one after the other.
//!
//! The writer and the API stand still while messages are appended straight to messaging's intake, as
//! the API would append them. Then the API alone goes on until all are folded, then the writer until
//! all rows are there: each has the machine to itself, but for the servers that it needs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use velvet_kit::{Handle, until};

use crate::arguments::Scenario;
use crate::bench::{Bench, counter, say};
use crate::people::{Pair, People};
use crate::raw::kafka::{Kafka, Record, partition_of, per_second};
use crate::raw::{copy, insert, redis};
use crate::report::Row;
use crate::schedule::exact;
use crate::shards::{SHARDS, schema, schemas_of, server_of};

const INTAKE: &str = "messaging.intake";
const FOLDED_WITHIN: Duration = Duration::from_mins(1);
/// Before the burst all that earlier scenarios have left must be done.
const QUIET_WITHIN: Duration = Duration::from_secs(30);
/// PostgreSQL is asked this often whether all rows are there; the kit ends a query after a minute.
const LOOK_EVERY_MS: u64 = 20;
const STORED_WITHIN_MS: u64 = 50_000;
const TEXT: &str = "I have two tickets for the concert on Friday and would love to go there with you. Shall we?";

/// The writer needs a folded burst, so both are one piece of work; what was not asked for is not shown.
pub async fn measure(bench: &mut Bench, people: &People) -> Result<()> {
    let kafka = Kafka::connect(&bench.handle.info.kafka_brokers)?;
    let partitions = kafka.partitions(INTAKE)?;
    let records = facts(bench, &people.pairs);
    if bench.arguments.wants(Scenario::Projector) {
        raw(bench, &kafka, partitions, &records).await?;
    }
    let stored = Stored::of(&bench.handle, &people.pairs)?;
    quiet(bench, &people.pairs, &stored).await?;
    bench.handle.writer().pause().await?;
    let folded = project(bench, &kafka, partitions, &records).await;
    let written = match &folded {
        Ok(_) => store(bench, &people.pairs, &stored).await,
        Err(_) => Ok(None),
    };
    resume_all(&bench.handle).await;
    let (row, written) = (folded?, written?);
    if bench.arguments.wants(Scenario::Projector) {
        bench.add(row);
    }
    if let Some(row) = written.filter(|_| bench.arguments.wants(Scenario::Writer)) {
        copy_rows(bench, row).await?;
    }
    Ok(())
}

/// Whatever became of a measurement: nothing stays frozen.
pub async fn resume_all(handle: &Handle) {
    for part in [handle.api(), handle.writer()] {
        if let Err(cause) = part.resume().await {
            say(&format!("could not resume a process: {cause:#}"));
        }
    }
}

/// Messages of the first members, spread over all conversations.
fn facts(bench: &Bench, pairs: &[Pair]) -> Vec<Record> {
    let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let fact = |index: u32| {
        let pair = &pairs[index as usize % pairs.len()];
        let client_id = format!("{}-burst-{index}", bench.run);
        let data = json!({ "type": "sent", "sender": pair.members[0].id, "client_id": client_id, "body": TEXT });
        Record {
            id: uuid::Uuid::new_v4().to_string(),
            kind: "messaging.fact.sent",
            key: pair.conversation.clone(),
            time: time.clone(),
            data: data.to_string(),
        }
    };
    (0..bench.arguments.burst).map(fact).collect()
}

async fn raw(bench: &mut Bench, kafka: &Kafka, partitions: i32, records: &[Record]) -> Result<()> {
    let topic = format!("velvet-load.{}", bench.run);
    let raw = kafka.raw(&topic, partitions, records).await?;
    let note = "the same records, a topic of its own, all in-sync replicas";
    bench.add(Row::new("projector", "raw: Kafka append").rate(raw.appended).note(note));
    bench.add(Row::new("projector", "raw: Kafka read").rate(raw.read));
    let note = "ProducerPerformance, as many records as large";
    bench.add(Row::new("projector", "raw: Kafka's own producer test").rate(raw.tested).note(note));
    for (what, command) in redis::commands(&bench.handle.info).await? {
        let rate = redis::measure(&bench.handle.info, &command).await?;
        bench.add(
            Row::new("projector", format!("raw: Redis {what}")).rate(rate).note("redis-benchmark, pipelines of 32"),
        );
    }
    Ok(())
}

/// Waits until the views and the rows are level.
async fn quiet(bench: &Bench, pairs: &[Pair], stored: &Stored) -> Result<()> {
    until("the writer has caught up", QUIET_WITHIN, || async {
        let (seen, rows) = (last_positions(pairs).await?, stored.positions(&bench.handle).await?);
        if seen == rows { Ok(()) } else { bail!("{rows} of {seen} messages are stored") }
    })
    .await
}

async fn project(bench: &Bench, kafka: &Kafka, partitions: i32, records: &[Record]) -> Result<Row> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().context("making an HTTP client")?;
    let url = format!("{}/metrics", bench.handle.info.api_url);
    let base = folded(&http, &url).await?;
    let api = bench.handle.api();
    api.pause().await?;
    let appended = kafka.append(INTAKE, partitions, records).await;
    let before = bench.used().await;
    let started = Instant::now();
    api.resume().await?;
    appended?;
    let target = base + exact(records.len() as u64);
    until("the burst is folded", FOLDED_WITHIN, || async {
        let now = folded(&http, &url).await?;
        if now >= target { Ok(()) } else { bail!("{} of {} facts are folded", now - base, records.len()) }
    })
    .await?;
    let rate = per_second(records.len(), started.elapsed().as_secs_f64());
    let uses = before.until(&bench.used().await, records.len() as u64);
    let append = bench.report.rows.iter().find(|row| row.what == "raw: Kafka append");
    let raw = append.and_then(|row| row.rate_per_second);
    let row = Row::new("projector", "messages folded").rate(rate).beside(raw).uses(uses);
    Ok(row.note(format!(
        "{} facts, writer paused; each a view, two inboxes, a decided event; of Kafka's append",
        records.len()
    )))
}

/// Facts that messaging has folded since it started.
async fn folded(http: &reqwest::Client, url: &str) -> Result<f64> {
    let text = http.get(url).send().await.context("reading metrics")?.text().await.context("reading metrics")?;
    Ok(counter(&text, "velvet_project_facts_total", "domain=\"messaging\""))
}

/// Lets the writer go on, until it has stored all; none when there was nothing to store.
async fn store(bench: &Bench, pairs: &[Pair], stored: &Stored) -> Result<Option<Row>> {
    let wanted = last_positions(pairs).await?;
    let missing = wanted.saturating_sub(stored.positions(&bench.handle).await?);
    if missing == 0 {
        return Ok(None);
    }
    let targets = targets(pairs).await?;
    let pid = bench.pids.get("writer").copied();
    let cpu = || pid.and_then(crate::process::cpu_us);
    let before = cpu();
    let started = Instant::now();
    bench.handle.writer().resume().await?;
    stored.wait(&bench.handle, &targets).await?;
    let rate = exact(missing) / started.elapsed().as_secs_f64();
    let used = before.zip(cpu()).map(|(before, after)| (after - before) / exact(missing));
    let used = used.map(|us| format!("; writer cpu {us:.0} µs a row")).unwrap_or_default();
    let note = format!("{missing} rows, from its release to the last row{used}");
    Ok(Some(Row::new("writer", "messages stored").rate(rate).note(note)))
}

async fn copy_rows(bench: &mut Bench, row: Row) -> Result<()> {
    let info = &bench.handle.info;
    let shards = schemas_of(0, info.postgres.len());
    let folder = info.state.clone();
    let database = bench.handle.database(0)?;
    let copied =
        copy::measure(&database, &folder.join("velvet-load.copy"), &shards, u64::from(bench.arguments.burst)).await?;
    let raw = exact(copied.rows) / copied.took.as_secs_f64().max(1e-9);
    let note = format!("{} of the same rows by \\copy, one transaction, same keys and indexes", copied.rows);
    bench.add(Row::new("writer", "raw: COPY").rate(raw).note(note));
    let inserted = insert::measure(&database, &folder, &shards, u64::from(bench.arguments.burst)).await?;
    let raw = exact(inserted.rows) / inserted.took.as_secs_f64().max(1e-9);
    let note = format!("{} of the same rows by INSERT of 1,000 each, all shards side by side", inserted.rows);
    bench.add(Row::new("writer", "raw: INSERT").rate(raw).note(note));
    bench.add(row.beside(Some(raw)));
    Ok(())
}

/// The last position of each conversation, as the graph says it.
async fn targets(pairs: &[Pair]) -> Result<BTreeMap<String, u64>> {
    const LAST: &str = "query($id: ID!) { conversation(id: $id) { lastMessage { position } } }";
    let mut positions = BTreeMap::new();
    for pair in pairs {
        let data = pair.members[0].ask(LAST, json!({ "id": pair.conversation })).await?;
        let position = data["conversation"]["lastMessage"]["position"].as_u64().unwrap_or_default();
        positions.insert(pair.conversation.clone(), position);
    }
    Ok(positions)
}

async fn last_positions(pairs: &[Pair]) -> Result<u64> {
    Ok(targets(pairs).await?.values().sum())
}

/// Where the rows of the conversations are: a query for each server, of the sum of the last positions.
struct Stored {
    conversations: Vec<Vec<String>>,
}

impl Stored {
    fn of(handle: &Handle, pairs: &[Pair]) -> Result<Self> {
        let servers = handle.info.postgres.len();
        if servers == 0 {
            bail!("the stack has no PostgreSQL");
        }
        let mut conversations = vec![Vec::new(); servers];
        for pair in pairs {
            let server = server_of(partition_of(&pair.conversation, SHARDS), servers);
            conversations[server].push(pair.conversation.clone());
        }
        Ok(Self { conversations })
    }

    /// The sum over all conversations; positions have no gaps, so it is the number of messages.
    async fn positions(&self, handle: &Handle) -> Result<u64> {
        let mut sum = 0;
        for (server, conversations) in self.conversations.iter().enumerate().filter(|(_, some)| !some.is_empty()) {
            let value = handle.database(server)?.value(&sum_of(conversations)).await?;
            sum += value.as_u64().unwrap_or_default();
        }
        Ok(sum)
    }

    /// Until all servers have all; each looks by itself, so that no client's start is in the time.
    async fn wait(&self, handle: &Handle, targets: &BTreeMap<String, u64>) -> Result<()> {
        let waits = self.conversations.iter().enumerate().filter(|(_, some)| !some.is_empty());
        let waits = waits.map(|(server, conversations)| async move {
            let target: u64 = conversations.iter().filter_map(|one| targets.get(one)).sum();
            let script = wait_for(&sum_of(conversations), target);
            handle.database(server)?.execute(&script).await.map(drop)
        });
        futures::future::try_join_all(waits).await.map(drop)
    }
}

fn sum_of(conversations: &[String]) -> String {
    let last = |id: &String| {
        let shard = schema(partition_of(id, SHARDS));
        format!("SELECT coalesce(max(position), 0) AS last FROM {shard}.messages WHERE conversation_id = '{id}'")
    };
    let all: Vec<String> = conversations.iter().map(last).collect();
    format!("SELECT coalesce(sum(last), 0)::bigint AS sum FROM ({}) AS lasts", all.join(" UNION ALL "))
}

fn wait_for(sum: &str, target: u64) -> String {
    let tries = STORED_WITHIN_MS / LOOK_EVERY_MS;
    let pause = exact(LOOK_EVERY_MS) / 1_000.0;
    format!(
        "DO $$ BEGIN FOR i IN 1..{tries} LOOP IF ({sum}) >= {target} THEN RETURN; END IF; PERFORM pg_sleep({pause}); \
         END LOOP; RAISE EXCEPTION 'not all rows were stored in time'; END $$"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_read_by_its_label() {
        let metrics = "# TYPE velvet_project_facts_total counter\n\
            velvet_project_facts_total{domain=\"messaging\"} 120\n\
            velvet_project_facts_total{domain=\"matching\"} 7\n\
            velvet_project_facts_total_other{domain=\"messaging\"} 1\n";
        assert!((counter(metrics, "velvet_project_facts_total", "domain=\"messaging\"") - 120.0).abs() < 1e-9);
        assert!(counter("", "velvet_project_facts_total", "domain=\"messaging\"").abs() < 1e-9);
    }
}
