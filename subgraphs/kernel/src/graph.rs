//! Types that several subgraphs export. Federation wants them identical in each, so they stand here once.

pub mod annotations;

use annotations::{cache_control, list_size};
use async_graphql::{Enum, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// Where a page lies in its list.
#[derive(Debug, Clone, Default, PartialEq, Eq, SimpleObject)]
#[graphql(shareable, directive = cache_control::apply(None, None, Some(true)))]
pub struct PageInfo {
    /// Whether more follows the last edge.
    pub has_next_page: bool,
    /// Whether something precedes the first edge.
    pub has_previous_page: bool,
    /// The cursor of the first edge.
    pub start_cursor: Option<String>,
    /// The cursor of the last edge.
    pub end_cursor: Option<String>,
}

/// What is wrong with the input, field by field.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(shareable)]
pub struct InputInvalid {
    /// One sentence for the developer.
    pub reason: String,
    /// Each field that was refused.
    #[graphql(directive = list_size::apply(Some(10), None, None, None))]
    pub fields: Vec<FieldProblem>,
}

/// One refused field of an input.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(shareable)]
pub struct FieldProblem {
    /// The field's name in the input, with dots for nested ones.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// Collects the problems of an input, so that a caller learns of all of them at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<FieldProblem>);

impl Problems {
    /// Notes one problem.
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldProblem { field: field.to_owned(), message: message.into() });
    }

    /// Keeps the value of a field, or notes its problem.
    pub fn check<T, E: std::fmt::Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|problem| self.add(field, problem.to_string())).ok()
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Problems> for InputInvalid {
    fn from(problems: Problems) -> Self {
        Self { reason: "the input has fields out of their bounds".to_owned(), fields: problems.0 }
    }
}

/// Nobody by this id is there for the viewer: absent, hidden and blocked look the same.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(shareable)]
pub struct UserNotFound {
    /// One sentence for the developer.
    pub reason: String,
}

impl UserNotFound {
    /// The one answer there is.
    pub fn new() -> Self {
        Self { reason: "there is no such user".to_owned() }
    }
}

impl Default for UserNotFound {
    fn default() -> Self {
        Self::new()
    }
}

/// Accepted and durable, not yet decided: ask again with the same idempotencyKey.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(shareable)]
pub struct Pending {
    /// One sentence for the developer.
    pub reason: String,
    /// When asking again is worth it, in seconds.
    pub retry_after_seconds: i32,
}

/// The stream could not go on where the cursor stood: refetch what it covers, then go on.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(shareable)]
pub struct StreamReset {
    /// Where the stream goes on from.
    pub cursor: Option<Cursor>,
    /// Why the stream had to start anew.
    pub reason: String,
}

/// An opaque, signed position in a live stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// The longest cursor that we read.
const CURSOR_LENGTH_MAX: usize = 512;

#[Scalar]
impl ScalarType for Cursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) if text.len() <= CURSOR_LENGTH_MAX => Ok(Self(text)),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// A day of the calendar, as YYYY-MM-DD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Date(pub NaiveDate);

#[Scalar]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .map(Self)
                .map_err(|_| InputValueError::custom("a date is written YYYY-MM-DD")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.format("%Y-%m-%d").to_string())
    }
}

/// A gender, as people state it of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Gender {
    /// Female.
    Female,
    /// Male.
    Male,
    /// Neither of the two.
    NonBinary,
}

/// The longest page of any list.
pub const PAGE_SIZE_MAX: usize = 100;

/// How many entries a caller asked for, within bounds.
pub fn page_size(first: Option<i32>, default: usize) -> Result<usize, crate::fault::Fault> {
    match first {
        None => Ok(default),
        Some(first) => usize::try_from(first)
            .ok()
            .filter(|size| (1..=PAGE_SIZE_MAX).contains(size))
            .ok_or_else(|| crate::fault::Fault::invalid("a page has 1 to 100 entries")),
    }
}
