//! The latencies of a report as a picture: a line from the median to the 99.9th percentile for each row, on a scale on
//! which ten times as long is one step.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::report::{Row, short};
use crate::schedule::exact;

const WIDTH: f64 = 960.0;
const LINE: f64 = 22.0;
/// Where the scale begins and ends; the names stand before it, the rates behind it.
const LEFT: f64 = 400.0;
const RIGHT: f64 = 850.0;
const TOP: f64 = 56.0;
/// More rows make no picture.
const ROWS_MAX: usize = 60;
const NAME_LENGTH_MAX: usize = 60;

/// Draws the rows that have latencies.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    std::fs::write(path, draw(rows)).with_context(|| format!("writing {}", path.display()))
}

fn draw(rows: &[Row]) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.p50_ms.is_some()).take(ROWS_MAX).collect();
    let scale = Scale::of(&rows);
    let mut body = String::new();
    let mut y = TOP;
    let mut scenario = "";
    for row in &rows {
        if row.scenario != scenario {
            scenario = &row.scenario;
            y += LINE / 2.0;
            text(&mut body, 12.0, y + 4.0, "start", "head", scenario);
            y += LINE;
        }
        line(&mut body, row, &scale, y);
        y += LINE;
    }
    let height = y + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\" aria-label=\"Latencies by scenario\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH:.0}\" height=\"{height:.0}\"/>\n"
    );
    text(
        &mut svg,
        12.0,
        22.0,
        "start",
        "head",
        "Latency in ms: ● p50, ◆ p99, end of line p99.9; at the right, answers per second",
    );
    for decade in scale.first..=scale.last {
        let (x, value) = (scale.at(10_f64.powi(decade)), 10_f64.powi(decade));
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.0}\"/>",
            height - 12.0
        );
        text(&mut svg, x, TOP - 8.0, "middle", "small", &value.to_string());
    }
    svg + &body + "</svg>\n"
}

const STYLE: &str = ".page{fill:#fff}.grid{stroke:#ddd}.head{font-weight:bold;fill:#222}.name{fill:#222}.small{fill:#666}\
    .range{stroke:#8aa4c8;stroke-width:4}.p50{fill:#1f4e8c}.p99{fill:#c2541b}\
    @media (prefers-color-scheme:dark){.page{fill:#0d1117}.grid{stroke:#333}.head,.name{fill:#e6e6e6}.small{fill:#aaa}}";

fn line(body: &mut String, row: &Row, scale: &Scale, y: f64) {
    let name: String = row.what.chars().take(NAME_LENGTH_MAX).collect();
    text(body, LEFT - 12.0, y + 4.0, "end", "name", &name);
    let p50 = row.p50_ms.unwrap_or_default();
    let p99 = row.p99_ms.unwrap_or(p50);
    let (from, mark, to) = (scale.at(p50), scale.at(p99), scale.at(row.p999_ms.unwrap_or(p99)));
    let _ = writeln!(body, "<line class=\"range\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y}\" y2=\"{y}\"/>");
    let _ = writeln!(body, "<circle class=\"p50\" cx=\"{from:.1}\" cy=\"{y}\" r=\"5\"/>");
    let (up, down) = (y - 6.0, y + 6.0);
    let _ = writeln!(
        body,
        "<path class=\"p99\" d=\"M{mark:.1} {up}L{:.1} {y}L{mark:.1} {down}L{:.1} {y}Z\"/>",
        mark + 6.0,
        mark - 6.0
    );
    let rate = row.rate_per_second.map(|rate| format!("{}/s", short(rate))).unwrap_or_default();
    text(body, RIGHT + 14.0, y + 4.0, "start", "small", &rate);
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// Whole powers of ten around all values.
#[derive(Debug, PartialEq)]
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    fn of(rows: &[&Row]) -> Self {
        let values =
            rows.iter().flat_map(|row| [row.p50_ms, row.p99_ms, row.p999_ms]).flatten().filter(|value| *value > 0.0);
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        for value in values {
            (least, most) = (least.min(value), most.max(value));
        }
        if least > most {
            return Self { first: 0, last: 1 };
        }
        let first = decade(least.log10().floor());
        Self { first, last: decade(most.log10().ceil()).max(first + 1) }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value.max(1e-9).log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LEFT + part.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }
}

/// Latencies are microseconds to minutes.
fn decade(power: f64) -> i32 {
    (-6..=6)
        .min_by_key(|whole: &i32| crate::schedule::whole((f64::from(*whole) - power).abs() * exact(1_000)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scenario: &str, p50: f64, p999: f64) -> Row {
        let mut row = Row::new(scenario, "router <ids>").rate(486.0);
        (row.p50_ms, row.p99_ms, row.p999_ms) = (Some(p50), Some(p999 / 2.0), Some(p999));
        row
    }

    #[test]
    fn the_scale_holds_all_values_between_powers_of_ten() {
        let (one, other) = (row("a", 0.8, 90.0), row("b", 3.0, 1_500.0));
        let scale = Scale::of(&[&one, &other]);
        assert_eq!(scale, Scale { first: -1, last: 4 });
        assert!((scale.at(0.1) - LEFT).abs() < 1e-6 && (scale.at(10_000.0) - RIGHT).abs() < 1e-6);
        assert!(scale.at(1.0) < scale.at(2.0));
        assert_eq!(Scale::of(&[]), Scale { first: 0, last: 1 });
    }

    #[test]
    fn each_row_with_latencies_is_a_line_under_its_scenario() {
        let rows = [row("deck", 1.0, 10.0), row("deck", 2.0, 20.0), Row::new("memory", "router").value(1.0, "MiB")];
        let svg = draw(&rows);
        assert_eq!(svg.matches("class=\"range\"").count(), 2);
        assert_eq!(svg.matches(">deck<").count(), 1);
        assert!(svg.contains("router &lt;ids>") && svg.contains("486/s") && !svg.contains("memory"));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
