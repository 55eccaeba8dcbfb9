//! What clients asked, what they were told, and what was done to the system, in the order in which it was seen.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use std::{
    fmt,
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Something that was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// Whose: a person's name, or the nemesis.
    pub who: String,
    pub what: What,
}

/// A request, under one key however often it is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    pub id: u64,
    /// The field of the graph.
    pub operation: &'static str,
    /// The idempotency key or client id, when it has one.
    pub key: Option<String>,
    pub input: Value,
    /// The trace that it belongs to.
    pub trace: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum What {
    /// A person has an account.
    Joined { user: String, email: String },
    /// A request was sent, to that router.
    Asked { request: Arc<Request>, router: usize },
    /// Its answer: what stands under the field.
    Answered { request: u64, payload: Value },
    /// An error, or no answer at all.
    Failed { request: u64, code: Option<String>, why: String },
    /// A stream stands: what happens from now on comes.
    Opened { stream: u64, field: &'static str, router: usize, transport: &'static str, resumed: bool },
    /// Something came on a stream; with errors, the event need not be whole.
    Heard { stream: u64, field: &'static str, event: Value, errors: bool },
    /// A stream broke or was given up.
    Left { stream: u64, field: &'static str, why: String },
    /// Something was done to a part.
    Done { deed: String },
}

/// Everything of a run; shared by all who write.
#[derive(Debug, Clone)]
pub struct History {
    began: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
    ids: Arc<AtomicU64>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: Instant::now(), entries: Arc::default(), ids: Arc::default() }
    }
}

impl History {
    pub fn note(&self, who: &str, what: What) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that times never go back.
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        entries.push(Entry { at_ms, who: who.to_owned(), what });
    }

    /// A number that nothing else of this run has.
    pub fn fresh(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps it for whoever looks into a failure: one JSON object a line.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut out = std::io::BufWriter::new(std::fs::File::create(path).context("writing a history")?);
        for entry in self.entries() {
            serde_json::to_writer(&mut out, &entry).context("writing a history")?;
            out.write_all(b"\n").context("writing a history")?;
        }
        out.flush().context("writing a history")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7} ms  {:<8} ", self.at_ms, self.who)?;
        match &self.what {
            What::Joined { user, .. } => write!(f, "is {user}"),
            What::Asked { request, router } => {
                let Request { id, operation, key, input, trace } = request.as_ref();
                let key = key.as_deref().unwrap_or("none");
                write!(f, "asks #{id} {operation} {input} (key {key}) of router {router}, trace {trace}")
            }
            What::Answered { request, payload } => write!(f, "is answered #{request}: {payload}"),
            What::Failed { request, code, why } => {
                write!(f, "is not answered #{request}: {} {why}", code.as_deref().unwrap_or("-"))
            }
            What::Opened { stream, field, router, transport, resumed } => {
                let how = if *resumed { "resumes" } else { "opens" };
                write!(f, "{how} {field} ~{stream} at router {router} over {transport}")
            }
            What::Heard { stream, event, errors, .. } => {
                write!(f, "hears on ~{stream}: {event}{}", if *errors { " with errors" } else { "" })
            }
            What::Left { stream, field, why } => write!(f, "leaves {field} ~{stream}: {why}"),
            What::Done { deed } => write!(f, "{deed}"),
        }
    }
}
