//! Email addresses, and the form in which they are unique.

use super::Parsed;
use sha2::{Digest as _, Sha256};

/// The longest address, in bytes (RFC 5321, 4.5.3.1.3, without the angle brackets).
pub const EMAIL_SIZE_MAX_BYTES: usize = 254;
/// The longest part before the @, in bytes (RFC 5321, 4.5.3.1.1).
const LOCAL_SIZE_MAX_BYTES: usize = 64;
/// The longest label of a domain, in bytes (RFC 1035, 2.3.4).
const LABEL_SIZE_MAX_BYTES: usize = 63;

/// An address that could receive mail; whether it does, only mail can show.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    written: String,
    normalized: String,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // No personal data in logs.
        f.write_str("Email")
    }
}

impl Email {
    /// Reads an address: trimmed, one @, at most 64 bytes before it, a domain with a dot after it, no
    /// spaces, at most 254 bytes.
    pub fn parse(text: &str) -> Parsed<Self> {
        let written = text.trim();
        let normalized = written.to_lowercase();
        if written.len() > EMAIL_SIZE_MAX_BYTES || normalized.len() > EMAIL_SIZE_MAX_BYTES {
            return Err("must have at most 254 bytes".into());
        }
        if written.chars().any(|char| char.is_whitespace() || char.is_control()) {
            return Err("must not have spaces or control characters".into());
        }
        let Some((local, domain)) = written.split_once('@').filter(|(_, domain)| !domain.contains('@')) else {
            return Err("must have one @".into());
        };
        if local.is_empty() || local.len() > LOCAL_SIZE_MAX_BYTES {
            return Err("must have 1 to 64 bytes before the @".into());
        }
        let sound = |label: &str| {
            (1..=LABEL_SIZE_MAX_BYTES).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
        };
        if !domain.contains('.') || !domain.split('.').all(sound) {
            return Err("must have a domain such as example.com after the @".into());
        }
        Ok(Self { written: written.to_owned(), normalized })
    }

    /// The address as its owner writes it.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The form in which addresses are unique: lower case.
    pub fn normalized(&self) -> &str {
        &self.normalized
    }

    /// What stands for the address in keys, so that no address is in a key: its SHA-256 in hex.
    pub fn digest(&self) -> String {
        digest_of(&self.normalized)
    }

    /// The digest of an address that is stored as its owner wrote it.
    pub fn digest_of_stored(written: &str) -> String {
        digest_of(&written.trim().to_lowercase())
    }
}

fn digest_of(normalized: &str) -> String {
    format!("{:x}", Sha256::digest(normalized.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_unique_whatever_its_case() {
        let (one, other) = (Email::parse(" Alice@Example.COM ").unwrap(), Email::parse("alice@example.com").unwrap());
        assert_eq!(one.normalized(), other.normalized());
        assert_eq!(one.digest(), other.digest());
        assert_eq!(one.as_written(), "Alice@Example.COM");
        assert_eq!(Email::digest_of_stored(one.as_written()), one.digest());
    }

    #[test]
    fn the_local_part_has_1_to_64_bytes() {
        assert!(Email::parse("@example.com").is_err());
        assert!(Email::parse("a@example.com").is_ok());
        assert!(Email::parse(&format!("{}@example.com", "a".repeat(64))).is_ok());
        assert!(Email::parse(&format!("{}@example.com", "a".repeat(65))).is_err());
    }

    #[test]
    fn the_whole_has_at_most_254_bytes() {
        let label = "d".repeat(61);
        let address = |last: usize| format!("{}@{label}.{label}.{label}.{}", "a".repeat(64), "e".repeat(last));
        assert_eq!(address(3).len(), 254);
        assert!(Email::parse(&address(3)).is_ok());
        assert!(Email::parse(&address(4)).is_err());
        // İ takes three bytes in lower case and two in upper case.
        assert!(Email::parse(&format!("İ{}", &address(3)[2..])).is_err());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "alice",
            "alice@",
            "alice@example",
            "alice@.com",
            "alice@example.",
            "alice@exa..mple.com",
            "a@b@example.com",
            "ali ce@example.com",
            "alice@exa\tmple.com",
            "alice\0@example.com",
            "alice@-example.com",
            "alice@example-.com",
            "alice\u{a0}@example.com",
        ] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
        assert!(Email::parse(&format!("alice@{}.com", "d".repeat(63))).is_ok());
        assert!(Email::parse(&format!("alice@{}.com", "d".repeat(64))).is_err());
    }
}
