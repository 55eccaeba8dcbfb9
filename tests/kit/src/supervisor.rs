//! All processes of one stack.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::process::{Process, Spec};

#[derive(Debug)]
pub struct Supervisor {
    logs: PathBuf,
    pids: PathBuf,
    processes: Mutex<Vec<Arc<Process>>>,
}

impl Supervisor {
    pub fn new(logs: PathBuf, pids: PathBuf) -> Self {
        Self { logs, pids, processes: Mutex::default() }
    }

    /// Takes a process on, so that it is stopped with the rest whatever happens, and waits until it is ready.
    pub async fn launch(&self, spec: Spec) -> Result<Arc<Process>> {
        let process = Arc::new(Process::new(spec, &self.logs, &self.pids));
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).push(process.clone());
        process.start().await?;
        Ok(process)
    }

    pub fn all(&self) -> Vec<Arc<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn get(&self, name: &str) -> Result<Arc<Process>> {
        let all = self.all();
        let found = all.iter().find(|process| process.spec.name == name).cloned();
        found.with_context(|| {
            let names: Vec<&str> = all.iter().map(|process| process.spec.name.as_str()).collect();
            format!("this stack runs no {name:?} of its own, only: {}", names.join(", "))
        })
    }

    /// Highest rank first, those of one rank together; goes on past failures and gives the first.
    pub async fn stop_all(&self) -> Result<()> {
        let all = self.all();
        let ranks: BTreeSet<u8> = all.iter().map(|process| process.spec.rank).collect();
        let mut outcome = Ok(());
        for rank in ranks.into_iter().rev() {
            let same = all.iter().filter(|process| process.spec.rank == rank);
            for stopped in futures::future::join_all(same.map(|process| process.stop())).await {
                outcome = outcome.and(stopped);
            }
        }
        outcome
    }

    /// Processes that ended although nobody asked them to.
    pub async fn ended(&self) -> Result<Vec<(Arc<Process>, ExitStatus)>> {
        let mut ended = Vec::new();
        for process in self.all() {
            if let Some(status) = process.ended().await? {
                ended.push((process, status));
            }
        }
        Ok(ended)
    }
}
