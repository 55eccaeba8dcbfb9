//! What the check has found, for people and for programs.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::checker::Problem;
use super::registered::{Operation, Owner};

/// The whole of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether nothing would break.
    pub ok: bool,
    /// The supergraph that is to come.
    pub against: String,
    /// The supergraph before, when it was given: without it, variables and answers are not compared.
    pub from: Option<String>,
    /// Operations of partners that were looked at.
    pub partner_operations: usize,
    /// First-party operations that were looked at.
    pub first_party_operations: usize,
    /// What would break.
    pub breaks: Vec<Finding>,
    /// What would not, and should be known.
    pub warnings: Vec<Finding>,
}

/// What was found out about one operation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    id: String,
    name: Option<String>,
    /// The partner's short name; null when it is one of our own clients'.
    partner: Option<String>,
    client: String,
    /// Calls of all time; null when there was never one.
    calls: Option<u64>,
    last_called_at: Option<String>,
    problems: Vec<Problem>,
}

impl Finding {
    pub fn new(operation: &Operation, problems: Vec<Problem>) -> Self {
        let (partner, client) = match &operation.owner {
            Owner::Partner { slug, client } => (Some(slug.clone()), client.clone()),
            Owner::FirstParty { client } => (None, client.clone()),
        };
        Self {
            id: operation.id.clone(),
            name: operation.name.clone(),
            partner,
            client,
            calls: operation.usage.as_ref().map(|usage| usage.calls),
            last_called_at: operation.usage.as_ref().and_then(|usage| usage.last_called_at.clone()),
            problems,
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} of partners and {} of our own clients were held against it.",
            self.against,
            counted(self.partner_operations, "operation"),
            self.first_party_operations,
        )?;
        if self.from.is_none() {
            writeln!(f, "Without --from, variables and the form of answers were not compared.")?;
        }
        listed(f, "WOULD BREAK", &self.breaks)?;
        listed(f, "WARNING", &self.warnings)?;
        match self.breaks.len() {
            0 => writeln!(f, "\nNothing would break."),
            count => writeln!(f, "\n{} would break.", counted(count, "operation")),
        }
    }
}

fn listed(f: &mut Formatter<'_>, heading: &str, findings: &[Finding]) -> fmt::Result {
    for finding in findings {
        let name = finding.name.as_deref().unwrap_or("an operation without a name");
        writeln!(f, "\n{heading}: {name} ({})", finding.id)?;
        match &finding.partner {
            Some(partner) => writeln!(f, "  of partner {partner}, client {}; {}", finding.client, called(finding))?,
            None => writeln!(f, "  of our own client {}", finding.client)?,
        }
        for problem in &finding.problems {
            let places: Vec<_> = problem.locations.iter().map(|at| format!("{}:{}", at.line, at.column)).collect();
            let places = if places.is_empty() { String::new() } else { format!("{} ", places.join(", ")) };
            writeln!(f, "    {places}{}", problem.message)?;
        }
    }
    Ok(())
}

fn called(finding: &Finding) -> String {
    let last = finding.last_called_at.as_deref().map(|at| format!(", last at {at}")).unwrap_or_default();
    match finding.calls {
        None | Some(0) => "never called".to_owned(),
        Some(calls) => {
            format!("called {}{last}", if calls == 1 { "once".to_owned() } else { format!("{calls} times") })
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
