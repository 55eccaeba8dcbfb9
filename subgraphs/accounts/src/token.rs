//! Refresh tokens: opaque to clients, and never in the log. What the log has is their SHA-256.

use argon2::password_hash::rand_core::{OsRng, RngCore as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use velvet_kernel::id::UserId;

const ID_SIZE_BYTES: usize = 16;
const SECRET_SIZE_BYTES: usize = 32;
const TOKEN_SIZE_BYTES: usize = 2 * ID_SIZE_BYTES + SECRET_SIZE_BYTES;
/// The token's text is this long, always.
const TEXT_LENGTH: usize = (TOKEN_SIZE_BYTES * 8).div_ceil(6);

/// A refresh token: whose, of which session, and a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RefreshToken {
    /// Whose.
    pub user: UserId,
    /// Of which session.
    pub family_id: Uuid,
    secret: [u8; SECRET_SIZE_BYTES],
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefreshToken").field("user", &self.user).finish_non_exhaustive()
    }
}

impl RefreshToken {
    /// A token with a secret that nobody had before, from the operating system's randomness.
    pub fn fresh(user: UserId, family_id: Uuid) -> Self {
        let mut secret = [0; SECRET_SIZE_BYTES];
        OsRng.fill_bytes(&mut secret);
        Self { user, family_id, secret }
    }

    /// Reads a token's text; nothing when we never made such a text.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_LENGTH {
            return None;
        }
        let bytes: [u8; TOKEN_SIZE_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (user, rest) = bytes.split_first_chunk::<ID_SIZE_BYTES>()?;
        let (family_id, secret) = rest.split_first_chunk::<ID_SIZE_BYTES>()?;
        Some(Self {
            user: UserId(Uuid::from_bytes(*user)),
            family_id: Uuid::from_bytes(*family_id),
            secret: secret.try_into().ok()?,
        })
    }

    /// The token as its owner keeps it.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes())
    }

    /// What the log knows it by.
    pub fn hash(&self) -> String {
        format!("{:x}", Sha256::digest(self.bytes()))
    }

    fn bytes(&self) -> Vec<u8> {
        [self.user.0.as_bytes().as_slice(), self.family_id.as_bytes(), &self.secret].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> UserId {
        UserId(Uuid::from_u128(0xa11ce))
    }

    #[test]
    fn a_token_reads_back() {
        let token = RefreshToken::fresh(alice(), Uuid::from_u128(7));
        let read = RefreshToken::parse(&token.text()).unwrap();
        assert_eq!(read, token);
        assert_eq!(read.hash(), token.hash());
        assert_eq!((token.text().len(), token.hash().len()), (TEXT_LENGTH, 64));
    }

    #[test]
    fn two_tokens_of_one_session_differ() {
        let [one, other] = [(); 2].map(|()| RefreshToken::fresh(alice(), Uuid::from_u128(7)));
        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn what_we_never_made_is_no_token() {
        let text = RefreshToken::fresh(alice(), Uuid::from_u128(7)).text();
        for odd in ["", "x", &text[1..], &format!("{text}A"), &format!("{}=", &text[1..]), &format!("{}é", &text[2..])]
        {
            assert_eq!(RefreshToken::parse(odd), None, "{odd}");
        }
    }
}
