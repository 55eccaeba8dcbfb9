//! Access tokens: JWTs signed with Ed25519.

use super::jwks::{Jwk, JwkSet};
use crate::{config::IdentityConfig, id::UserId};
use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use ed25519_dalek::{SigningKey, pkcs8::DecodePrivateKey as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use std::path::Path;
use uuid::Uuid;

/// How long an access token lasts.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// How long a partner's token lasts: by then a partner who was disabled is out everywhere.
pub const PARTNER_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: UserId,
    /// Who issued it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it was made.
    pub iat: i64,
    /// Its id.
    pub jti: Uuid,
    /// Staff rights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Which partner acts as the user, if one does.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub partner: Option<PartnerAccess>,
}

/// A partner who acts as its service account, and what it was let in for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerAccess {
    /// The partner.
    pub partner: Uuid,
    /// The prefix of the key that was exchanged for the token.
    pub key: String,
    /// What the key is for: `<subgraph>:<kind of operation>`, or `*`.
    pub scopes: Vec<String>,
}

/// Staff rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Handles reports.
    Moderator,
    /// Runs the platform.
    Admin,
}

/// Signs access tokens. Keys rotate by adding a file: all of them verify, the chosen or else the last by name signs.
pub struct Signer {
    kid: String,
    key: EncodingKey,
    public: JwkSet,
    issuer: String,
    audience: String,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl Role {
    /// The role as operators write it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "MODERATOR" => Some(Self::Moderator),
            "ADMIN" => Some(Self::Admin),
            _ => None,
        }
    }
}

impl Signer {
    /// Reads the keys of a folder.
    pub fn load(config: &IdentityConfig) -> anyhow::Result<Self> {
        let dir = config.keys_dir.as_deref().context("identity.keys_dir is needed to sign tokens")?;
        let mut keys = read_keys(dir)?;
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        let public = JwkSet { keys: keys.iter().map(|(kid, _, key)| Jwk::of(kid, &key.verifying_key())).collect() };
        let signing = match &config.signing_key {
            Some(chosen) => keys.into_iter().find(|(kid, ..)| kid == chosen),
            None => keys.pop(),
        };
        let wanted = config.signing_key.as_deref().unwrap_or("*");
        let (kid, pem, _) = signing.with_context(|| format!("no {wanted}.pem in {}", dir.display()))?;
        Ok(Self {
            key: EncodingKey::from_ed_pem(pem.as_bytes()).context("reading the signing key")?,
            kid,
            public,
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
        })
    }

    /// The public halves of all keys.
    pub fn public_keys(&self) -> &JwkSet {
        &self.public
    }

    /// A token for a user, and when it ends.
    pub fn sign(
        &self,
        user: UserId,
        roles: &[Role],
        now: DateTime<Utc>,
        id: Uuid,
    ) -> Result<(String, DateTime<Utc>), jsonwebtoken::errors::Error> {
        self.encode(user, roles.to_vec(), None, now + ACCESS_TOKEN_LIFETIME, now, id)
    }

    /// A token for a partner who acts as its service account, and when it ends. It has no staff
    /// rights, whoever the service account is.
    pub fn sign_partner(
        &self,
        user: UserId,
        partner: PartnerAccess,
        now: DateTime<Utc>,
        id: Uuid,
    ) -> Result<(String, DateTime<Utc>), jsonwebtoken::errors::Error> {
        self.encode(user, Vec::new(), Some(partner), now + PARTNER_TOKEN_LIFETIME, now, id)
    }

    fn encode(
        &self,
        user: UserId,
        roles: Vec<Role>,
        partner: Option<PartnerAccess>,
        ends: DateTime<Utc>,
        now: DateTime<Utc>,
        id: Uuid,
    ) -> Result<(String, DateTime<Utc>), jsonwebtoken::errors::Error> {
        let claims = Claims {
            sub: user,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            exp: ends.timestamp(),
            iat: now.timestamp(),
            jti: id,
            roles,
            partner,
        };
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        Ok((jsonwebtoken::encode(&header, &claims, &self.key)?, ends))
    }
}

fn read_keys(dir: &Path) -> anyhow::Result<Vec<(String, String, SigningKey)>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut keys = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let kid = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let pem = std::fs::read_to_string(&path).with_context(|| format!("reading the key {kid}"))?;
        let key = SigningKey::from_pkcs8_pem(&pem).with_context(|| format!("the key {kid} is no Ed25519 key"))?;
        keys.push((kid, pem, key));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::jwks::generate_key;

    fn keys() -> (tempfile::TempDir, [String; 2]) {
        let dir = tempfile::tempdir().unwrap();
        let at = |second: i64| DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap();
        let kids = [0, 1].map(|second| generate_key(dir.path(), at(second)).unwrap());
        (dir, kids)
    }

    fn signed_with(dir: &Path, signing_key: Option<&str>) -> anyhow::Result<(String, Vec<String>)> {
        let config = IdentityConfig {
            keys_dir: Some(dir.to_owned()),
            signing_key: signing_key.map(str::to_owned),
            jwks_url: String::new(),
            issuer: "velvet".to_owned(),
            audience: "velvet".to_owned(),
        };
        let signer = Signer::load(&config)?;
        let (token, _) = signer.sign(UserId(Uuid::nil()), &[], DateTime::UNIX_EPOCH, Uuid::nil())?;
        let kid = jsonwebtoken::decode_header(&token)?.kid.context("a key id")?;
        Ok((kid, signer.public_keys().keys.iter().map(|key| key.kid.clone()).collect()))
    }

    #[test]
    fn the_newest_key_signs_and_all_verify() {
        let (dir, [old, new]) = keys();
        assert_eq!(signed_with(dir.path(), None).unwrap(), (new.clone(), vec![old, new]));
    }

    #[test]
    fn a_new_key_verifies_before_it_signs_when_another_is_chosen() {
        let (dir, [old, new]) = keys();
        assert_eq!(signed_with(dir.path(), Some(&old)).unwrap(), (old.clone(), vec![old, new]));
        assert!(signed_with(dir.path(), Some("k0")).unwrap_err().to_string().contains("no k0.pem"));
    }
}
