//! Why an operation is refused before it is planned.

use serde_json_bytes::{Value, json};

/// The codes that clients see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// Fields nest deeper than allowed, or fragments within fragments do.
    OperationTooDeep,
    /// The estimated cost is above the bound.
    OperationTooCostly,
    /// More aliases than allowed.
    TooManyAliases,
    /// More fields at the root than allowed.
    TooManyRootFields,
    /// More directives than allowed.
    TooManyDirectives,
    /// A longer text than allowed, counted in tokens.
    TooManyTokens,
    /// More fields than allowed, all fragments written out.
    TooManyFields,
    /// A page larger than allowed is asked for.
    ListTooLarge,
    /// A list that wants to be told its size is not, or is told twice.
    SlicingArgumentRequired,
    /// A fragment contains itself.
    FragmentCycle,
    /// An argument, or a field of an input, stands twice.
    DuplicateArgument,
    /// A key stands twice in one object of the request's JSON.
    DuplicateKey,
    /// The body is a list of operations.
    BatchRefused,
    /// The body is longer than allowed.
    BodyTooLarge,
    /// The schema is asked for, and is not told.
    IntrospectionDisabled,
    /// The process has too many requests at once.
    Overloaded,
}

impl Code {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::OperationTooDeep,
        Self::OperationTooCostly,
        Self::TooManyAliases,
        Self::TooManyRootFields,
        Self::TooManyDirectives,
        Self::TooManyTokens,
        Self::TooManyFields,
        Self::ListTooLarge,
        Self::SlicingArgumentRequired,
        Self::FragmentCycle,
        Self::DuplicateArgument,
        Self::DuplicateKey,
        Self::BatchRefused,
        Self::BodyTooLarge,
        Self::IntrospectionDisabled,
        Self::Overloaded,
    ];

    /// As it stands in `extensions.code`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OperationTooDeep => "OPERATION_TOO_DEEP",
            Self::OperationTooCostly => "OPERATION_TOO_COSTLY",
            Self::TooManyAliases => "TOO_MANY_ALIASES",
            Self::TooManyRootFields => "TOO_MANY_ROOT_FIELDS",
            Self::TooManyDirectives => "TOO_MANY_DIRECTIVES",
            Self::TooManyTokens => "TOO_MANY_TOKENS",
            Self::TooManyFields => "TOO_MANY_FIELDS",
            Self::ListTooLarge => "LIST_TOO_LARGE",
            Self::SlicingArgumentRequired => "SLICING_ARGUMENT_REQUIRED",
            Self::FragmentCycle => "FRAGMENT_CYCLE",
            Self::DuplicateArgument => "DUPLICATE_ARGUMENT",
            Self::DuplicateKey => "DUPLICATE_KEY",
            Self::BatchRefused => "BATCH_REFUSED",
            Self::BodyTooLarge => "BODY_TOO_LARGE",
            Self::IntrospectionDisabled => "INTROSPECTION_DISABLED",
            Self::Overloaded => "OVERLOADED",
        }
    }

    /// One sentence for the developer.
    const fn message(self) -> &'static str {
        match self {
            Self::OperationTooDeep => "the operation nests too deep",
            Self::OperationTooCostly => "the operation costs too much",
            Self::TooManyAliases => "the operation has too many aliases",
            Self::TooManyRootFields => "the operation has too many fields at its root",
            Self::TooManyDirectives => "the operation has too many directives",
            Self::TooManyTokens => "the operation's text is too long",
            Self::TooManyFields => "the operation has too many fields",
            Self::ListTooLarge => "a larger page is asked for than there is",
            Self::SlicingArgumentRequired => "a list needs exactly one argument that says its size",
            Self::FragmentCycle => "a fragment contains itself",
            Self::DuplicateArgument => "an argument stands twice",
            Self::DuplicateKey => "a key stands twice in an object of the request",
            Self::BatchRefused => "a request is one operation, not a list of them",
            Self::BodyTooLarge => "the request's body is too long",
            Self::IntrospectionDisabled => "the schema cannot be asked for here",
            Self::Overloaded => "the router has too many requests at once",
        }
    }
}

/// One reason is enough: what is found first is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", code.message())]
pub struct Refusal {
    /// What was found.
    pub code: Code,
    /// The bound that was passed, where there is one.
    pub limit: Option<u64>,
    /// What the operation has instead; at least so much where counting ended at the bound.
    pub actual: Option<u64>,
}

impl Refusal {
    /// Without a number to tell.
    pub const fn new(code: Code) -> Self {
        Self { code, limit: None, actual: None }
    }

    /// A bound that was passed.
    pub const fn beyond(code: Code, limit: u64, actual: u64) -> Self {
        Self { code, limit: Some(limit), actual: Some(actual) }
    }

    /// An error when `actual` is above `limit`.
    pub const fn unless_within(code: Code, limit: u64, actual: u64) -> Result<(), Self> {
        if actual > limit { Err(Self::beyond(code, limit, actual)) } else { Ok(()) }
    }

    /// As a member of a response's `errors`.
    pub fn to_graphql(&self) -> Value {
        let mut error = json!({ "message": self.to_string(), "extensions": { "code": self.code.as_str() } });
        for (name, number) in [("limit", self.limit), ("actual", self.actual)] {
            if let Some(number) = number {
                error["extensions"][name] = number.into();
            }
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_in_the_list_at_its_number() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, number);
        }
    }

    #[test]
    fn a_refusal_tells_the_bound_and_what_was_found() {
        assert_eq!(
            Refusal::beyond(Code::OperationTooDeep, 3, 4).to_graphql(),
            json!({
                "message": "the operation nests too deep",
                "extensions": { "code": "OPERATION_TOO_DEEP", "limit": 3, "actual": 4 },
            })
        );
        let batch = Refusal::new(Code::BatchRefused).to_graphql();
        assert_eq!(batch["extensions"], json!({ "code": "BATCH_REFUSED" }));
    }
}
