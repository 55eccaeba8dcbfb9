//! One table of faults: what a caller sees in `errors[]`, and what it should do about it.
//!
//! What a caller can foresee (taken, not found, quota used up) is a member of a payload's union
//! instead. [`Fault`] has no conversion from arbitrary errors: a stray `?` on a store's error does
//! not compile, and a store's text can never reach a client.

use async_graphql::ErrorExtensionValues;
use std::borrow::Cow;

/// The codes of `errors[].extensions.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No valid token. Sign in or refresh the session, then ask again.
    Unauthenticated,
    /// The viewer may not do this. A retry does not help.
    Forbidden,
    /// What was named does not exist for the viewer. A retry does not help.
    NotFound,
    /// The request itself is wrong. Mend it before a retry.
    InvalidArgument,
    /// Something else happened first. Read again, then decide.
    Conflict,
    /// Too much, too fast. Retry after the stated seconds.
    RateLimited,
    /// A part is down or slow. Retry with the same idempotency key.
    Unavailable,
    /// A defect of ours. A retry may or may not help; it has been logged.
    Internal,
}

impl Code {
    /// The code as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Conflict => "CONFLICT",
            Self::RateLimited => "RATE_LIMITED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// What resolvers return when they cannot answer.
///
/// It has no `Display` on purpose: async-graphql takes anything that displays as an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    code: Code,
    message: Cow<'static, str>,
    durable: bool,
    retry_after_seconds: Option<u32>,
}

impl Fault {
    /// A fault with a message for the client's developer; never a store's text.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), durable: false, retry_after_seconds: None }
    }

    /// No valid token came with the request.
    pub fn unauthenticated() -> Self {
        Self::new(Code::Unauthenticated, "sign in first: this needs a valid access token")
    }

    /// The viewer may not do this.
    pub fn forbidden() -> Self {
        Self::new(Code::Forbidden, "the viewer may not do this")
    }

    /// The argument does not parse or is out of bounds.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// A part is down; nothing was promised.
    pub fn unavailable() -> Self {
        Self::new(Code::Unavailable, "temporarily unavailable; retry with the same idempotency key")
    }

    /// The request is durable, but its outcome is not known yet.
    pub fn outcome_pending() -> Self {
        Self {
            durable: true,
            ..Self::new(
                Code::Unavailable,
                "accepted and durable, outcome not yet known; the same idempotency key gives it later",
            )
        }
    }

    /// A defect of ours, to be logged where it is made.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "something went wrong on our side")
    }

    /// Says when a retry is worth it.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The fault's code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence for the client's developer.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// When a retry is worth it, in seconds, if that is known.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        self.retry_after_seconds
    }
}

impl From<Fault> for async_graphql::Error {
    fn from(fault: Fault) -> Self {
        let mut error = Self::new(fault.message);
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", fault.code.as_str());
        if fault.durable {
            extensions.set("durable", true);
        }
        if let Some(seconds) = fault.retry_after_seconds {
            extensions.set("retryAfterSeconds", seconds);
        }
        error.extensions = Some(extensions);
        error
    }
}

impl From<crate::store::Error> for Fault {
    fn from(error: crate::store::Error) -> Self {
        tracing::warn!(error = %crate::telemetry::chain(&error), "store.unavailable");
        Self::unavailable()
    }
}

impl From<crate::log::AppendError> for Fault {
    fn from(error: crate::log::AppendError) -> Self {
        tracing::warn!(error = %crate::telemetry::chain(&error), "log.append_failed");
        Self::unavailable()
    }
}
