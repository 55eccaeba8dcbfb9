//! Verifying tokens with the public keys that accounts publishes.

use super::{Caller, Claims, Viewer};
use crate::{
    config::IdentityConfig,
    time::{Clock as _, SystemClock},
};
use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ed25519_dalek::{SigningKey, VerifyingKey, pkcs8::EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// An unknown key id may be a new key or a forgery: ask no more often than this.
const REFRESH_PAUSE: Duration = Duration::from_secs(2);
/// The key set is a few hundred bytes from a neighbour.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// No token of ours is longer.
const TOKEN_LENGTH_MAX: usize = 4096;

/// A signature costs more to check than the rest of a small request, and a client sends the same token
/// many times. Tokens of a key that was withdrawn are good for this much longer.
const VERIFIED_LIFETIME: Duration = Duration::from_mins(1);
/// About 200 bytes each.
const VERIFIED_MAX: u64 = 32_768;

/// Public keys, as RFC 7517 has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// One public Ed25519 key, as RFC 8037 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// The key's id.
    pub kid: String,
    /// The public key, base64url.
    pub x: String,
    /// `EdDSA`.
    pub alg: String,
    /// `sig`.
    #[serde(rename = "use")]
    pub purpose: String,
}

impl Jwk {
    pub(super) fn of(kid: &str, key: &VerifyingKey) -> Self {
        Self {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            kid: kid.to_owned(),
            x: URL_SAFE_NO_PAD.encode(key.as_bytes()),
            alg: "EdDSA".to_owned(),
            purpose: "sig".to_owned(),
        }
    }
}

/// Writes a fresh signing key into a folder, under a name that sorts after the keys before it.
#[expect(clippy::disallowed_methods, reason = "keys are made at random, by an operator's command")]
pub fn generate_key(dir: &Path, now: DateTime<Utc>) -> anyhow::Result<String> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    std::fs::create_dir_all(dir)?;
    let kid = now.format("k%Y%m%d%H%M%S").to_string();
    let key = SigningKey::from_bytes(&rand::random());
    let pem = key.to_pkcs8_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF)?;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(dir.join(format!("{kid}.pem")))?
        .write_all(pem.as_bytes())?;
    Ok(kid)
}

/// Verifies access tokens.
pub struct Verifier {
    keys: ArcSwap<HashMap<String, DecodingKey>>,
    /// Who sent the tokens that were found good of late, by the digest of the token.
    verified: Cache<[u8; 32], Viewer>,
    asked: tokio::sync::Mutex<Option<Instant>>,
    http: reqwest::Client,
    url: String,
    validation: Validation,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier that fetches the keys when it first needs them.
    pub fn new(config: &IdentityConfig) -> Result<Self, reqwest::Error> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 0;
        Ok(Self {
            keys: ArcSwap::default(),
            verified: Cache::builder().max_capacity(VERIFIED_MAX).time_to_live(VERIFIED_LIFETIME).build(),
            asked: tokio::sync::Mutex::new(None),
            http: reqwest::Client::builder().timeout(FETCH_TIMEOUT).build()?,
            url: config.jwks_url.clone(),
            validation,
        })
    }

    /// Who a request's `authorization` says it is from.
    pub async fn caller(&self, authorization: Option<&str>) -> Caller {
        let Some(value) = authorization else {
            return Caller::Anonymous;
        };
        match super::bearer(value) {
            Some(token) if token.len() <= TOKEN_LENGTH_MAX => self.remembered(token).await,
            _ => Caller::Refused,
        }
    }

    async fn remembered(&self, token: &str) -> Caller {
        let digest = Sha256::digest(token).into();
        if let Some(viewer) = self.verified.get(&digest).filter(|viewer| viewer.expires_at > SystemClock.now()) {
            return Caller::Viewer(viewer);
        }
        let caller = self.verify(token).await;
        if let Caller::Viewer(viewer) = &caller {
            self.verified.insert(digest, viewer.clone());
        }
        caller
    }

    async fn verify(&self, token: &str) -> Caller {
        let Ok(header) = jsonwebtoken::decode_header(token) else {
            return Caller::Refused;
        };
        let (Some(kid), Algorithm::EdDSA) = (header.kid, header.alg) else {
            return Caller::Refused;
        };
        if !self.keys.load().contains_key(&kid) {
            self.refresh().await;
        }
        let keys = self.keys.load();
        let Some(key) = keys.get(&kid) else {
            return Caller::Refused;
        };
        let Ok(token) = jsonwebtoken::decode::<Claims>(token, key, &self.validation) else {
            return Caller::Refused;
        };
        let expires_at = DateTime::from_timestamp(token.claims.exp, 0).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let Claims { sub: id, roles, partner, .. } = token.claims;
        Caller::Viewer(Viewer { id, roles, partner, expires_at })
    }

    async fn refresh(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < REFRESH_PAUSE) {
            return;
        }
        *asked = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => self.keys.store(Arc::new(keys)),
            Err(error) => tracing::warn!(error = %crate::telemetry::chain(&error), "identity.jwks_unavailable"),
        }
    }

    async fn fetch(&self) -> Result<HashMap<String, DecodingKey>, reqwest::Error> {
        let set: JwkSet = self.http.get(&self.url).send().await?.error_for_status()?.json().await?;
        Ok(set
            .keys
            .into_iter()
            .filter_map(|jwk| DecodingKey::from_ed_components(&jwk.x).ok().map(|key| (jwk.kid, key)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{ACCESS_TOKEN_LIFETIME, Signer};
    use chrono::TimeDelta;
    use uuid::Uuid;

    /// Somebody who signs, and somebody who has fetched the signer's keys.
    fn pair(issuer: &str, audience: &str) -> (tempfile::TempDir, Signer, Verifier) {
        let dir = tempfile::tempdir().unwrap();
        generate_key(dir.path(), DateTime::UNIX_EPOCH).unwrap();
        let config = |issuer: &str, audience: &str| IdentityConfig {
            keys_dir: Some(dir.path().to_owned()),
            signing_key: None,
            jwks_url: "http://127.0.0.1:1/".to_owned(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        };
        let signer = Signer::load(&config(issuer, audience)).unwrap();
        let verifier = Verifier::new(&config("velvet", "velvet")).unwrap();
        let keys = signer.public_keys().keys.iter();
        let keys = keys.map(|jwk| (jwk.kid.clone(), DecodingKey::from_ed_components(&jwk.x).unwrap())).collect();
        verifier.keys.store(Arc::new(keys));
        (dir, signer, verifier)
    }

    async fn caller(signer: &Signer, verifier: &Verifier, signed_at: DateTime<Utc>) -> Caller {
        let (token, _) = signer.sign(crate::id::UserId(Uuid::nil()), &[], signed_at, Uuid::nil()).unwrap();
        verifier.caller(Some(&format!("Bearer {token}"))).await
    }

    #[tokio::test]
    async fn a_token_of_ours_is_its_users() {
        let (_dir, signer, verifier) = pair("velvet", "velvet");
        let viewer = caller(&signer, &verifier, SystemClock.now()).await;
        assert!(matches!(viewer, Caller::Viewer(viewer) if viewer.id.0 == Uuid::nil()));
    }

    #[tokio::test]
    async fn a_token_is_refused_from_the_second_it_ends() {
        let (_dir, signer, verifier) = pair("velvet", "velvet");
        let ended = SystemClock.now() - ACCESS_TOKEN_LIFETIME - TimeDelta::seconds(1);
        assert_eq!(caller(&signer, &verifier, ended).await, Caller::Refused);
    }

    #[tokio::test]
    async fn a_token_of_another_issuer_or_for_another_audience_is_refused() {
        for (issuer, audience) in [("velour", "velvet"), ("velvet", "velour")] {
            let (_dir, signer, verifier) = pair(issuer, audience);
            assert_eq!(caller(&signer, &verifier, SystemClock.now()).await, Caller::Refused, "{issuer} {audience}");
        }
    }

    #[tokio::test]
    async fn a_token_of_a_key_that_is_not_ours_is_refused() {
        let (_dir, _, verifier) = pair("velvet", "velvet");
        let (_other_dir, stranger, _) = pair("velvet", "velvet");
        assert_eq!(caller(&stranger, &verifier, SystemClock.now()).await, Caller::Refused, "the same id, another key");
    }
}
