//! The domain's values: what they may be, and how they are read from what clients send.
//!
//! A reader returns what is wrong in one sentence for the client's developer; the caller collects
//! these per field, so that one answer names all problems of an input.

mod email;
mod partner;
mod password;
mod place;
mod preferences;
mod profile;
mod usage;

pub use email::{EMAIL_SIZE_MAX_BYTES, Email};
pub use partner::{
    KeyMode, Limits, LimitsChange, OperationKind, PartnerId, SCOPES_MAX, Scope, Slug, client_name, operation_id,
    operation_name, partner_name, scopes,
};
pub use password::{PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN, Password};
pub use place::{CELL_SIZE_MILLIDEGREES, Cell, latitude, longitude};
pub use preferences::{DISTANCE_KM_MAX, GENDERS, PREFERRED_AGE_MAX, PREFERRED_AGE_MIN, Preferences, PreferencesChange};
pub use profile::{
    AGE_MAX_YEARS, AGE_MIN_YEARS, AVATAR_URL_SIZE_MAX_BYTES, BIO_LENGTH_MAX, DISPLAY_NAME_LENGTH_MAX, age_on,
    avatar_url, bio, birth_date, display_name,
};
pub use usage::{LATENCY_BOUNDS_MS, LATENCY_BUCKETS, Tally, hour_of, month_of};

use async_graphql::Enum;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A value, or what is wrong with its text.
pub type Parsed<T> = Result<T, Cow<'static, str>>;

/// The longest idempotency key.
pub const IDEMPOTENCY_KEY_LENGTH_MAX: usize = 128;

/// Which side of the platform a user is on; chosen at registration, then fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Side {
    /// Subscribes, buys and tips.
    Patron,
    /// May publish and sell content.
    Creator,
}

/// What an operator has found out about who a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Enum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerificationStatus {
    /// Nothing was asked for yet.
    #[default]
    Unverified,
    /// Asked for, not decided.
    Pending,
    /// The user is who they say they are.
    Verified,
    /// The user could not show it.
    Rejected,
}

impl VerificationStatus {
    /// The status as operators write it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "unverified" => Some(Self::Unverified),
            "pending" => Some(Self::Pending),
            "verified" => Some(Self::Verified),
            "rejected" => Some(Self::Rejected),
            _ => None,
        }
    }
}

/// A client's key of a request: 1 to 128 characters.
pub fn idempotency_key(text: &str) -> Parsed<&str> {
    if (1..=IDEMPOTENCY_KEY_LENGTH_MAX).contains(&text.chars().count()) {
        Ok(text)
    } else {
        Err("must have 1 to 128 characters".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_has_1_to_128_characters() {
        assert!(idempotency_key("").is_err());
        assert!(idempotency_key("k").is_ok());
        assert!(idempotency_key(&"ü".repeat(128)).is_ok());
        assert!(idempotency_key(&"k".repeat(129)).is_err());
    }

    #[test]
    fn a_status_reads_back_as_it_is_stored() {
        for status in ["unverified", "pending", "verified", "rejected"] {
            let parsed = VerificationStatus::parse(status).unwrap();
            assert_eq!(serde_json::to_value(parsed).unwrap(), status);
        }
        assert_eq!(VerificationStatus::parse("Verified"), None);
    }
}
