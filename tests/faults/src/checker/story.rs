//! The smallest story that refutes: what was asked, told, logged and stored of the entity, in order.

use super::Refutation;
use crate::{
    evidence::Evidence,
    history::{Entry, What},
};
use std::fmt::Write as _;

/// Lines of a story; the rest is in the history's file.
const LINES_MAX: usize = 60;
/// A longer line is cut: whole pages of messages say little.
const LINE_LENGTH_MAX: usize = 400;

/// The refutation with its story.
pub fn tell(evidence: &Evidence, refutation: &Refutation) -> String {
    let about = |text: &str| refutation.about.iter().any(|needle| text.contains(needle.as_str()));
    let mut lines: Vec<(i64, String)> = Vec::new();
    for entry in &evidence.history {
        let line = entry.to_string();
        if about(&line) || is_answer(entry, &refutation.about) {
            lines.push((i64::try_from(entry.at_ms).unwrap_or(i64::MAX), line));
        }
    }
    for event in &evidence.log {
        let (place, data) = (format!("{}/{}@{}", event.topic, event.partition, event.offset), event.data.to_string());
        if about(&data) || about(&event.key) || about(&event.id.to_string()) {
            let at = (event.time - evidence.began).num_milliseconds();
            let line = format!("{at:>7} ms  log      {place} {} {} v{} {data}", event.kind, event.id, event.version);
            lines.push((at, line));
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    let (first, last) = (lines.first().map_or(0, |(at, _)| *at), lines.last().map_or(0, |(at, _)| *at));
    for entry in &evidence.history {
        let at = i64::try_from(entry.at_ms).unwrap_or(i64::MAX);
        if matches!(entry.what, What::Done { .. }) && (first - 5_000..=last + 1_000).contains(&at) {
            lines.push((at, entry.to_string()));
        }
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut story =
        format!("REFUTED: {}\n  {}\n  about {}\n", refutation.invariant, refutation.claim, refutation.about.join(", "));
    let skipped = lines.len().saturating_sub(LINES_MAX);
    if skipped > 0 {
        let _ = writeln!(story, "  ({skipped} earlier lines are left out)");
    }
    for (_, line) in lines.iter().skip(skipped) {
        let _ = writeln!(story, "  {}", line.chars().take(LINE_LENGTH_MAX).collect::<String>());
    }
    for (table, rows) in &evidence.rows.0 {
        for row in rows.iter().filter(|row| about(&row.to_string())).take(5) {
            let _ = writeln!(
                story,
                "  stored in {table}: {}",
                row.to_string().chars().take(LINE_LENGTH_MAX).collect::<String>()
            );
        }
    }
    story
}

/// Answers name the request alone.
fn is_answer(entry: &Entry, about: &[String]) -> bool {
    let (What::Answered { request, .. } | What::Failed { request, .. }) = &entry.what else { return false };
    about.contains(&format!("#{request} "))
}
