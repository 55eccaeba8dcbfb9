//! Whether one operation fits a supergraph: it is parsed, validated, weighed and planned.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use apollo_compiler::executable::{Field, Selection, SelectionSet};
use apollo_compiler::parser::{LineColumn, Parser, SourceMap, SourceSpan};
use apollo_compiler::validation::{Valid, WithErrors};
use apollo_compiler::{ExecutableDocument, Schema};
use apollo_federation::Supergraph;
use apollo_federation::query_plan::query_planner::{QueryPlanOptions, QueryPlanner, QueryPlannerConfig};
use serde::Serialize;
use tower::BoxError;
use velvet_edge::cost::{self, Weights};
use velvet_edge::limits::Document;

/// What one operation may hold; the same as `limits` says for HTTP.
pub const TOKENS_MAX: usize = 15_000;
/// How deep it may nest.
pub const RECURSION_MAX: usize = 200;

/// How long planning one operation may take; what takes longer here would take as long at its first call.
const PLAN_MAX: Duration = Duration::from_secs(5);

/// Problems told of one operation.
const PROBLEMS_MAX: usize = 10;

/// Something that is wrong with an operation, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What it is, in a sentence.
    pub message: String,
    /// Its places; none when it is the operation as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<Place>,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Problem {
    /// Of the operation as a whole.
    pub fn of_all(message: impl Into<String>) -> Self {
        Self { message: message.into(), locations: Vec::new() }
    }

    /// At a place in the operation's text.
    pub fn at(message: impl Into<String>, span: Option<SourceSpan>, sources: &SourceMap) -> Self {
        let place = span.and_then(|span| span.line_column_range(sources)).map(|range| Place::from(range.start));
        Self { message: message.into(), locations: place.into_iter().collect() }
    }
}

impl From<LineColumn> for Place {
    fn from(LineColumn { line, column }: LineColumn) -> Self {
        Self { line, column }
    }
}

/// Why an operation does not fit.
#[derive(Debug)]
pub enum Unfit {
    /// It is not GraphQL, or not of this schema.
    Invalid(Vec<Problem>),
    /// Its cost cannot be told, with the reason.
    NoCost(String),
    /// It has no plan, with the planner's reason.
    NoPlan(String),
}

impl Unfit {
    /// As problems.
    pub fn problems(self) -> Vec<Problem> {
        match self {
            Self::Invalid(problems) => problems,
            Self::NoCost(reason) => vec![Problem::of_all(format!("its cost cannot be told: {reason}"))],
            Self::NoPlan(reason) => vec![Problem::of_all(format!("it cannot be planned: {reason}"))],
        }
    }
}

/// An operation that fits.
pub struct Fit {
    /// The operation, with its types.
    pub document: Valid<ExecutableDocument>,
    /// The most that any call of it costs.
    pub cost: u64,
}

/// Holds operations against one supergraph.
pub struct Checker {
    planner: QueryPlanner,
    weights: Weights,
}

impl Checker {
    /// Takes a composed schema. Takes a processor for a while.
    pub fn new(sdl: &str) -> Result<Self, BoxError> {
        let supergraph = Supergraph::new_with_router_specs(sdl)?;
        let annotated = Schema::parse(sdl, "supergraph.graphql").map_err(|invalid| invalid.errors.to_string())?;
        Ok(Self {
            planner: QueryPlanner::new(&supergraph, QueryPlannerConfig::default())?,
            weights: Weights::of(&annotated)?,
        })
    }

    /// What clients see of the supergraph.
    pub fn schema(&self) -> &Valid<Schema> {
        self.planner.api_schema().schema()
    }

    /// Looks at everything but the plan.
    pub fn read(&self, text: &str) -> Result<Fit, Unfit> {
        let schema = self.schema();
        let document = Parser::new()
            .token_limit(TOKENS_MAX)
            .recursion_limit(RECURSION_MAX)
            .parse_executable(schema, text, "operation.graphql")
            .map_err(|invalid| Unfit::Invalid(problems(&invalid)))?
            .validate(schema)
            .map_err(|invalid| Unfit::Invalid(problems(&invalid)))?;
        if document.operations.get(None).is_err() {
            return Err(Unfit::Invalid(vec![Problem::of_all("exactly one operation may stand in a text")]));
        }
        let cost = self.cost(text)?;
        Ok(Fit { document, cost })
    }

    /// Looks at everything. Takes a processor.
    pub fn check(&self, text: &str) -> Result<Fit, Unfit> {
        let fit = self.read(text)?;
        let started = Instant::now();
        let in_time = || {
            if started.elapsed() > PLAN_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let options =
            QueryPlanOptions { check_for_cooperative_cancellation: Some(&in_time), ..QueryPlanOptions::default() };
        let name = fit.document.operations.get(None).ok().and_then(|operation| operation.name.clone());
        match self.planner.build_query_plan(&fit.document, name, options) {
            Ok(_) => Ok(fit),
            Err(error) => Err(Unfit::NoPlan(error.to_string())),
        }
    }

    fn cost(&self, text: &str) -> Result<u64, Unfit> {
        let document =
            Document::parse(text, TOKENS_MAX as u64).map_err(|_| Unfit::NoCost("it is too large".to_owned()))?;
        let estimate = cost::estimate(&self.weights, &document, None, None);
        let estimate = estimate.map_err(|refusal| Unfit::NoCost(format!("{:?}", refusal.code)))?;
        estimate.map(|estimate| estimate.cost).ok_or_else(|| Unfit::NoCost("there is no operation".to_owned()))
    }
}

/// The deprecated fields and arguments that an operation uses.
pub fn deprecated(document: &ExecutableDocument) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    each_field(document, &mut |field, parent| {
        let mut note = |what: String, directives: &apollo_compiler::ast::DirectiveList, span| {
            let Some(directive) = directives.get("deprecated") else { return };
            let reason = directive.specified_argument_by_name("reason").and_then(|reason| reason.as_str());
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            if seen.insert(what.clone()) {
                found.push(Problem::at(format!("{what} is deprecated{reason}"), span, &document.sources));
            }
        };
        note(format!("{parent}.{}", field.name), &field.definition.directives, field.name.location());
        for argument in &field.arguments {
            let definition = field.definition.argument_by_name(&argument.name);
            if let Some(definition) = definition {
                let what = format!("{parent}.{}({}:)", field.name, argument.name);
                note(what, &definition.directives, argument.name.location());
            }
        }
    });
    found
}

/// Looks at each field of a document once, with the type that it is of.
fn each_field(document: &ExecutableDocument, look: &mut impl FnMut(&Field, &str)) {
    let of_operations = document.operations.iter().map(|operation| &operation.selection_set);
    let of_fragments = document.fragments.values().map(|fragment| &fragment.selection_set);
    for set in of_operations.chain(of_fragments) {
        each_field_of(set, look);
    }
}

fn each_field_of(set: &SelectionSet, look: &mut impl FnMut(&Field, &str)) {
    for selection in &set.selections {
        match selection {
            Selection::Field(field) => {
                look(field, &set.ty);
                each_field_of(&field.selection_set, look);
            }
            Selection::InlineFragment(fragment) => each_field_of(&fragment.selection_set, look),
            // Its own turn comes.
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn problems(invalid: &WithErrors<ExecutableDocument>) -> Vec<Problem> {
    let told = invalid.errors.iter().map(|error| error.to_json()).take(PROBLEMS_MAX);
    let told = told.map(|error| Problem {
        message: error.message,
        locations: error.locations.into_iter().map(Place::from).collect(),
    });
    told.collect()
}
