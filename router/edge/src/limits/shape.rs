//! What is counted in a document. Each fragment is counted once and its numbers are added wherever it is spread, so that
//! the work grows with the text and not with what the text stands for.

use std::collections::{HashMap, HashSet};

use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, DirectiveList, FragmentDefinition, OperationDefinition, Selection, Value};

use super::refusal::{Code, Refusal};

/// The arguments that say how many entries a page has.
pub(crate) const PAGE_ARGUMENTS: [&str; 2] = ["first", "last"];

/// Fields that tell the schema. What is selected below them is not counted: they are refused, or nothing is at stake.
const SCHEMA_FIELDS: [&str; 2] = ["__schema", "__type"];

/// What a document has: for each number, the most that any of its operations has. Fragments are written out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Tokens of the text, white space counted.
    pub tokens: u64,
    /// Fields within fields.
    pub depth: u64,
    /// All fields.
    pub fields: u64,
    /// Fields at the root.
    pub root_fields: u64,
    /// Fields with an alias.
    pub aliases: u64,
    /// Directives that are applied.
    pub directives: u64,
    /// Whether the schema is asked for.
    pub introspects: bool,
    /// Selections within selections, inline fragments and spreads counted.
    pub(super) nesting: u64,
    /// The largest page that the text itself asks for.
    pub(super) page: u64,
    /// The variables that say how large a page is.
    pub(super) page_variables: HashSet<Box<str>>,
}

/// What a list of selections amounts to.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    depth: u64,
    nesting: u64,
    fields: u64,
    /// Fields that stand directly in the list.
    top: u64,
    aliases: u64,
    directives: u64,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.depth = self.depth.max(other.depth);
        self.nesting = self.nesting.max(other.nesting);
        self.fields = self.fields.saturating_add(other.fields);
        self.top = self.top.saturating_add(other.top);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
    }
}

/// Counts in progress.
#[derive(Default)]
pub(super) struct Tally<'d> {
    fragments: HashMap<&'d str, Count>,
    shape: Shape,
}

impl<'d> Tally<'d> {
    /// Those that it contains must have come before.
    pub(super) fn fragment(&mut self, fragment: &'d FragmentDefinition) -> Result<(), Refusal> {
        let mut count = self.selections(&fragment.selection_set)?;
        count.directives = count.directives.saturating_add(count_directives(&fragment.directives)?);
        self.fragments.insert(fragment.name.as_str(), count);
        Ok(())
    }

    pub(super) fn operation(&mut self, operation: &'d OperationDefinition) -> Result<(), Refusal> {
        let mut count = self.selections(&operation.selection_set)?;
        count.directives = count.directives.saturating_add(count_directives(&operation.directives)?);
        for variable in &operation.variables {
            count.directives = count.directives.saturating_add(count_directives(&variable.directives)?);
            if let Some(default) = &variable.default_value {
                unique_keys(default)?;
                if let Value::Int(size) = &**default
                    && self.shape.page_variables.contains(variable.name.as_str())
                {
                    self.shape.page = self.shape.page.max(size_of(size.as_str()));
                }
                self.pages_within(default);
            }
        }
        let shape = &mut self.shape;
        shape.depth = shape.depth.max(count.depth);
        shape.nesting = shape.nesting.max(count.nesting);
        shape.fields = shape.fields.max(count.fields);
        shape.root_fields = shape.root_fields.max(count.top);
        shape.aliases = shape.aliases.max(count.aliases);
        shape.directives = shape.directives.max(count.directives);
        Ok(())
    }

    pub(super) fn shape(self, tokens: u64) -> Shape {
        Shape { tokens, ..self.shape }
    }

    fn selections(&mut self, selections: &'d [Selection]) -> Result<Count, Refusal> {
        let mut total = Count::default();
        for selection in selections {
            let mut count = match selection {
                Selection::Field(field) => {
                    self.arguments(&field.arguments)?;
                    let mut inner = if SCHEMA_FIELDS.contains(&field.name.as_str()) {
                        self.shape.introspects = true;
                        Count::default()
                    } else {
                        self.selections(&field.selection_set)?
                    };
                    inner.depth = inner.depth.saturating_add(1);
                    inner.fields = inner.fields.saturating_add(1);
                    inner.top = 1;
                    inner.aliases = inner.aliases.saturating_add(u64::from(field.alias.is_some()));
                    inner.directives = inner.directives.saturating_add(count_directives(&field.directives)?);
                    inner
                }
                Selection::InlineFragment(fragment) => {
                    let mut inner = self.selections(&fragment.selection_set)?;
                    inner.directives = inner.directives.saturating_add(count_directives(&fragment.directives)?);
                    inner
                }
                Selection::FragmentSpread(spread) => {
                    // One that is not there counts too: what doubles it each time must not look like nothing.
                    let missing = Count { fields: 1, top: 1, ..Count::default() };
                    let mut inner = self.fragments.get(spread.fragment_name.as_str()).copied().unwrap_or(missing);
                    inner.directives = inner.directives.saturating_add(count_directives(&spread.directives)?);
                    inner
                }
            };
            count.nesting = count.nesting.saturating_add(1);
            total.add(&count);
        }
        Ok(total)
    }

    fn arguments(&mut self, arguments: &[Node<Argument>]) -> Result<(), Refusal> {
        unique_arguments(arguments)?;
        for argument in arguments {
            self.page(argument.name.as_str(), &argument.value);
        }
        Ok(())
    }

    /// Notes how large a page a named value asks for, in itself or within.
    fn page(&mut self, name: &str, value: &Value) {
        if PAGE_ARGUMENTS.contains(&name) {
            match value {
                Value::Int(size) => self.shape.page = self.shape.page.max(size_of(size.as_str())),
                Value::Variable(variable) => {
                    self.shape.page_variables.insert(variable.as_str().into());
                }
                _ => {}
            }
        }
        self.pages_within(value);
    }

    fn pages_within(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| self.page(name.as_str(), value)),
            Value::List(items) => items.iter().for_each(|item| self.pages_within(item)),
            _ => {}
        }
    }
}

fn count_directives(directives: &DirectiveList) -> Result<u64, Refusal> {
    for directive in &directives.0 {
        unique_arguments(&directive.arguments)?;
    }
    Ok(u64::try_from(directives.0.len()).unwrap_or(u64::MAX))
}

/// Of an integer's text: nothing asks for less than nothing, and what does not fit is more than any bound.
fn size_of(text: &str) -> u64 {
    if text.starts_with('-') { 0 } else { text.parse().unwrap_or(u64::MAX) }
}

fn unique_arguments(arguments: &[Node<Argument>]) -> Result<(), Refusal> {
    unique(arguments.iter().map(|argument| argument.name.as_str()), arguments.len())?;
    arguments.iter().try_for_each(|argument| unique_keys(&argument.value))
}

fn unique_keys(value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Object(fields) => {
            unique(fields.iter().map(|(name, _)| name.as_str()), fields.len())?;
            fields.iter().try_for_each(|(_, value)| unique_keys(value))
        }
        Value::List(items) => items.iter().try_for_each(|item| unique_keys(item)),
        _ => Ok(()),
    }
}

fn unique<'n>(names: impl Iterator<Item = &'n str>, count: usize) -> Result<(), Refusal> {
    if count < 2 {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(count);
    let mut names = names;
    if names.all(|name| seen.insert(name)) { Ok(()) } else { Err(Refusal::new(Code::DuplicateArgument)) }
}
