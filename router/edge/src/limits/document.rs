//! An operation's text, parsed within bounds, with what was counted in it.

use std::collections::HashMap;

use apollo_compiler::ast::{self, Definition, FragmentDefinition, OperationDefinition, Selection};
use apollo_compiler::parser::Parser;
use apollo_compiler::{Name, Node};

use super::refusal::{Code, Refusal};
use super::shape::{Shape, Tally};

/// How deep selections and values may nest in the text itself; the parser recurses.
const RECURSION_MAX: usize = 200;

/// How deep selections may nest with all fragments written out, inline ones counted: what walks a document recurses.
pub(super) const NESTING_MAX: u64 = 256;

/// Why a text is no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is beyond a bound.
    Refused(Refusal),
    /// It is not GraphQL; whoever plans it says where.
    Malformed,
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A parsed document whose fragments come to an end and whose nesting is bounded: it can be walked by recursion.
#[derive(Debug, Clone)]
pub struct Document {
    operations: Vec<Node<OperationDefinition>>,
    fragments: HashMap<Name, Node<FragmentDefinition>>,
    shape: Shape,
}

impl Document {
    /// Parses a text of at most so many tokens, white space counted.
    pub fn parse(text: &str, tokens_max: u64) -> Result<Self, Unread> {
        let tokens_max = usize::try_from(tokens_max).unwrap_or(usize::MAX);
        let mut parser = Parser::new().token_limit(tokens_max).recursion_limit(RECURSION_MAX);
        let parsed = parser.parse_ast(text, "operation.graphql");
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        if parser.recursion_reached() > RECURSION_MAX {
            let (limit, actual) = (count(RECURSION_MAX), count(parser.recursion_reached()));
            return Err(Refusal::beyond(Code::OperationTooDeep, limit, actual).into());
        }
        if parser.tokens_reached() > tokens_max {
            return Err(Refusal::beyond(Code::TooManyTokens, count(tokens_max), count(parser.tokens_reached())).into());
        }
        let ast = parsed.map_err(|_| Unread::Malformed)?;
        Ok(Self::of(&ast, count(parser.tokens_reached()))?)
    }

    /// Counts a document that was parsed elsewhere, from so many tokens.
    pub fn of(ast: &ast::Document, tokens: u64) -> Result<Self, Refusal> {
        let mut operations = Vec::new();
        let mut fragments: HashMap<Name, Node<FragmentDefinition>> = HashMap::new();
        for definition in &ast.definitions {
            match definition {
                Definition::OperationDefinition(operation) => operations.push(operation.clone()),
                Definition::FragmentDefinition(fragment) => {
                    fragments.entry(fragment.name.clone()).or_insert_with(|| fragment.clone());
                }
                _ => {}
            }
        }
        let mut tally = Tally::default();
        for fragment in in_order(&fragments)? {
            tally.fragment(fragment)?;
        }
        for operation in &operations {
            tally.operation(operation)?;
        }
        let shape = tally.shape(tokens);
        Refusal::unless_within(Code::OperationTooDeep, NESTING_MAX, shape.nesting)?;
        Ok(Self { operations, fragments, shape })
    }

    /// What was counted: the most that any of its operations has.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The operation that is meant; nothing when there is none of the name, or no name to tell several apart.
    pub fn operation(&self, name: Option<&str>) -> Option<&OperationDefinition> {
        let found = match (name, self.operations.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), operations) => operations.iter().find(|operation| operation.name.as_deref() == Some(name)),
        };
        found.map(|operation| &**operation)
    }

    pub(crate) fn fragment(&self, name: &str) -> Option<&FragmentDefinition> {
        self.fragments.get(name).map(|fragment| &**fragment)
    }
}

/// Fragments after those that they contain. Without recursion: a chain of them may be as long as the text.
fn in_order(fragments: &HashMap<Name, Node<FragmentDefinition>>) -> Result<Vec<&FragmentDefinition>, Refusal> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Open,
        Done,
    }
    enum Step<'d> {
        Enter(&'d FragmentDefinition),
        Leave(&'d FragmentDefinition),
    }
    let mut ordered = Vec::with_capacity(fragments.len());
    let mut states: HashMap<&str, State> = HashMap::with_capacity(fragments.len());
    for start in fragments.values() {
        let mut steps = vec![Step::Enter(start)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Leave(fragment) => {
                    states.insert(fragment.name.as_str(), State::Done);
                    ordered.push(fragment);
                }
                Step::Enter(fragment) => match states.get(fragment.name.as_str()) {
                    Some(State::Done) => {}
                    Some(State::Open) => return Err(Refusal::new(Code::FragmentCycle)),
                    None => {
                        states.insert(fragment.name.as_str(), State::Open);
                        steps.push(Step::Leave(fragment));
                        let mut spreads = Vec::new();
                        collect_spreads(&fragment.selection_set, &mut spreads);
                        for name in spreads {
                            match states.get(name) {
                                Some(State::Open) => return Err(Refusal::new(Code::FragmentCycle)),
                                Some(State::Done) => {}
                                None => steps.extend(fragments.get(name).map(|inner| Step::Enter(inner))),
                            }
                        }
                    }
                },
            }
        }
    }
    Ok(ordered)
}

fn collect_spreads<'d>(selections: &'d [Selection], spreads: &mut Vec<&'d str>) {
    for selection in selections {
        match selection {
            Selection::Field(field) => collect_spreads(&field.selection_set, spreads),
            Selection::InlineFragment(fragment) => collect_spreads(&fragment.selection_set, spreads),
            Selection::FragmentSpread(spread) => spreads.push(spread.fragment_name.as_str()),
        }
    }
}
