//! Signed requests: that the caller holds the key, said anew for each request and good for that one alone.
//!
//! The signature is HMAC-SHA256 (RFC 2104) over timestamp, nonce, method, path and query, and the hash of the body, each
//! on a line of its own. The secret is derived from what is stored of a key, so that it is never stored itself.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::{hex, sha256_hex};

/// What a signing secret is derived with.
const PURPOSE: &[u8] = b"velvet-signing-v1";
/// What a router's own batches of counted calls begin with, as far as they are signed.
const USAGE_PURPOSE: &[u8] = b"velvet-usage-v1\n";
/// How far the timestamp may be from the router's clock.
pub const AGE_MAX_SECONDS: u64 = 300;
/// How long a nonce is remembered: longer than any timestamp that would still be taken.
pub const NONCE_SECONDS: u64 = 600;
const NONCE_CHARS: std::ops::RangeInclusive<usize> = 16..=64;

type HmacSha256 = Hmac<Sha256>;

/// What a caller sends with a signed request.
#[derive(Debug, Clone)]
pub struct Signature {
    /// Seconds since 1970.
    pub timestamp: u64,
    /// 16 to 64 letters, digits, `-` and `_`; never used twice.
    pub nonce: String,
    /// The signature, 64 hexadecimal digits.
    pub signature: String,
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'r> {
    /// The method, in capitals.
    pub method: &'r str,
    /// The path with its query, as it was sent.
    pub path_and_query: &'r str,
    /// The body; empty when there is none.
    pub body: &'r [u8],
}

/// The secret that requests of a key are signed with, from the stored hash of the key: 64 hexadecimal digits.
pub fn signing_secret(key_hash: &str) -> String {
    hex(&mac(key_hash.as_bytes(), PURPOSE))
}

/// Signs; what a client does.
pub fn sign(secret: &str, timestamp: u64, nonce: &str, request: Signed<'_>) -> String {
    hex(&mac(secret.as_bytes(), message(timestamp, nonce, request).as_bytes()))
}

/// Signs a batch of counted calls with the stored hash of a key of the partner's: what only the router and the accounts
/// subgraph know. 64 hexadecimal digits.
pub fn sign_usage(key_hash: &str, batch: &[u8]) -> String {
    hex(&mac(key_hash.as_bytes(), &[USAGE_PURPOSE, batch].concat()))
}

impl Signature {
    /// The three values as they come in headers. Nothing when one is missing or not in its form.
    pub fn from_parts(timestamp: Option<&str>, nonce: Option<&str>, signature: Option<&str>) -> Option<Self> {
        let (nonce, signature) = (nonce?, signature?);
        let of_nonce = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (NONCE_CHARS.contains(&nonce.len()) && nonce.bytes().all(of_nonce)).then_some(())?;
        Some(Self { timestamp: timestamp?.parse().ok()?, nonce: nonce.to_owned(), signature: signature.to_owned() })
    }

    /// Whether it is a signature of that request with the key's secret, made within the time allowed. Whether the nonce
    /// is new is for the caller to find out.
    pub fn is_good(&self, key_hash: &str, now_seconds: u64, request: Signed<'_>) -> bool {
        let Some(given) = unhex(&self.signature) else {
            return false;
        };
        let secret = signing_secret(key_hash);
        let Ok(mut mac) = HmacSha256::new_from_slice(secret.as_bytes()) else {
            return false;
        };
        mac.update(message(self.timestamp, &self.nonce, request).as_bytes());
        mac.verify_slice(&given).is_ok() && self.timestamp.abs_diff(now_seconds) <= AGE_MAX_SECONDS
    }
}

fn message(timestamp: u64, nonce: &str, request: Signed<'_>) -> String {
    let body = sha256_hex(request.body);
    format!("{timestamp}\n{nonce}\n{}\n{}\n{body}", request.method, request.path_and_query)
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // A key of any length is taken, so that there is no error to report.
    HmacSha256::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        },
    )
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;
    const REQUEST: Signed<'_> = Signed { method: "POST", path_and_query: "/graphql?a=b", body: b"{}" };

    fn signed() -> (String, Signature) {
        let hash = sha256_hex(b"key");
        let nonce = "0123456789abcdef";
        let signature = sign(&signing_secret(&hash), NOW, nonce, REQUEST);
        (hash, Signature { timestamp: NOW, nonce: nonce.to_owned(), signature })
    }

    #[test]
    fn a_signature_is_good_for_its_request_and_time_alone() {
        let (hash, signature) = signed();
        assert!(signature.is_good(&hash, NOW, REQUEST));
        assert!(signature.is_good(&hash, NOW + AGE_MAX_SECONDS, REQUEST));
        assert!(signature.is_good(&hash, NOW - AGE_MAX_SECONDS, REQUEST));
        assert!(!signature.is_good(&hash, NOW + AGE_MAX_SECONDS + 1, REQUEST));
        assert!(!signature.is_good(&hash, NOW - AGE_MAX_SECONDS - 1, REQUEST));
        assert!(!signature.is_good(&sha256_hex(b"other"), NOW, REQUEST));
        for other in [
            Signed { method: "GET", ..REQUEST },
            Signed { path_and_query: "/graphql?a=c", ..REQUEST },
            Signed { body: b"{ }", ..REQUEST },
        ] {
            assert!(!signature.is_good(&hash, NOW, other), "{other:?}");
        }
        for tampered in [
            Signature { timestamp: NOW + 1, ..signature.clone() },
            Signature { nonce: "0123456789abcdeF".to_owned(), ..signature.clone() },
            Signature { signature: String::new(), ..signature.clone() },
            Signature { signature: format!("{}0", signature.signature), ..signature.clone() },
            Signature { signature: "\u{e9}".repeat(32), ..signature.clone() },
        ] {
            assert!(!tampered.is_good(&hash, NOW, REQUEST), "{tampered:?}");
        }
    }

    /// The one that docs/partners.md gives to partners.
    #[test]
    fn the_known_answer_is_good() {
        let hash = sha256_hex(format!("vk_test_abcdefghijkl_{}", "A".repeat(43)).as_bytes());
        let secret = "297b783e240afdfce6683b464ebf3e853861b740e38eded4963571370ab72d38";
        let request = Signed { body: br#"{"documentId":"me"}"#, ..REQUEST };
        let signature = "18b59975eb62b977716a18b7419b37db6ce1c87ae0b2fde13471ec58fb9a8fd9";
        assert_eq!(signing_secret(&hash), secret);
        assert_eq!(sign(secret, NOW, "0123456789abcdef", request), signature);
    }

    #[test]
    fn a_batch_is_signed_for_its_purpose_alone() {
        // The accounts subgraph checks the same pair.
        let signature = "ebe74ad7e8eb5922d11484a08de10c9189b2e14e49a2cbdba4a379dbeb54333c";
        assert_eq!(sign_usage(&"00".repeat(32), b"{}"), signature);
        assert_ne!(signing_secret(&"00".repeat(32)), signature);
    }

    #[test]
    fn headers_are_taken_only_in_their_form() {
        let from = |timestamp, nonce| Signature::from_parts(timestamp, nonce, Some("00"));
        assert!(from(Some("1"), Some("0123456789abcdef")).is_some());
        for (timestamp, nonce) in [
            (None, Some("0123456789abcdef")),
            (Some("1"), None),
            (Some("-1"), Some("0123456789abcdef")),
            (Some("1.5"), Some("0123456789abcdef")),
            (Some("1"), Some("0123456789abcde")),
            (Some("1"), Some("0123456789abcd:f")),
        ] {
            assert!(from(timestamp, nonce).is_none(), "{timestamp:?} {nonce:?}");
        }
        assert!(Signature::from_parts(Some("1"), Some(&"a".repeat(65)), Some("00")).is_none());
        assert!(Signature::from_parts(Some("1"), Some("0123456789abcdef"), None).is_none());
    }
}
