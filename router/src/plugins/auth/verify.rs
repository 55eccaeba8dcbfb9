//! The check of one token.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Validation, decode, decode_header};
use moka::sync::Cache;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::config::AuthConfig;
use super::keys::{Found, KeySet};

/// Longer than any token of ours; what is longer is not decoded at all.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The scheme of the `Authorization` header (RFC 6750 §2.1), with its space.
const BEARER: &str = "bearer ";

/// A signature costs more to check than the rest of a small request, and a client sends the same token many times.
/// Tokens of a key that was withdrawn are good for this much longer.
const VERIFIED_LIFETIME: Duration = Duration::from_mins(1);
/// Below a kilobyte each, most of it the token.
const VERIFIED_MAX: u64 = 16_384;

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Malformed, expired, of another issuer or audience, or not signed by a known key. Get a new one.
    #[error("the access token is not valid")]
    Invalid,
    /// The keys to check it with cannot be had now. Try again.
    #[error("the access token cannot be checked now")]
    Unavailable,
}

/// Who asks, as a good token says.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The token's `sub`: the user's id.
    pub subject: Arc<str>,
    /// The whole header value, `Bearer` and the token, to be forwarded.
    pub authorization: Arc<str>,
    /// Seconds since 1970 at which the token ends.
    expires_at: u64,
}

impl Viewer {
    /// How long the token is good for from now on.
    pub fn lifetime(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(self.expires_at).saturating_sub(now)
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
}

/// Checks tokens against the issuer's keys.
pub struct Verifier {
    keys: Arc<KeySet>,
    /// Who sent the tokens that were found good of late, by the digest of the token.
    verified: Cache<[u8; 32], Viewer>,
    issuer: String,
    audience: String,
    leeway_seconds: u64,
}

impl Verifier {
    pub(super) fn new(config: &AuthConfig) -> Result<Self, reqwest::Error> {
        Ok(Self {
            keys: KeySet::start(config)?,
            verified: Cache::builder().max_capacity(VERIFIED_MAX).time_to_live(VERIFIED_LIFETIME).build(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway_seconds: config.leeway_seconds,
        })
    }

    /// Checks the value of an `Authorization` header, in its form `Bearer <token>`.
    pub async fn check(&self, authorization: &str) -> Result<Viewer, Error> {
        let token = bearer(authorization).ok_or(Error::Invalid)?;
        let digest = Sha256::digest(token).into();
        if let Some(viewer) = self.verified.get(&digest).filter(|viewer| !viewer.lifetime().is_zero()) {
            return Ok(viewer);
        }
        let viewer = self.verify(token).await?;
        self.verified.insert(digest, viewer.clone());
        Ok(viewer)
    }

    async fn verify(&self, token: &str) -> Result<Viewer, Error> {
        let header = decode_header(token).map_err(|_| Error::Invalid)?;
        let key = match self.keys.find(header.kid.as_deref().ok_or(Error::Invalid)?).await {
            Found::Key(key) => key,
            Found::Unknown => return Err(Error::Invalid),
            Found::Unavailable => return Err(Error::Unavailable),
        };
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = self.leeway_seconds;
        let claims = decode::<Claims>(token, &key.decoding, &validation).map_err(|_| Error::Invalid)?.claims;
        Ok(Viewer {
            subject: claims.sub.into(),
            authorization: format!("Bearer {token}").into(),
            expires_at: claims.exp + self.leeway_seconds,
        })
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_at_checked(BEARER.len())?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(BEARER) && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_taken_from_the_header() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for refused in ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bäärer abc"] {
            assert_eq!(bearer(refused), None, "{refused}");
        }
        assert_eq!(bearer(&format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1))), None);
    }
}
