//! A fourth Kafka broker, which takes its part of the log: Kafka's own tools, as docs/operations.md has them.

use anyhow::{Context, Result, ensure};
use rdkafka::metadata::{Metadata, MetadataPartition};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Child;
use velvet_kernel::log::{Stage, Topic};
use velvet_kit::{
    Handle,
    servers::{kafka, ready, run},
    until,
};

const NODE: usize = 4;
const TOOL_WITHIN: Duration = Duration::from_mins(1);
const UP_WITHIN: Duration = Duration::from_secs(90);
const MOVED_WITHIN: Duration = Duration::from_mins(2);
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";

/// Ends with SIGKILL when dropped.
pub struct Broker {
    _process: Child,
    folder: PathBuf,
}

/// A line of a properties file.
fn property<'t>(text: &'t str, name: &str) -> Result<&'t str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.with_context(|| format!("no {name}"))
}

impl Broker {
    /// Starts it as one more member of a stack's cluster, and waits until the others know it.
    pub async fn join(stack: &Handle) -> Result<Self> {
        let data = stack.info.state.join("data");
        let folder = data.join(format!("kafka-{}", NODE - 1));
        fs::create_dir_all(&folder).context("making a broker's folder")?;
        let first = fs::read_to_string(data.join("kafka/server.properties")).context("reading Kafka's properties")?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).context("a free port")?.port();
        let properties = folder.join("server.properties");
        fs::write(&properties, of_a_broker(&first, port, &folder.join("log"))).context("writing Kafka's properties")?;
        let meta = fs::read_to_string(data.join("kafka/log/meta.properties")).context("reading the cluster's id")?;
        let cluster = property(&meta, "cluster.id")?;
        let storage = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", text(&properties)?];
        run(&mut kafka::program(&storage).await?, None, TOOL_WITHIN).await.context("formatting a broker's storage")?;

        let log = stack.info.state.join("logs").join(format!("kafka-{}.log", NODE - 1));
        let log = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let logging = format!("-Dlog4j2.configurationFile={}", data.join("kafka/log4j2.yaml").display());
        let process = kafka::program(&["-Xmx512m", &logging, "kafka.Kafka", text(&properties)?])
            .await?
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("sharing a log")?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting a broker")?;
        let broker = Self { _process: process, folder };
        until("the broker to be one of the cluster", UP_WITHIN, || async {
            let known = ready::brokers_known(&stack.info.kafka_brokers).await?;
            ensure!(known == NODE, "{known} of {NODE}");
            Ok(())
        })
        .await?;
        Ok(broker)
    }

    /// Gives it its part of each topic, and waits until that is done. How many partitions it has then.
    pub async fn take_part(&self, stack: &Handle) -> Result<usize> {
        let domains = ["accounts", "matching", "messaging"];
        let stages = domains.iter().flat_map(|domain| Stage::ALL.map(|stage| Topic::of(domain, stage)));
        let topics: Vec<Value> = stages
            .chain([Topic::warmup_requests(), Topic::dead_letters()])
            .map(|topic| json!({ "topic": topic.0 }))
            .collect();
        let wanted = self.folder.join("topics.json");
        fs::write(&wanted, json!({ "version": 1, "topics": topics }).to_string()).context("naming the topics")?;
        let others = (1..NODE).map(|node| node.to_string()).collect::<Vec<_>>().join(",");
        let asked = ["--generate", "--topics-to-move-json-file", text(&wanted)?, "--broker-list", &others];
        let told = reassign(stack, &asked).await?;
        let now = told.lines().skip_while(|line| !line.starts_with("Current")).nth(1).context("what is where")?;
        let mut plan: Value = serde_json::from_str(now).context("reading what is where")?;
        let count = give_part(&mut plan)?;
        let file = self.folder.join("plan.json");
        fs::write(&file, plan.to_string()).context("writing the plan")?;
        reassign(stack, &["--execute", "--reassignment-json-file", text(&file)?]).await?;
        until("the partitions to have moved", MOVED_WITHIN, || async {
            let has_copies = |metadata: &Metadata| held(metadata, NODE);
            let held = ready::described(&stack.info.kafka_brokers, has_copies).await?;
            ensure!(held == count, "{held} of {count}");
            Ok(())
        })
        .await?;
        let told = reassign(stack, &["--verify", "--reassignment-json-file", text(&file)?]).await?;
        ensure!(!told.contains("still in progress") && told.contains("completed"), "{told}");
        Ok(count)
    }
}

async fn reassign(stack: &Handle, arguments: &[&str]) -> Result<String> {
    let mut command = kafka::program(&[REASSIGN]).await?;
    command.args(["--bootstrap-server", &stack.info.kafka_brokers]).args(arguments);
    run(&mut command, None, TOOL_WITHIN).await.context("moving partitions")
}

/// The new broker has a copy of three partitions out of four, in the place of one that does not lead.
fn give_part(plan: &mut Value) -> Result<usize> {
    let partitions = plan["partitions"].as_array_mut().context("partitions")?;
    partitions.retain_mut(|partition| {
        // Which disk a copy is on is each broker's own affair.
        partition.as_object_mut().map(|partition| partition.remove("log_dirs"));
        let number = partition["partition"].as_u64().and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| number % NODE < NODE - 1);
        let copy = number.and_then(|number| partition["replicas"].get_mut(1 + number % 2));
        copy.map(|copy| *copy = json!(NODE)).is_some()
    });
    Ok(partitions.len())
}

/// How many partitions have a copy on a node that has all that the others have, and no more copies than they are to have.
fn held(metadata: &Metadata, node: usize) -> usize {
    let is_settled = |partition: &&MetadataPartition| {
        let has = |nodes: &[i32]| nodes.iter().any(|known| usize::try_from(*known) == Ok(node));
        has(partition.isr()) && partition.replicas().len() < node
    };
    metadata.topics().iter().map(|topic| topic.partitions().iter().filter(is_settled).count()).sum()
}

/// As the first node, but for what is its own, and without a vote.
fn of_a_broker(first: &str, port: u16, data: &Path) -> String {
    let lines = first.lines().filter(|line| !line.starts_with("listeners=") && !line.starts_with("advertised."));
    let lines = lines.map(|line| match line.split_once('=') {
        Some(("process.roles", _)) => "process.roles=broker".to_owned(),
        Some(("node.id", _)) => format!("node.id={NODE}"),
        Some(("log.dirs", _)) => format!("log.dirs={}", data.display()),
        _ => line.to_owned(),
    });
    let own = format!("listeners=PLAINTEXT://127.0.0.1:{port}\nadvertised.listeners=PLAINTEXT://127.0.0.1:{port}\n");
    lines.collect::<Vec<_>>().join("\n") + "\n" + &own
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path")
}
