//! What came of a call.

use apollo_router::services::{router, supergraph};
use apollo_router::{Context, graphql};
use http::StatusCode;

use crate::plugins::partners::{caller, mark, marked};

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed, without errors.
    Ok,
    /// It was executed with errors, or given up.
    Error,
    /// It was not let through.
    Refused,
    /// It was not let through, because there were too many.
    RateLimited,
}

/// The graph has answered.
#[derive(Clone, Copy)]
struct Executed {
    with_errors: bool,
}

impl Outcome {
    /// What an answer says.
    pub(super) fn of(response: &router::Response) -> Self {
        let executed = marked::<Executed>(&response.context);
        Self::from_parts(response.response.status(), executed.map(|executed| executed.with_errors))
    }

    fn from_parts(status: StatusCode, errors: Option<bool>) -> Self {
        match (status, errors) {
            (StatusCode::TOO_MANY_REQUESTS, _) => Self::RateLimited,
            // Without an answer of the graph, nothing was executed.
            (status, None) if !status.is_success() && !status.is_redirection() => Self::Refused,
            (status, _) if status.is_client_error() => Self::Refused,
            (status, _) if status.is_server_error() => Self::Error,
            (_, Some(true)) => Self::Error,
            (_, Some(false) | None) => Self::Ok,
        }
    }

    pub(super) fn is_let_through(self) -> bool {
        matches!(self, Self::Ok | Self::Error)
    }
}

/// Notes that a partner's operation was run without errors, for one that passes by the graph's own service.
pub fn executed(context: &Context) {
    if caller(context).is_some() {
        mark(context, Executed { with_errors: false });
    }
}

/// Notes whether the graph's answer to a partner has errors. Of an answer in parts the first is looked at.
pub(in super::super) fn noted(response: supergraph::Response) -> supergraph::Response {
    let context: Context = response.context.clone();
    if caller(&context).is_none() {
        return response;
    }
    response.map_stream(move |part: graphql::Response| {
        if marked::<Executed>(&context).is_none() {
            mark(&context, Executed { with_errors: !part.errors.is_empty() });
        }
        part
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_came_of_the_call() {
        for (status, errors, expected) in [
            (200, Some(false), Outcome::Ok),
            (200, Some(true), Outcome::Error),
            (304, Some(false), Outcome::Ok),
            (400, Some(true), Outcome::Refused),
            (400, None, Outcome::Refused),
            (404, None, Outcome::Refused),
            (429, None, Outcome::RateLimited),
            (429, Some(true), Outcome::RateLimited),
            (500, Some(true), Outcome::Error),
            (503, None, Outcome::Refused),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Outcome::from_parts(status, errors), expected, "{status} {errors:?}");
        }
    }
}
