//! Apache Kafka: nodes that are broker and controller both, from the jars of its Maven artifacts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use tokio::process::Command;

use super::ready::{Ready, brokers_known};
use super::{Folders, find_program, private_folder, run};
use crate::disks::Disks;
use crate::links::address;
use crate::poll::until;
use crate::ports::Ports;
use crate::process::Spec;
use crate::progress::Progress;
use crate::supervisor::Supervisor;

const VERSION: &str = "4.3.1";
const POM: &str = include_str!("../../assets/kafka/pom.xml");
const PROPERTIES: &str = include_str!("../../assets/kafka/server.properties");
const LOG4J: &str = include_str!("../../assets/kafka/log4j2.yaml");
/// 54 MB over a slow line.
const INSTALL_WITHIN: Duration = Duration::from_mins(15);
const FORMAT_WITHIN: Duration = Duration::from_mins(1);
/// After a SIGKILL it checks its log segments first.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// What all nodes share.
struct Cluster<'a> {
    supervisor: &'a Supervisor,
    java: PathBuf,
    classes: String,
    archive: Archive,
    /// Broker's and controller's port of each node.
    nodes: Vec<(u16, u16)>,
    /// Of each node, the ports of its listeners for links.
    links: &'a [Vec<u16>],
    disks: &'a Disks,
    id: String,
}

pub async fn start(
    supervisor: &Supervisor,
    folders: &Folders,
    ports: &Ports,
    disks: &Disks,
    progress: Progress,
) -> Result<String> {
    let java = find_program("java", &[]).context("java is not installed (package openjdk-17-jre-headless)")?;
    let home = install(progress).await?;
    let mut nodes = vec![(ports.kafka, ports.kafka_controller)];
    nodes.extend(&ports.more_brokers);
    // An id that begins with a dash would be taken for an option.
    let id = format!("v{}", &URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes())[1..]);
    let archive = archive(&home, &java);
    let (classes, links) = (format!("{}/*", home.display()), ports.kafka_links.as_slice());
    let cluster = Cluster { supervisor, java, classes, archive, nodes, links, disks, id };
    // A node is ready when most of the others are there.
    let each = (0..cluster.nodes.len()).map(|index| cluster.node(folders, index));
    let brokers = futures::future::try_join_all(each).await?.join(",");
    until("every broker is in Kafka's metadata", READY_WITHIN, || async {
        let known = brokers_known(&brokers).await?;
        ensure!(known == cluster.nodes.len(), "{known} of {}", cluster.nodes.len());
        Ok(())
    })
    .await?;
    Ok(brokers)
}

impl Cluster<'_> {
    async fn node(&self, folders: &Folders, index: usize) -> Result<String> {
        let name = if index == 0 { "kafka".to_owned() } else { format!("kafka-{index}") };
        let folder = folders.data.join(&name);
        private_folder(&folder)?;
        let properties = folder.join("server.properties");
        let data = folder.join("log");
        self.disks.mount(&name, &data).await?;
        fs::write(&properties, self.properties(index, &data)).context("writing Kafka's properties")?;
        let log4j = folder.join("log4j2.yaml");
        fs::write(&log4j, LOG4J).context("writing Kafka's log configuration")?;
        if !data.join("meta.properties").is_file() {
            let log = format!("-Dlog4j2.configurationFile={}", log4j.display());
            let mut format =
                tool(&self.java, &self.classes, &self.archive, &[&log, "kafka.tools.StorageTool", "format"]);
            format.args(["--ignore-formatted", "-t", &self.id, "-c"]).arg(&properties);
            run(&mut format, None, FORMAT_WITHIN).await.context("formatting Kafka's storage")?;
        }
        let address = format!("127.0.0.1:{}", self.nodes[index].0);
        let mut args = heap_arguments();
        // One of several is enough to write the archive of classes.
        if index == 0 || self.archive.leaves.is_none() {
            args.extend(self.archive.args.iter().cloned());
        }
        args.push(format!("-Dlog4j2.configurationFile={}", log4j.display()));
        args.extend(["-cp".to_owned(), self.classes.clone(), "kafka.Kafka".to_owned()]);
        args.push(properties.to_string_lossy().into_owned());
        let spec = Spec {
            name,
            program: self.java.clone(),
            args,
            env: Vec::new(),
            folder,
            account: None,
            ready: Ready::Kafka(address.clone()),
            ready_within: READY_WITHIN,
            retry_within: Duration::ZERO,
            stop_signal: Signal::TERM,
            stop_within: Duration::from_secs(40),
            rank: 0,
            leaves: self.archive.leaves.clone().filter(|_| index == 0),
        };
        self.supervisor.launch(spec).await?;
        Ok(address)
    }

    fn properties(&self, index: usize, data: &Path) -> String {
        let (port, controller) = self.nodes[index];
        let voters = self.nodes.iter().enumerate().map(|(node, (_, port))| format!("{}@127.0.0.1:{port}", node + 1));
        let copies = self.nodes.len();
        let links = self.links.get(index).map_or(&[][..], Vec::as_slice);
        let for_each = |text: fn(usize, u16) -> String| {
            links.iter().enumerate().map(|(process, port)| text(process, *port)).collect::<String>()
        };
        PROPERTIES
            .replace("{link_listeners}", &for_each(|process, port| format!(",LINK{process}://127.0.0.1:{port}")))
            .replace(
                "{link_addresses}",
                &for_each(|process, port| format!(",LINK{process}://{}:{port}", address(process))),
            )
            .replace("{link_protocols}", &for_each(|process, _| format!(",LINK{process}:PLAINTEXT")))
            .replace("{node}", &(index + 1).to_string())
            .replace("{voters}", &voters.collect::<Vec<_>>().join(","))
            .replace("{copies}", &copies.to_string())
            .replace("{in_sync}", &(copies / 2 + 1).min(copies).to_string())
            .replace("{port}", &port.to_string())
            .replace("{controller}", &controller.to_string())
            .replace("{data}", &data.to_string_lossy())
    }
}

/// The folder with Kafka's jars, filled by Maven on first use and shared by all checkouts of a user.
pub async fn install(progress: Progress) -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("VELVET_KAFKA_HOME").map(PathBuf::from) {
        let libs = home.join("libs");
        return Ok(if libs.is_dir() { libs } else { home });
    }
    let cache = cache_dir()?;
    let home = cache.join(format!("kafka-{VERSION}"));
    let done = home.join("complete");
    if done.is_file() {
        return Ok(home);
    }
    let maven = find_program("mvn", &[]).context("Maven is not installed (package maven); it brings Kafka")?;
    progress.line("fetching Kafka by Maven");
    // Another stack may be doing the same; each fills a folder of its own and the first one stays.
    let fresh = cache.join(format!("kafka-{VERSION}-{}", uuid::Uuid::new_v4().simple()));
    fs::create_dir_all(&fresh).with_context(|| format!("making {}", fresh.display()))?;
    fs::write(fresh.join("pom.xml"), POM).context("writing Kafka's pom")?;
    let mut command = Command::new(maven);
    command
        .args(["--batch-mode", "--quiet", "-f"])
        .arg(fresh.join("pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", fresh.display()));
    let copied = run(&mut command, None, INSTALL_WITHIN).await.context("fetching Kafka by Maven");
    let kept = copied.and_then(|_| {
        fs::write(fresh.join("complete"), "").context("marking Kafka as complete")?;
        if fs::rename(&fresh, &home).is_err() && !done.is_file() {
            bail!("{} is in the way; remove it", home.display());
        }
        Ok(home)
    });
    let _ = fs::remove_dir_all(&fresh);
    kept
}

fn cache_dir() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("velvet"))
}

/// One of Kafka's own programs, which begins with its arguments after the class; options of Java come before it.
pub async fn program(arguments: &[&str]) -> Result<Command> {
    let java = find_program("java", &[]).context("java is not installed (package openjdk-17-jre-headless)")?;
    let home = install(Progress::new(true)).await?;
    let archive = archive(&home, &java);
    Ok(tool(&java, &format!("{}/*", home.display()), &archive, arguments))
}

/// Quick to start: with the classes of the archive when there is one, and without the compiler for what runs long.
fn tool(java: &Path, classes: &str, archive: &Archive, arguments: &[&str]) -> Command {
    let mut command = Command::new(java);
    if archive.leaves.is_none() {
        command.args(&archive.args);
    }
    command.args(["-XX:TieredStopAtLevel=1", "-cp", classes]).args(arguments);
    command
}

/// Kafka's own settings, with a heap for a small machine.
fn heap_arguments() -> Vec<String> {
    ["-Xms128m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35"]
        .map(str::to_owned)
        .to_vec()
}

/// Halves the start: classes come from an archive that the JVM writes when it first ends.
#[derive(Debug)]
struct Archive {
    args: Vec<String>,
    leaves: Option<(PathBuf, PathBuf)>,
}

fn archive(home: &Path, java: &Path) -> Archive {
    // An archive belongs to one Java; its real path tells most of them apart, and a foreign one is only ignored.
    let real = fs::canonicalize(java).unwrap_or_else(|_| java.to_owned());
    let which = real.to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let archive = home.join(format!("classes{which}.jsa"));
    if archive.is_file() {
        let file = format!("-XX:SharedArchiveFile={}", archive.display());
        return Archive { args: vec!["-Xshare:auto".to_owned(), "-Xlog:cds=off".to_owned(), file], leaves: None };
    }
    let written = archive.with_extension(uuid::Uuid::new_v4().simple().to_string());
    let file = format!("-XX:ArchiveClassesAtExit={}", written.display());
    Archive { args: vec![file, "-Xlog:cds=off".to_owned()], leaves: Some((written, archive)) }
}
