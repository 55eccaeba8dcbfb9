//! What one operation may hold, whatever it asks for. Everything here works in time that the request's length bounds.

mod body;
mod document;
mod refusal;
mod shape;
#[cfg(test)]
mod tests;

use apollo_compiler::response::JsonMap;
use serde_json_bytes::Value;

pub use body::Body;
pub use document::{Document, Unread};
pub use refusal::{Code, Refusal};
pub(crate) use shape::PAGE_ARGUMENTS;
pub use shape::Shape;

/// The bounds of an operation. Each is the most that still passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a request's body.
    pub body_bytes: u64,
    /// Tokens of the text, white space counted.
    pub tokens: u64,
    /// Fields within fields.
    pub depth: u64,
    /// Fields at the root.
    pub root_fields: u64,
    /// All fields, with fragments written out.
    pub fields: u64,
    /// Fields with an alias, with fragments written out.
    pub aliases: u64,
    /// Directives applied, with fragments written out.
    pub directives: u64,
    /// Entries of one page, as `first` or `last` asks for them.
    pub page: u64,
    /// The estimated cost.
    pub cost: u64,
}

impl Bounds {
    /// Whether a document with these variables is within the bounds; all but its cost, which needs the schema.
    pub fn admit(&self, document: &Document, variables: &JsonMap) -> Result<(), Refusal> {
        let shape = document.shape();
        for (code, limit, actual) in [
            (Code::TooManyTokens, self.tokens, shape.tokens),
            (Code::OperationTooDeep, self.depth, shape.depth),
            (Code::TooManyRootFields, self.root_fields, shape.root_fields),
            (Code::TooManyAliases, self.aliases, shape.aliases),
            (Code::TooManyDirectives, self.directives, shape.directives),
            (Code::TooManyFields, self.fields, shape.fields),
            (Code::ListTooLarge, self.page, shape.page.max(largest_page(shape, variables))),
        ] {
            Refusal::unless_within(code, limit, actual)?;
        }
        Ok(())
    }
}

/// The largest page that variables ask for: those that are used for one, and members of that name within inputs.
fn largest_page(shape: &Shape, variables: &JsonMap) -> u64 {
    let sizes = variables.iter().map(|(name, value)| {
        let named = if shape.page_variables.contains(name.as_str()) { size_of(value) } else { 0 };
        named.max(page_within(value))
    });
    sizes.max().unwrap_or_default()
}

fn page_within(value: &Value) -> u64 {
    match value {
        Value::Object(members) => {
            let sizes = members.iter().map(|(name, value)| {
                let named = if PAGE_ARGUMENTS.contains(&name.as_str()) { size_of(value) } else { 0 };
                named.max(page_within(value))
            });
            sizes.max().unwrap_or_default()
        }
        Value::Array(items) => items.iter().map(page_within).max().unwrap_or_default(),
        _ => 0,
    }
}

/// A number as a page's size. Clients may write whole numbers as `20.0`.
fn size_of(value: &Value) -> u64 {
    let Value::Number(number) = value else { return 0 };
    number.as_u64().unwrap_or_else(|| match number.as_f64() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates, as a size should")]
        Some(size) => size as u64,
        None => 0,
    })
}
