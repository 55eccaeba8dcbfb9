//! What the router decides about callers and their operations, as pure functions: no router, no network, no clock.

pub mod caching;
pub mod cost;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod protocol;
pub mod rate;
pub mod scope;
pub mod signature;

use sha2::{Digest as _, Sha256};

/// SHA-256 in lowercase hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
