//! `velvet-stack up`.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use velvet_kit::options::state_dir;
use velvet_kit::population::{ALICE, BOB, PASSWORD, has_demo_people};
use velvet_kit::{Handle, Stack, StackInfo, StackOptions};

use super::{Up, asked_to_end};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A million people take a while; the importer watches itself.
const DETACHED_WITHIN: Duration = Duration::from_hours(4);

impl Up {
    pub async fn run(&self, root: &Path) -> Result<ExitCode> {
        if self.detach {
            return detach(root).await;
        }
        let mut options = StackOptions::development(root)?;
        self.common.apply(&mut options);
        let stack = Stack::new(options).await?;
        // Before anything starts, or a signal in between would leave it running.
        let end = asked_to_end();
        tokio::pin!(end);
        let outcome = tokio::select! {
            code = &mut end => code.map(Some),
            started = stack.start() => match started {
                Ok(handle) => {
                    greet(&handle);
                    tokio::select! {
                        code = &mut end => code.map(Some),
                        never = watch(&stack) => never.map(|()| None),
                    }
                }
                Err(cause) => Err(cause),
            },
        };
        let progress = stack.progress();
        progress.line("stopping");
        let stopped = stack.stop().await;
        // Ctrl-C is how one ends this; it is no failure.
        outcome?;
        stopped?;
        progress.line("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Says when a part ended although nobody asked it to.
async fn watch(stack: &Stack) -> Result<()> {
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let ended = stack.supervisor().ended().await?;
        for (process, status) in &ended {
            if told.insert(process.spec.name.clone()) {
                eprintln!("{} ended by itself ({status}){}", process.spec.name, process.tail());
            }
        }
        told.retain(|name| ended.iter().any(|(process, _)| process.spec.name == *name));
    }
}

fn greet(handle: &Handle) {
    let info = &handle.info;
    if info.servers_only {
        println!("\nServers are up; their addresses are in {}", StackInfo::path(&info.state).display());
        return;
    }
    println!(
        "\nVelvet is up.\n\
         \n  GraphQL      {graphql}\n  live         {ws}\n  in a browser {router}/\n\
         \n{who}\n\
         \nLogs are in {logs}; dev/velvet runs operators' commands on this. Ctrl-C stops everything.",
        graphql = info.graphql_url,
        ws = info.ws_url,
        router = info.router_url,
        who = if has_demo_people(&info.state) { sign_in() } else { nobody() },
        logs = info.state.join("logs").display(),
    );
}

fn sign_in() -> String {
    let (alice, bob) = (ALICE.email, BOB.email);
    format!(
        "  sign in as   {alice} or {bob}, password {PASSWORD}\n\
         \nA first query (the page's header editor takes {{ \"Authorization\": \"Bearer <accessToken>\" }}):\n\
         \n  mutation {{ login(input: {{ email: \"{alice}\", password: \"{PASSWORD}\" }}) {{ ... on Session {{ accessToken }} }} }}\n  \
         query {{ deck(first: 5) {{ distanceKm user {{ id displayName age bio }} }} }}"
    )
}

fn nobody() -> String {
    "Nobody is there yet: register, or load people with dev/up --people 2000.".to_owned()
}

/// Starts itself again without a terminal, and waits until that one has everything up.
async fn detach(root: &Path) -> Result<ExitCode> {
    let state = state_dir(root);
    std::fs::create_dir_all(&state).with_context(|| format!("making {}", state.display()))?;
    let log = state.join("up.log");
    let output = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
    let args = std::env::args_os().skip(1).filter(|arg| arg != "--detach");
    let program = std::env::current_exe().context("finding this program")?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("sharing a log file")?)
        .stderr(output)
        // Out of reach of the terminal's Ctrl-C.
        .process_group(0)
        .spawn()
        .context("starting in the background")?;
    let waited = tokio::select! {
        waited = tokio::time::timeout(DETACHED_WITHIN, up_or_ended(&mut child, &state, &log)) => waited.unwrap_or_else(|_| bail!("not up within {} s", DETACHED_WITHIN.as_secs())),
        code = asked_to_end() => code.and_then(|_| bail!("interrupted; dev/down ends what runs in the background")),
    };
    waited.map(|()| ExitCode::SUCCESS)
}

async fn up_or_ended(child: &mut Child, state: &Path, log: &Path) -> Result<()> {
    let (mut shown, mut greeted) = (0, false);
    loop {
        let status = child.try_wait().context("looking at the background process")?;
        let up = StackInfo::read(&StackInfo::path(state)).is_ok_and(|info| Some(info.pid) == child.id());
        let text = std::fs::read_to_string(log).unwrap_or_default();
        print!("{}", text.get(shown..).unwrap_or_default());
        shown = text.len();
        if let Some(status) = status {
            bail!("it ended ({status}); see {}", log.display());
        }
        if greeted {
            println!("Runs in the background; dev/down ends it.");
            return Ok(());
        }
        // Its greeting is written right after it has said that it is up: it is there at the next look.
        greeted = up;
        tokio::time::sleep(velvet_kit::poll::PAUSE * 8).await;
    }
}
