//! An operation on a socket. One that goes on after a loss outlives a subgraph that is back and cannot serve it yet.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::Listener;

/// What is run, and how far it is.
pub(super) struct Operation {
    pub(super) listener: Arc<dyn Listener>,
    /// How often the subgraph was asked for it.
    pub(super) asked: u32,
    /// Since when it waits for a subgraph to go on with it, after a loss.
    waits_since: Option<Instant>,
    /// How often the subgraph was back and could not go on.
    refusals: u32,
    /// Whether it could not this time.
    refused: bool,
}

/// What an operation's listener makes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is told.
    Told,
    /// It is not told that the subgraph could not go on.
    Kept,
    /// It is not told that the operation has ended either: the subgraph is to be asked again, after so many refusals.
    Refused(u32),
}

impl Operation {
    pub(super) fn new(listener: Arc<dyn Listener>) -> Self {
        Self { listener, asked: 0, waits_since: None, refusals: 0, refused: false }
    }

    /// Counts that the subgraph is asked, once more if it has been before.
    pub(super) fn ask(&mut self) {
        if self.asked > 0 && self.waits_since.is_none() {
            self.waits_since = Some(Instant::now());
        }
        self.asked += 1;
    }

    /// Hears a message of its own. A subgraph that is away for longer than `patience` is no longer waited for.
    pub(super) fn hear(&mut self, kind: &str, payload: Option<&str>, patience: Duration) -> Heard {
        let Some(since) = self.waits_since else {
            return Heard::Told;
        };
        if kind == "complete" && self.refused {
            return self.refuse();
        }
        if !payload.is_some_and(is_unavailable) || since.elapsed() >= patience {
            (self.waits_since, self.refusals) = (None, 0);
            return Heard::Told;
        }
        if kind == "error" {
            return self.refuse();
        }
        self.refused = true;
        Heard::Kept
    }

    fn refuse(&mut self) -> Heard {
        self.refused = false;
        self.refusals += 1;
        Heard::Refused(self.refusals)
    }
}

/// Whether these errors, or the errors of this response, say that the subgraph or something behind it is away.
fn is_unavailable(payload: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Payload {
        Errors(Vec<Error>),
        Response { errors: Vec<Error> },
    }
    #[derive(Deserialize)]
    struct Error {
        extensions: Option<Extensions>,
    }
    #[derive(Deserialize)]
    struct Extensions {
        code: Option<String>,
    }
    let Ok(Payload::Errors(errors) | Payload::Response { errors }) = serde_json::from_str(payload) else {
        return false;
    };
    let code = |error: &Error| {
        error.extensions.as_ref().and_then(|extensions| extensions.code.as_deref()) == Some("UNAVAILABLE")
    };
    errors.iter().any(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAY: &str = r#"{"data":null,"errors":[{"message":"away","extensions":{"code":"UNAVAILABLE"}}]}"#;
    const EVENT: &str = r#"{"data":{"texts":"one"}}"#;
    const PATIENCE: Duration = Duration::from_mins(1);

    struct Nobody;

    impl Listener for Nobody {
        fn payload(&self, _: u64) -> Option<serde_json::Value> {
            None
        }
        fn next(self: Arc<Self>, _: u64, _: bytes::Bytes) {}
        fn error(self: Arc<Self>, _: u64, _: &str) {}
        fn complete(self: Arc<Self>, _: u64) {}
    }

    fn asked(times: u32) -> Operation {
        let mut operation = Operation::new(Arc::new(Nobody));
        (0..times).for_each(|_| operation.ask());
        operation
    }

    #[test]
    fn who_asks_for_the_first_time_is_told_that_the_subgraph_is_away() {
        let mut operation = asked(1);
        assert_eq!(operation.hear("next", Some(AWAY), PATIENCE), Heard::Told);
        assert_eq!(operation.hear("complete", None, PATIENCE), Heard::Told);
    }

    #[test]
    fn one_that_goes_on_is_asked_for_until_it_does() {
        let mut operation = asked(2);
        for refusals in 1..4 {
            assert_eq!(operation.hear("next", Some(AWAY), PATIENCE), Heard::Kept);
            assert_eq!(operation.hear("complete", None, PATIENCE), Heard::Refused(refusals));
            operation.ask();
        }
        let errors = r#"[{"message":"away","extensions":{"code":"UNAVAILABLE"}}]"#;
        assert_eq!(operation.hear("error", Some(errors), PATIENCE), Heard::Refused(4));
        operation.ask();
        assert_eq!(operation.hear("next", Some(EVENT), PATIENCE), Heard::Told);
        // It stands: what it says from now on is its own.
        assert_eq!(operation.hear("next", Some(AWAY), PATIENCE), Heard::Told);
        assert_eq!(operation.hear("complete", None, PATIENCE), Heard::Told);
    }

    #[test]
    fn other_errors_and_an_end_of_patience_are_told() {
        let other =
            r#"{"data":null,"errors":[{"message":"no","extensions":{"code":"UNAUTHENTICATED"}},{"message":"bare"}]}"#;
        for (payload, patience) in [(other, PATIENCE), (AWAY, Duration::ZERO)] {
            let mut operation = asked(2);
            assert_eq!(operation.hear("next", Some(payload), patience), Heard::Told);
            assert_eq!(operation.hear("complete", None, patience), Heard::Told);
        }
    }
}
