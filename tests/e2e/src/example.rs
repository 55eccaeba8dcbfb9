//! The example clients for partners, run as the programs that they are.

use crate::SOON;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
};
use uuid::Uuid;
use velvet_kit::Handle;

/// In which language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    TypeScript,
    Python,
}

/// One of them, set up: where the graph is, and a file with the key.
#[derive(Debug)]
pub struct Integration {
    example: Example,
    clients: PathBuf,
    url: String,
    key_file: PathBuf,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    /// What it printed.
    pub lines: Vec<Value>,
    /// What it said about itself, on standard error.
    pub notes: Vec<Value>,
}

/// A program that follows a stream.
#[derive(Debug)]
pub struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    notes: Lines<BufReader<ChildStderr>>,
}

impl Integration {
    /// Calls the graph at that address with the key.
    pub fn new(stack: &Handle, example: Example, url: &str, key: &str) -> Result<Self> {
        let clients = stack.info.root.join("clients/partner");
        let key_file = stack.info.state.join(format!("partner-key-{}", Uuid::new_v4().simple()));
        let integration = Self { example, clients, url: url.to_owned(), key_file };
        integration.put_key(key)?;
        Ok(integration)
    }

    /// Puts another key in the place of the one that there is.
    pub fn put_key(&self, key: &str) -> Result<()> {
        std::fs::write(&self.key_file, key).with_context(|| format!("writing {}", self.key_file.display()))
    }

    /// Runs the program to its end.
    pub async fn run(&self, args: &[&str]) -> Result<Done> {
        let running = self.command(args)?.output();
        let output = tokio::time::timeout(3 * SOON, running).await.with_context(|| format!("{args:?} does not end"))?;
        let output = output.with_context(|| format!("running {args:?}"))?;
        Ok(Done { code: output.status.code(), lines: objects(&output.stdout)?, notes: objects(&output.stderr)? })
    }

    /// Runs it and reads along.
    pub fn follow(&self) -> Result<Following> {
        let mut child = self.command(&["follow"])?.spawn().context("starting to follow")?;
        let (lines, notes) = child.stdout.take().zip(child.stderr.take()).context("its output")?;
        Ok(Following { child, lines: BufReader::new(lines).lines(), notes: BufReader::new(notes).lines() })
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let (program, own) = match self.example {
            Example::TypeScript => (PathBuf::from("node"), self.clients.join("typescript/dist/src/main.js")),
            Example::Python => (self.clients.join("python/.venv/bin/python"), self.clients.join("python")),
        };
        let built = if self.example == Example::Python { &program } else { &own };
        ensure!(built.exists(), "{} is not there: dev/test builds the examples for partners first", built.display());
        let mut command = Command::new(&program);
        match self.example {
            Example::TypeScript => command.arg(&own),
            Example::Python => command.args(["-m", "velvet_partner"]).current_dir(&own),
        };
        command.args(args).env("VELVET_URL", &self.url).env("VELVET_PARTNER_KEY_FILE", &self.key_file);
        command.env("VELVET_SIGN", "1").env_remove("VELVET_PARTNER_KEY");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }
}

impl Following {
    /// The next line that it prints.
    pub async fn next(&mut self, within: Duration) -> Result<Value> {
        let line = tokio::time::timeout(within, self.lines.next_line()).await.context("nothing was printed")?;
        match line.context("reading a line")? {
            Some(line) => serde_json::from_str(&line).with_context(|| line.clone()),
            None => anyhow::bail!("it has ended: {:?}", self.rest().await?),
        }
    }

    /// Whichever comes first: a line that it prints, or one about itself.
    pub async fn line_or_note(&mut self, within: Duration) -> Result<(Option<Value>, Option<Value>)> {
        let (printed, said) = (self.lines.next_line(), self.notes.next_line());
        let first = tokio::time::timeout(within, async {
            tokio::select! {
                line = printed => Ok::<_, std::io::Error>((line?, None)),
                note = said => Ok((None, note?)),
            }
        });
        let (line, note) = first.await.context("nothing was said")?.context("reading a line")?;
        let read = |text: Option<String>| text.map(|text| serde_json::from_str(&text).context(text)).transpose();
        Ok((read(line)?, read(note)?))
    }

    /// Waits for its end; what it printed before that and nobody has read.
    pub async fn ended(mut self, within: Duration) -> Result<Done> {
        tokio::time::timeout(within, self.rest()).await.context("it goes on")?
    }

    async fn rest(&mut self) -> Result<Done> {
        let mut lines = Vec::new();
        while let Some(line) = self.lines.next_line().await.context("reading a line")? {
            lines.push(serde_json::from_str(&line).context(line)?);
        }
        let mut notes = Vec::new();
        while let Some(note) = self.notes.next_line().await.context("reading its notes")? {
            notes.push(serde_json::from_str(&note).context(note)?);
        }
        let status = self.child.wait().await.context("waiting for its end")?;
        Ok(Done { code: status.code(), lines, notes })
    }
}

fn objects(output: &[u8]) -> Result<Vec<Value>> {
    let text = String::from_utf8_lossy(output);
    text.lines().map(|line| serde_json::from_str(line).with_context(|| text.clone().into_owned())).collect()
}
