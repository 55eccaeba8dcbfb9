//! Sessions, and what stands in for one.

use super::account::Account;
use crate::service::Granted;
use async_graphql::{SimpleObject, Union};
use chrono::{DateTime, NaiveDate, Utc};
use velvet_kernel::graph::{InputInvalid, Pending};

/// A signed-in session. The access token is a JWT (15 minutes); the refresh token (30 days) is used once.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct Session {
    /// Goes into `Authorization: Bearer <access token>`.
    access_token: String,
    /// When the access token ends.
    access_token_expires_at: DateTime<Utc>,
    /// Gets the next session from `refreshSession`, once. Opaque.
    refresh_token: String,
    /// When the refresh token ends.
    refresh_token_expires_at: DateTime<Utc>,
    /// Whose session it is.
    account: Account,
}

impl Session {
    /// A session that was just granted.
    pub fn of(granted: Granted, today: NaiveDate) -> Self {
        Self {
            access_token: granted.access_token,
            access_token_expires_at: granted.access_expires_at,
            refresh_token: granted.refresh_token,
            refresh_token_expires_at: granted.refresh_expires_at,
            account: Account::of(granted.account, today),
        }
    }
}

/// The address belongs to an account already.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct EmailTaken {
    /// One sentence for the developer.
    pub reason: String,
}

/// The credentials do not open a session; which part of them is wrong is not told.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct CredentialsRefused {
    /// One sentence for the developer.
    pub reason: String,
}

/// Too many attempts to sign in have failed, on this account or from this address.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct TooManyAttempts {
    /// One sentence for the developer.
    pub reason: String,
    /// When another attempt is let in, in seconds.
    pub retry_after_seconds: i32,
}

/// The session is over, whatever it was before.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct LoggedOut {
    /// Always true.
    pub ok: bool,
}

/// What came of `register`.
#[derive(Debug, Clone, PartialEq, Eq, Union)]
pub(super) enum RegisterResult {
    /// The account is there and signed in.
    Session(Box<Session>),
    /// The address belongs to another account.
    EmailTaken(EmailTaken),
    /// The input is out of its bounds.
    InputInvalid(InputInvalid),
    /// Not decided yet.
    Pending(Pending),
}

/// What came of `login`.
#[derive(Debug, Clone, PartialEq, Eq, Union)]
pub(super) enum LoginResult {
    /// Signed in.
    Session(Box<Session>),
    /// The address or the password is wrong.
    CredentialsRefused(CredentialsRefused),
    /// Too many attempts have failed.
    TooManyAttempts(TooManyAttempts),
}

/// What came of `refreshSession`.
#[derive(Debug, Clone, PartialEq, Eq, Union)]
pub(super) enum RefreshSessionResult {
    /// The session goes on, with fresh tokens.
    Session(Box<Session>),
    /// The token is unknown, used or ended.
    CredentialsRefused(CredentialsRefused),
}

/// What came of `logout`.
#[derive(Debug, Clone, PartialEq, Eq, Union)]
pub(super) enum LogoutResult {
    /// Signed out.
    LoggedOut(LoggedOut),
}
