//! What people read of operations.

use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// What of an answer that is no report is shown, in characters.
const REFUSAL_LENGTH_MAX: usize = 500;

/// What the router found of a manifest.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// Whether it was published.
    pub ok: bool,
    release: Option<u32>,
    #[serde(default)]
    operations: Vec<Reported>,
}

#[derive(Debug, Deserialize)]
struct Reported {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    cost: Option<u64>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    problems: Vec<Value>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = |reported: &Reported| {
            [
                reported.name.clone().unwrap_or_else(|| "-".to_owned()),
                reported.kind.clone().unwrap_or_else(|| "-".to_owned()),
                reported.cost.map_or_else(|| "-".to_owned(), |cost| cost.to_string()),
                reported.scopes.join(" "),
                reported.id.clone(),
            ]
        };
        let rows: Vec<_> = self.operations.iter().map(cells).collect();
        table(f, ["NAME", "KIND", "COST", "SCOPES", "ID"], &rows)?;
        for reported in &self.operations {
            for problem in &reported.problems {
                let name = reported.name.as_deref().unwrap_or(&reported.id);
                writeln!(f, "{name}: {}", text(problem))?;
            }
        }
        match self.release {
            Some(release) if self.ok => writeln!(f, "published: release {release}"),
            _ => Ok(()),
        }
    }
}

/// A partner's operations, as accounts lists them.
pub struct Listing(pub Vec<Value>);

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = ["name", "kind", "cost", "release", "clientName", "publishedAt", "retiredAt", "id"];
        let rows: Vec<_> = self.0.iter().map(|operation| fields.map(|field| text(&operation[field]))).collect();
        table(f, ["NAME", "KIND", "COST", "RELEASE", "CLIENT", "PUBLISHED", "RETIRED", "ID"], &rows)
    }
}

/// One operation with its document.
pub fn operation(shown: &Value) -> String {
    let fields = ["id", "name", "kind", "cost", "release", "clientName", "publishedAt", "retiredAt"];
    let lines: Vec<String> = fields.iter().map(|field| format!("{field}: {}", text(&shown[*field]))).collect();
    format!("{}\n\n{}", lines.join("\n"), text(&shown["body"]))
}

/// Why there is no answer: the code and the sentence, or what came instead.
pub fn refusal(answer: &Value) -> String {
    let error = &answer["error"];
    match (error["code"].as_str(), error["message"].as_str()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => text(answer).chars().take(REFUSAL_LENGTH_MAX).collect(),
    }
}

/// A value as people read it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(fields) if fields.contains_key("message") => text(&fields["message"]),
        other => other.to_string(),
    }
}

fn table<const N: usize>(f: &mut fmt::Formatter<'_>, head: [&str; N], rows: &[[String; N]]) -> fmt::Result {
    let head = head.map(str::to_owned);
    let lines: Vec<&[String; N]> = std::iter::once(&head).chain(rows).collect();
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line.iter()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in lines {
        let padded: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(f, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_is_a_table_with_its_problems_below() {
        let report: Report = serde_json::from_value(json!({
            "ok": false, "release": null,
            "operations": [
                { "id": "a1", "name": "Deck", "kind": "query", "cost": 12, "scopes": ["matching:query"], "problems": [] },
                { "id": "b2", "name": "Oops", "kind": null, "cost": null, "scopes": [], "problems": ["no field x"] },
            ],
        }))
        .unwrap();
        let expected = "NAME  KIND   COST  SCOPES          ID\n\
                        Deck  query  12    matching:query  a1\n\
                        Oops  -      -                     b2\n\
                        Oops: no field x\n";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn a_published_report_says_the_release() {
        let report: Report = serde_json::from_value(json!({ "ok": true, "release": 3, "operations": [] })).unwrap();
        assert!(report.to_string().ends_with("published: release 3\n"));
    }

    #[test]
    fn a_refusal_says_its_code() {
        let answer = json!({ "error": { "code": "UNAUTHENTICATED", "message": "the key does not let anybody in" } });
        assert_eq!(refusal(&answer), "UNAUTHENTICATED: the key does not let anybody in");
        assert_eq!(refusal(&json!("down")), "down");
    }
}
