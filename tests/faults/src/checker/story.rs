//! The smallest story that refutes: what was asked, told, logged and stored of the entity, in order.

use super::Refutation;
use crate::{
    evidence::{Event, Evidence},
    history::{Entry, What},
};
use std::fmt::Write as _;

/// Lines of a story; the rest is in the history's file.
const LINES_MAX: usize = 60;
/// A longer line is cut: whole pages of messages say little.
const LINE_LENGTH_MAX: usize = 400;
/// Rows of one table that are shown.
const ROWS_MAX: usize = 5;
/// What is told of breaks, and of streams' comings and goings, around the rest, in milliseconds: no break lasts longer, so
/// all that were going on are named.
const AROUND_MS: (i64, i64) = (9_000, 1_000);

/// A moment of the run, and what is told of it.
type Line = (i64, String);

/// The refutation with its story.
pub fn tell(evidence: &Evidence, refutation: &Refutation) -> String {
    let about = |text: &str| refutation.about.iter().any(|needle| text.contains(needle.as_str()));
    let Refutation { invariant, claim, about: entities } = refutation;
    let mut story = format!("REFUTED: {invariant}\n  {claim}\n  about {}\n", entities.join(", "));
    let lines = lines(evidence, refutation);
    let skipped = lines.len().saturating_sub(LINES_MAX);
    if skipped > 0 {
        let _ = writeln!(story, "  ({skipped} earlier lines are left out)");
    }
    for (_, line) in lines.iter().skip(skipped) {
        let _ = writeln!(story, "  {}", cut(line));
    }
    for (table, rows) in &evidence.rows.0 {
        let shown = rows.iter().map(ToString::to_string).filter(|row| about(row)).take(ROWS_MAX);
        for row in shown {
            let _ = writeln!(story, "  stored in {table}: {}", cut(&row));
        }
    }
    story
}

fn cut(line: &str) -> String {
    line.chars().take(LINE_LENGTH_MAX).collect()
}

fn lines(evidence: &Evidence, refutation: &Refutation) -> Vec<Line> {
    let about = |text: &str| refutation.about.iter().any(|needle| text.contains(needle.as_str()));
    let seen = evidence.history.iter().filter(|entry| is_answer(entry, &refutation.about) || about(&entry.to_string()));
    let mut lines: Vec<Line> = seen.map(|entry| (at(entry), entry.to_string())).collect();
    let logged = evidence.log.iter().map(|event| logged(evidence, event)).filter(|(_, line)| about(line));
    lines.extend(logged);
    lines.sort_by_key(|(at, _)| *at);
    let (first, last) = (lines.first().map_or(0, |(at, _)| *at), lines.last().map_or(0, |(at, _)| *at));
    let span = first - AROUND_MS.0..=last + AROUND_MS.1;
    let around = evidence.history.iter().filter(|entry| match entry.what {
        What::Done { .. } => span.contains(&at(entry)),
        What::Opened { .. } | What::Left { .. } => {
            span.contains(&at(entry)) && refutation.about.contains(&format!("@{}", entry.who))
        }
        _ => false,
    });
    lines.extend(around.map(|entry| (at(entry), entry.to_string())));
    lines.sort_by_key(|(at, _)| *at);
    lines
}

fn at(entry: &Entry) -> i64 {
    i64::try_from(entry.at_ms).unwrap_or(i64::MAX)
}

fn logged(evidence: &Evidence, event: &Event) -> Line {
    let Event { topic, partition, offset, id, kind, key, version, data, .. } = event;
    let at = (event.time - evidence.began).num_milliseconds();
    (at, format!("{at:>7} ms  log      {topic}/{partition}@{offset} {kind} {id} of {key} v{version} {data}"))
}

/// Answers name the request alone.
fn is_answer(entry: &Entry, about: &[String]) -> bool {
    let (What::Answered { request, .. } | What::Failed { request, .. }) = &entry.what else { return false };
    about.contains(&format!("#{request} "))
}
