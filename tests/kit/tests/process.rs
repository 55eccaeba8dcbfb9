//! A supervised process, with a shell in the place of a server.

#![expect(clippy::disallowed_methods, reason = "scratch folders need names of their own")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use velvet_kit::process::{Process, Spec};
use velvet_kit::servers::ready::Ready;
use velvet_kit::{pids, until};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("velvet-kit-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(path.join("pids")).expect("a folder");
        Self(path)
    }

    fn shell(&self, script: &str) -> Process {
        let spec = Spec {
            name: "shell".to_owned(),
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: Vec::new(),
            folder: self.0.clone(),
            account: None,
            ready: Ready::Http("http://127.0.0.1:1/".to_owned()),
            ready_within: Duration::from_secs(20),
            retry_within: Duration::ZERO,
            stop_signal: Signal::TERM,
            stop_within: Duration::from_millis(200),
            rank: 0,
            leaves: None,
        };
        Process::new(spec, &self.0, &self.0.join("pids"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn an_early_end_is_told_at_once_with_what_it_wrote() {
    let scratch = Scratch::new();
    let started = Instant::now();
    let process = scratch.shell("echo no such table >&2; exit 3");
    let message = process.start().await.expect_err("it ended").to_string();
    assert!(message.contains("shell ended before it was ready (exit status: 3)"), "{message}");
    assert!(message.ends_with("no such table"), "{message}");
    assert!(started.elapsed() < Duration::from_secs(20), "it did not wait for the bound");
}

#[tokio::test]
async fn who_does_not_end_when_asked_is_killed_with_its_children() {
    let scratch = Scratch::new();
    let process = scratch.shell("trap '' TERM; sleep 600 & echo $! > child; wait; sleep 600");
    process.spawn().await.expect("a start");
    let child = until("the child has started", Duration::from_secs(10), || async {
        let text = std::fs::read_to_string(scratch.0.join("child"))?;
        Ok(text.trim().parse::<u32>()?)
    })
    .await
    .expect("a child");
    process.pause().await.expect("a pause");
    process.stop().await.expect("an end");
    assert!(!process.is_running().await.expect("a look"));
    until("the child is gone", Duration::from_secs(10), || async {
        let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        // Without a parent that waits, it may stay as a zombie, which runs no more.
        anyhow::ensure!(status.is_empty() || status.contains(") Z "), "still there: {status}");
        Ok(())
    })
    .await
    .expect("no child");
}

#[tokio::test]
async fn what_a_killed_owner_left_is_found_again_and_nothing_else() {
    let scratch = Scratch::new();
    let process = scratch.shell("exec sleep 600");
    process.spawn().await.expect("a start");
    let own = std::process::id();
    std::fs::write(scratch.0.join("pids/stranger"), format!("{own} 1")).expect("a file");
    let reaped = pids::reap(&scratch.0.join("pids")).await.expect("a look");
    assert_eq!(reaped, ["shell"], "a pid that is someone else's by now is left alone");
    until("it has ended", Duration::from_secs(10), || async {
        anyhow::ensure!(!process.is_running().await?, "it still runs");
        Ok(())
    })
    .await
    .expect("an end");
}
