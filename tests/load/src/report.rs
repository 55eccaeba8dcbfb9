//! What was measured: one table for people, the same as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::bench::RoundTrips;
use crate::process::Machine;
use crate::schedule::{Outcome, quantile_ms};
use crate::usage::{GROUPS, Uses};

/// One line of the table. What does not apply is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    pub scenario: String,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub error_kinds: BTreeMap<String, u64>,
    /// Processor time of the router per request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_cpu_us: Option<f64>,
    /// Processor time of the API per request; its inverse is what one core of API takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_cpu_us: Option<f64>,
    /// What each process of the stack used for one request.
    #[serde(skip_serializing_if = "Uses::is_empty")]
    pub uses: Uses,
    /// Pipelines to Redis and records to Kafka for one request, of the API process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_round_trips: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_records: Option<f64>,
    /// The rate as a part of the raw limit beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_raw: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Quantity>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What is no rate: memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    pub amount: f64,
    pub unit: String,
}

/// Everything of one run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub arguments: Vec<String>,
    /// How to read the numbers.
    pub notes: Vec<String>,
    pub rows: Vec<Row>,
    /// Scenarios that did not end well, with the cause.
    pub failures: Vec<String>,
}

impl Row {
    pub fn new(scenario: &str, what: impl Into<String>) -> Self {
        Self { scenario: scenario.to_owned(), what: what.into(), ..Self::default() }
    }

    #[must_use]
    pub fn outcome(mut self, outcome: &Outcome) -> Self {
        self.offered_per_second = Some(outcome.offered_per_second);
        self.rate_per_second = Some(outcome.achieved_per_second);
        self = self.latencies(&outcome.latencies);
        self.errors = Some(outcome.errors_total());
        self.error_kinds.clone_from(&outcome.errors);
        if let Some((what, _)) = outcome.errors.iter().max_by_key(|(_, count)| **count) {
            self = self.note(what.clone());
        }
        self
    }

    #[must_use]
    pub fn latencies(mut self, latencies: &Histogram<u64>) -> Self {
        self.p50_ms = quantile_ms(latencies, 0.50);
        self.p95_ms = quantile_ms(latencies, 0.95);
        self.p99_ms = quantile_ms(latencies, 0.99);
        self.p999_ms = quantile_ms(latencies, 0.999);
        self
    }

    /// What each request took of each process.
    #[must_use]
    pub fn uses(mut self, uses: Uses) -> Self {
        self.router_cpu_us = uses.cpu_us("router");
        self.api_cpu_us = uses.cpu_us("api");
        self.uses = uses;
        self
    }

    /// What each request asked of the servers behind the API.
    #[must_use]
    pub fn trips(mut self, trips: RoundTrips) -> Self {
        self.redis_round_trips = Some(trips.redis);
        self.kafka_records = Some(trips.kafka);
        self.note(trips.to_string())
    }

    #[must_use]
    pub fn rate(mut self, rate_per_second: f64) -> Self {
        self.rate_per_second = Some(rate_per_second);
        self
    }

    /// Sets the part of a raw limit, if that was measured.
    #[must_use]
    pub fn beside(mut self, raw_per_second: Option<f64>) -> Self {
        let of = |raw: f64| self.rate_per_second.map(|rate| rate / raw);
        self.of_raw = raw_per_second.filter(|raw| *raw > 0.0).and_then(of);
        self
    }

    #[must_use]
    pub fn value(mut self, amount: f64, unit: &str) -> Self {
        self.value = Some(Quantity { amount, unit: unit.to_owned() });
        self
    }

    #[must_use]
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        if !self.note.is_empty() {
            self.note.push_str("; ");
        }
        self.note.push_str(note.as_ref());
        self
    }

    fn cells(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or_else(String::new, short);
        vec![
            self.what.clone(),
            number(self.offered_per_second),
            number(self.rate_per_second),
            number(self.p50_ms),
            number(self.p95_ms),
            number(self.p99_ms),
            number(self.p999_ms),
            self.errors.map_or_else(String::new, |errors| errors.to_string()),
            number(self.router_cpu_us),
            number(self.api_cpu_us),
            self.of_raw.map_or_else(String::new, |part| format!("{:.1} %", part * 100.0)),
            self.value.as_ref().map_or_else(String::new, |value| format!("{} {}", short(value.amount), value.unit)),
            self.note.clone(),
        ]
    }

    /// What each process used, as cells.
    fn shares(&self) -> Vec<String> {
        let share = |name: &&str| self.uses.of(name).map(|share| share.to_string()).unwrap_or_default();
        [self.what.clone()].into_iter().chain(GROUPS.iter().map(share)).collect()
    }
}

const HEAD: [&str; 13] = [
    "",
    "offered/s",
    "rate/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "p99.9 ms",
    "errors",
    "router cpu µs",
    "API cpu µs",
    "of raw",
    "value",
    "note",
];

impl Report {
    /// The table, with a line between scenarios, what each process used, the notes below.
    pub fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        let lines: Vec<(&str, Vec<String>)> =
            self.rows.iter().map(|row| (row.scenario.as_str(), row.cells())).collect();
        grid(&mut text, &HEAD.map(str::to_owned), &lines);
        let used = self.rows.iter().filter(|row| !row.uses.is_empty());
        let used: Vec<(&str, Vec<String>)> = used.map(|row| (row.scenario.as_str(), row.shares())).collect();
        if !used.is_empty() {
            text.push_str("\nfor each request, by process: processor time in µs; bytes received, sent\n\n");
            let head: Vec<String> = [""].iter().chain(&GROUPS).map(|name| (*name).to_owned()).collect();
            grid(&mut text, &head, &used);
        }
        text.push('\n');
        for note in &self.notes {
            let _ = writeln!(text, "· {note}");
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED {failure}");
        }
        text
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing the report")?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }
}

/// Lines of cells below a head, each scenario's under its name.
pub fn grid(text: &mut String, head: &[String], lines: &[(&str, Vec<String>)]) {
    let width = |column: usize| {
        let cells = lines.iter().map(|(_, cells)| &cells[column]).chain([&head[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    line(text, head, &widths);
    let mut scenario = "";
    for (of, cells) in lines {
        if *of != scenario {
            scenario = of;
            let _ = writeln!(text, "── {scenario}");
        }
        line(text, cells, &widths);
    }
}

/// The first and the last cell begin at the left, numbers end at the right.
fn line(text: &mut String, cells: &[String], widths: &[usize]) {
    let last = cells.len().saturating_sub(1);
    let mut printed = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
        let _ = match column {
            0 => write!(printed, "{cell}{gap}"),
            _ if column == last => write!(printed, "  {cell}"),
            _ => write!(printed, "  {gap}{cell}"),
        };
    }
    let _ = writeln!(text, "{}", printed.trim_end());
}

/// Three digits that matter, without an exponent.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report() -> Report {
        let raw = Row::new("raw", "echo").rate(10_000.0);
        let mut deck = Row::new("deck", "router").rate(2_500.0).beside(raw.rate_per_second).note("5 cards");
        deck.p99_ms = Some(12.34);
        deck.errors = Some(0);
        let memory = Row::new("memory", "router").value(123.4, "MiB");
        Report { rows: vec![raw, deck, memory], notes: vec!["one run".to_owned()], ..Report::default() }
    }

    #[test]
    fn the_table_has_a_line_a_row_under_its_scenario() {
        let table = report().table();
        let lines: Vec<&str> = table.lines().skip(3).collect();
        assert_eq!(lines[0], "── raw");
        assert!(lines[1].starts_with("echo    ") && lines[1].ends_with("10000"), "{table}");
        assert_eq!(lines[2], "── deck");
        assert!(lines[3].contains("2500") && lines[3].contains("12.3") && lines[3].contains("25.0 %"), "{table}");
        assert!(lines[3].ends_with("5 cards"), "{table}");
        assert!(lines[5].ends_with("123 MiB"), "{table}");
        assert_eq!(lines[7], "· one run");
    }

    #[test]
    fn numbers_stand_under_their_heads() {
        let table = report().table();
        let end = |line: &str, word: &str| line.find(word).map(|at| line[..at + word.len()].chars().count());
        let head = table.lines().nth(2).unwrap_or_default();
        let echo = table.lines().find(|line| line.starts_with("echo")).unwrap_or_default();
        assert_eq!(end(head, " rate/s"), end(echo, "10000"), "{table}");
    }

    #[test]
    fn json_leaves_out_what_does_not_apply() {
        let rows = serde_json::to_value(&report().rows).expect("rows serialise");
        assert_eq!(rows[0], json!({ "scenario": "raw", "what": "echo", "rate_per_second": 10_000.0 }));
        assert_eq!(rows[1]["of_raw"], json!(0.25));
        assert_eq!(rows[2]["value"], json!({ "amount": 123.4, "unit": "MiB" }));
    }

    #[test]
    fn a_raw_limit_that_was_not_measured_gives_no_part() {
        assert_eq!(Row::new("deck", "router").rate(5.0).beside(None).of_raw, None);
        assert_eq!(Row::new("deck", "router").rate(5.0).beside(Some(0.0)).of_raw, None);
    }
}
