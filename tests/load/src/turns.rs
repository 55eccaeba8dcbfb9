//! Several routers, or several ways of asking one, beside each other: they take turns, so that what the machine does
//! meanwhile falls on all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bench::{Bench, Place};
use crate::report::Row;
use crate::schedule::{Answer, closed_loop, exact};
use crate::steps::{Target, moderate_at};

/// How often each variant is measured.
const ROUNDS: u32 = 3;
const WARM_UP: Duration = Duration::from_secs(2);
const WARM_UP_WORKERS: u64 = 8;

/// One way of asking, and the process that is asked.
pub struct Variant {
    pub label: &'static str,
    pub target: Target,
    pid: u32,
}

impl Variant {
    /// None is the id of a process that has ended.
    pub fn new(label: &'static str, pid: Option<u32>, target: Target) -> Result<Self> {
        Ok(Self { label, target, pid: pid.context("a router has ended")? })
    }
}

/// What the first requests of a process bring about is no cost of each.
pub async fn warm_up(variants: &[Variant]) {
    for variant in variants {
        closed_loop(WARM_UP_WORKERS, WARM_UP, |index| (variant.target.send)(index)).await;
    }
}

/// The moderate load of each, again and again.
pub async fn take_turns(bench: &mut Bench, variants: &[Variant], rate: f64, measured: Duration) -> Result<()> {
    for _ in 0..ROUNDS {
        for variant in variants {
            at(bench, variant, async |bench| moderate_at(bench, &variant.target, rate, measured).await).await?;
        }
    }
    Ok(())
}

/// Counts the processor time of the variant's router in the place of the stack's own.
pub async fn at(bench: &mut Bench, variant: &Variant, work: impl AsyncFnOnce(&mut Bench) -> Result<()>) -> Result<()> {
    const ROUTER: &str = "router";
    let own = bench.pids.insert(ROUTER.to_owned(), variant.pid);
    let outcome = work(bench).await;
    match own {
        Some(own) => bench.pids.insert(ROUTER.to_owned(), own),
        None => bench.pids.remove(ROUTER),
    };
    outcome
}

/// Rows with what one variant takes as a multiple of what another takes.
pub fn compare(bench: &mut Bench, one: &Variant, other: &Variant) {
    let rows = &bench.report.rows;
    let mean = |variant: &Variant, of: fn(&Row) -> Option<f64>| {
        let what = format!("{} · moderate", variant.target.what);
        let rows = rows.iter().filter(|row| row.scenario == variant.target.scenario && row.what == what);
        let values: Vec<f64> = rows.filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / exact(values.len() as u64))
    };
    let ratio = |of: fn(&Row) -> Option<f64>| Some(mean(one, of)? / mean(other, of)?);
    let ratios = [
        ("router cpu", ratio(|row| row.router_cpu_us)),
        ("p50", ratio(|row| row.p50_ms)),
        ("p99", ratio(|row| row.p99_ms)),
    ];
    for (what, ratio) in ratios {
        let Some(ratio) = ratio else { continue };
        let what = format!("{}, of {} · {what}", one.label, other.label);
        bench.add(Row::new(&one.target.scenario, what).value(ratio, "×").note(format!("means of {ROUNDS} rounds")));
    }
}

/// Sends one request again and again, for many callers in turn.
pub struct Caller {
    pub http: reqwest::Client,
    pub url: String,
    /// The header that says who asks, and its values.
    pub header: &'static str,
    pub values: Arc<Vec<String>>,
    pub body: String,
    /// What a good answer has an object of.
    pub field: &'static str,
    turn: AtomicU64,
}

/// Of an answer, what says whether it is a good one; the rest is not looked at.
#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow, default)]
    data: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(default)]
    errors: Vec<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    extensions: Option<Extensions>,
}

#[derive(Deserialize)]
struct Extensions {
    code: Option<String>,
}

impl Caller {
    pub fn new(url: &str, header: &'static str, values: &Arc<Vec<String>>, body: String, field: &'static str) -> Self {
        let (http, values) = (reqwest::Client::new(), Arc::clone(values));
        Self { http, url: url.to_owned(), header, values, body, field, turn: AtomicU64::new(0) }
    }

    /// What the one of this turn is answered, with its status.
    pub async fn ask(&self, turn: usize) -> reqwest::Result<(u16, Vec<u8>)> {
        let request = self.http.post(&self.url).header("content-type", "application/json");
        let request = request.header(self.header, &self.values[turn % self.values.len()]).body(self.body.clone());
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.bytes().await?.into()))
    }

    async fn call(self: Arc<Self>) -> Answer {
        let turn = usize::try_from(self.turn.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
        let (status, text) = self.ask(turn).await.map_err(|_| "not sent".to_owned())?;
        judge(&text, self.field).map_err(|cause| format!("status {status}, {cause}"))
    }

    /// It, as one row of a scenario.
    pub fn target(self, scenario: &str, label: &str) -> Target {
        let caller = Arc::new(self);
        let send = move |_| -> BoxFuture<'static, Answer> { Box::pin(Arc::clone(&caller).call()) };
        Target {
            scenario: scenario.to_owned(),
            what: label.to_owned(),
            place: Some(Place::Router),
            send: Arc::new(send),
            prepare: None,
            note: None,
        }
    }
}

/// Whether an answer has no error and an object at this field.
fn judge(text: &[u8], field: &str) -> Answer {
    let answered: Answered<'_> = serde_json::from_slice(text).map_err(|_| "no JSON".to_owned())?;
    if let Some(refusal) = answered.errors.into_iter().next() {
        let code = refusal.extensions.and_then(|extensions| extensions.code);
        return Err(code.unwrap_or_else(|| "an error".to_owned()));
    }
    let found = answered.data.as_ref().and_then(|data| data.get(field));
    if found.is_some_and(|value| value.get().starts_with('{')) { Ok(()) } else { Err("no data".to_owned()) }
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_that_has_the_field_and_no_error() {
        let judge = |text: &str| judge(text.as_bytes(), "matches");
        assert_eq!(judge(r#"{"data":{"matches":{"nodes":[]}},"extensions":{}}"#), Ok(()));
        assert_eq!(judge(r#"{"data":{"matches":null}}"#), Err("no data".to_owned()));
        assert_eq!(judge(r#"{"data":null}"#), Err("no data".to_owned()));
        let refused = r#"{"errors":[{"message":"x","extensions":{"code":"FORBIDDEN"}}],"data":{"matches":{}}}"#;
        assert_eq!(judge(refused), Err("FORBIDDEN".to_owned()));
        assert_eq!(judge(r#"{"errors":[{"message":"x"}]}"#), Err("an error".to_owned()));
        assert_eq!(judge("<html>"), Err("no JSON".to_owned()));
    }
}
