//! Each operation against the supergraph that is to come.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::checker::{Checker, Fit, Problem, deprecated};
use super::compare::{Changes, Compared};
use super::registered::{Operation, Owner};
use super::report::{Finding, Report};

/// The most that a call may cost, by whose it is.
pub struct Bounds {
    pub partner: u64,
    pub first_party: u64,
}

/// What was found out about a text, whoever's it is.
struct Examined {
    changes: Changes,
    /// What it will cost at most; nothing when it does not fit.
    cost: Option<u64>,
    cost_before: Option<u64>,
}

/// Looks at all of them. A text that several have is looked at once.
pub fn examine(operations: &[Operation], before: Option<&Checker>, after: &Checker, bounds: &Bounds) -> Report {
    let mut known: HashMap<Arc<str>, Examined> = HashMap::new();
    let (mut breaks, mut warnings) = (Vec::new(), Vec::new());
    let mut sorted: Vec<&Operation> = operations.iter().collect();
    sorted.sort_by_cached_key(|operation| {
        let calls = operation.usage.as_ref().map_or(0, |usage| usage.calls);
        (Reverse(calls), operation.owner.clone(), operation.name.clone(), operation.id.clone())
    });
    for operation in sorted {
        let examined =
            known.entry(Arc::clone(&operation.body)).or_insert_with(|| examine_one(&operation.body, before, after));
        let mut found =
            Changes { breaks: examined.changes.breaks.clone(), warnings: examined.changes.warnings.clone() };
        weigh(operation, examined, bounds, &mut found);
        for (problems, findings) in [(found.breaks, &mut breaks), (found.warnings, &mut warnings)] {
            if !problems.is_empty() {
                findings.push(Finding::new(operation, problems));
            }
        }
    }
    let of_partners = operations.iter().filter(|operation| matches!(operation.owner, Owner::Partner { .. })).count();
    Report {
        ok: breaks.is_empty(),
        against: String::new(),
        from: None,
        partner_operations: of_partners,
        first_party_operations: operations.len() - of_partners,
        breaks,
        warnings,
    }
}

fn examine_one(text: &str, before: Option<&Checker>, after: &Checker) -> Examined {
    let known = before.map(|checker| (checker, checker.read(text)));
    let cost_before = known.as_ref().and_then(|(_, fit)| fit.as_ref().ok().map(|fit| fit.cost));
    let fit = match after.check(text) {
        Ok(fit) => fit,
        Err(unfit) => {
            let problems = unfit.problems();
            // What does not work today is not broken by this change.
            let is_broken = matches!(known, Some((_, Err(_))));
            let changes = if is_broken {
                let today = Problem::of_all("it does not work today either");
                Changes { breaks: Vec::new(), warnings: std::iter::once(today).chain(problems).collect() }
            } else {
                Changes { breaks: problems, warnings: Vec::new() }
            };
            return Examined { changes, cost: None, cost_before };
        }
    };
    let mut changes = match &known {
        Some((checker, Ok(known))) => compare(checker, known, after, &fit),
        _ => Changes::default(),
    };
    changes.warnings.extend(deprecated(&fit.document));
    Examined { changes, cost: Some(fit.cost), cost_before }
}

fn compare(before: &Checker, known: &Fit, after: &Checker, fit: &Fit) -> Changes {
    let compared = Compared {
        before: before.schema(),
        document_before: &known.document,
        after: after.schema(),
        document_after: &fit.document,
    };
    compared.changes()
}

/// An operation that becomes dearer than its audience may ask for breaks; one that is already does not break by this.
fn weigh(operation: &Operation, examined: &Examined, bounds: &Bounds, found: &mut Changes) {
    let bound = match operation.owner {
        Owner::Partner { .. } => bounds.partner,
        Owner::FirstParty { .. } => bounds.first_party,
    };
    let Some(cost) = examined.cost.filter(|cost| *cost > bound) else { return };
    let before = examined.cost_before.or(operation.published_cost);
    let was = before.map(|before| format!(" (before: {before})")).unwrap_or_default();
    let problem = Problem::of_all(format!("it may cost {cost}{was}, and a call may cost {bound}"));
    let is_new = before.is_none_or(|before| before <= bound);
    if is_new { found.breaks.push(problem) } else { found.warnings.push(problem) }
}
