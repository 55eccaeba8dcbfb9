//! Two builds beside each other: what one took as a multiple of what the other took.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::report::{Row, grid};
use crate::schedule::exact;

/// How a column is read.
type Read = fn(&Row) -> Option<f64>;

/// What is compared.
const COLUMNS: [(&str, Read); 8] = [
    ("rate", |row| row.rate_per_second),
    ("p50", |row| row.p50_ms),
    ("p95", |row| row.p95_ms),
    ("p99", |row| row.p99_ms),
    ("p99.9", |row| row.p999_ms),
    ("router cpu", |row| row.router_cpu_us),
    ("API cpu", |row| row.api_cpu_us),
    ("value", |row| row.value.as_ref().map(|value| value.amount)),
];

/// Of a report, what is compared and drawn.
#[derive(Debug, Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

/// The rows of several reports.
pub fn rows(files: &[PathBuf]) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let report: Rows = serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
        all.extend(report.rows);
    }
    Ok(all)
}

/// A line for each row that both have: the mean of today's rounds as a multiple of the mean of the older build's.
pub fn table(today: &[Row], older: &[Row]) -> String {
    let (today, older) = (means(today), means(older));
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    for (key, (rounds, now)) in &today.0 {
        let Some((older_rounds, then)) = older.0.get(key) else { continue };
        let ratio = |(now, then): (&Option<f64>, &Option<f64>)| match (now, then) {
            (Some(now), Some(then)) if *then > 0.0 => format!("{:.2} ×", now / then),
            _ => String::new(),
        };
        let mut cells = vec![key.1.clone()];
        cells.extend(now.iter().zip(then).map(ratio));
        cells.push(format!("{rounds} and {older_rounds} rounds"));
        lines.push((key.0.as_str(), cells));
    }
    lines.sort_by_key(|(_, cells)| today.1.iter().position(|key| key.1 == cells[0]));
    let head = ["today, of the older build"].into_iter().chain(COLUMNS.iter().map(|(name, _)| *name)).chain([""]);
    let head: Vec<String> = head.map(str::to_owned).collect();
    let mut text = String::new();
    grid(&mut text, &head, &lines);
    text
}

type Key = (String, String);
/// How many rounds, and the mean of each column over them.
type Mean = (usize, Vec<Option<f64>>);

/// By row, and the rows in the order in which they first came.
fn means(rows: &[Row]) -> (BTreeMap<Key, Mean>, Vec<Key>) {
    let mut groups: BTreeMap<Key, Vec<&Row>> = BTreeMap::new();
    let mut order = Vec::new();
    for row in rows {
        let key = (row.scenario.clone(), row.what.clone());
        let group = groups.entry(key.clone()).or_default();
        if group.is_empty() {
            order.push(key);
        }
        group.push(row);
    }
    let mean = |rows: &[&Row], of: Read| {
        let values: Vec<f64> = rows.iter().filter_map(|row| of(row)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / exact(values.len() as u64))
    };
    let all = |rows: Vec<&Row>| (rows.len(), COLUMNS.iter().map(|(_, of)| mean(&rows, *of)).collect());
    (groups.into_iter().map(|(key, rows)| (key, all(rows))).collect(), order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, rate: f64, p99: f64) -> Row {
        let mut row = Row::new("deck", what).rate(rate);
        row.p99_ms = Some(p99);
        row
    }

    #[test]
    fn means_of_rounds_are_set_beside_each_other() {
        let today = [row("router", 300.0, 10.0), row("router", 500.0, 20.0), row("new", 1.0, 1.0)];
        let older = [row("router", 200.0, 30.0), row("gone", 1.0, 1.0)];
        let table = table(&today, &older);
        assert!(table.contains("2.00 ×") && table.contains("0.50 ×"), "{table}");
        assert!(table.contains("2 and 1 rounds") && !table.contains("new") && !table.contains("gone"), "{table}");
    }

    #[test]
    fn what_was_not_measured_has_no_ratio() {
        let table = table(&[Row::new("a", "b").rate(1.0)], &[Row::new("a", "b")]);
        assert!(!table.contains('×'), "{table}");
    }
}
