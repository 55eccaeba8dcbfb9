//! Cursors: a place in a viewer's stream, signed, so that nobody reads another's or guesses one.

use crate::{graph::Cursor, id::UserId, store::Epoch};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _, digest::InvalidLength};
use sha2::Sha256;
use std::sync::Arc;
use uuid::Uuid;

/// Bytes of the signature that a cursor carries: 128 bits are beyond guessing.
const SIGNATURE_LENGTH: usize = 16;

/// An id in a Redis stream: milliseconds and a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// The number within the millisecond.
    pub seq: u64,
}

impl EntryId {
    /// Before everything.
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// Reads `ms-seq`.
    pub fn parse(text: &str) -> Option<Self> {
        let (ms, seq) = text.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What a cursor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The life of Redis' content that it belongs to.
    pub epoch: Epoch,
    /// The last entry that was seen.
    pub entry: EntryId,
}

/// The cursor was not made by us, or not for this viewer and stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgedCursor;

/// Signs cursors; clones share the key, as each open stream has one.
#[derive(Clone)]
pub struct CursorKey(Arc<Hmac<Sha256>>);

impl CursorKey {
    /// A key from the configured secret.
    pub fn new(secret: &str) -> Result<Self, InvalidLength> {
        Hmac::new_from_slice(secret.as_bytes()).map(|key| Self(Arc::new(key)))
    }

    /// The cursor of a place in a viewer's stream of a domain.
    pub fn seal(&self, domain: &str, user: UserId, place: Place) -> Cursor {
        let mut bytes = Vec::with_capacity(32 + SIGNATURE_LENGTH);
        bytes.extend_from_slice(place.epoch.0.as_bytes());
        bytes.extend_from_slice(&place.entry.ms.to_be_bytes());
        bytes.extend_from_slice(&place.entry.seq.to_be_bytes());
        let signature = self.sign(domain, user, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&signature[..SIGNATURE_LENGTH]);
        Cursor(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The place of a cursor that we made for this viewer's stream of this domain.
    pub fn open(&self, domain: &str, user: UserId, cursor: &Cursor) -> Result<Place, ForgedCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(&cursor.0).map_err(|_| ForgedCursor)?;
        let (place, signature) = bytes.split_at_checked(32).ok_or(ForgedCursor)?;
        if signature.len() != SIGNATURE_LENGTH {
            return Err(ForgedCursor);
        }
        self.sign(domain, user, place).verify_truncated_left(signature).map_err(|_| ForgedCursor)?;
        let number = |from: usize| place[from..from + 8].try_into().map(u64::from_be_bytes).map_err(|_| ForgedCursor);
        let epoch = Uuid::from_slice(&place[..16]).map_err(|_| ForgedCursor)?;
        Ok(Place { epoch: Epoch(epoch), entry: EntryId { ms: number(16)?, seq: number(24)? } })
    }

    fn sign(&self, domain: &str, user: UserId, place: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::clone(&self.0);
        mac.update(user.0.as_bytes());
        mac.update(place);
        mac.update(domain.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { epoch: Epoch(Uuid::from_u128(7)), entry: EntryId { ms: 1_700_000_000_000, seq: 3 } }
    }

    #[test]
    fn a_cursor_opens_for_its_viewer_and_stream_alone() {
        let key = CursorKey::new("a secret of at least 32 characters").unwrap();
        let (alice, bob) = (UserId(Uuid::from_u128(1)), UserId(Uuid::from_u128(2)));
        let cursor = key.seal("matching", alice, place());
        assert_eq!(key.open("matching", alice, &cursor), Ok(place()));
        assert_eq!(key.open("matching", bob, &cursor), Err(ForgedCursor));
        assert_eq!(key.open("messaging", alice, &cursor), Err(ForgedCursor));
    }

    #[test]
    fn any_change_of_a_cursor_is_a_forgery() {
        let key = CursorKey::new("a secret of at least 32 characters").unwrap();
        let alice = UserId(Uuid::from_u128(1));
        let sealed = URL_SAFE_NO_PAD.decode(key.seal("matching", alice, place()).0).unwrap();
        for index in 0..sealed.len() {
            let mut bytes = sealed.clone();
            bytes[index] ^= 1;
            let forged = Cursor(URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(key.open("matching", alice, &forged), Err(ForgedCursor), "byte {index}");
        }
        assert_eq!(key.open("matching", alice, &Cursor(String::new())), Err(ForgedCursor));
    }
}
