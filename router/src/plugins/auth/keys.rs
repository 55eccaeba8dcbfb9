//! The issuer's key set: read over HTTP, cached, read again when a token names a key that is not in it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;

use super::config::AuthConfig;
use crate::plugins::UNUSED_MAX;

/// A key set of a few keys is under 2 KiB; more than this is not one.
const KEY_SET_BYTES_MAX: usize = 256 * 1024;

/// Why the key set could not be read.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the key set did not arrive")]
    Transport(#[from] reqwest::Error),
    #[error("the key set is larger than {KEY_SET_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the key set does not parse")]
    Malformed(#[from] serde_json::Error),
}

/// A key and the one algorithm that it is for: the token's own word on that is only compared.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// What a look-up found.
pub(super) enum Found {
    Key(Arc<Key>),
    /// The set was read and has no such key.
    Unknown,
    /// The set was never read, and cannot be now.
    Unavailable,
}

type Keys = HashMap<String, Arc<Key>>;

/// The cached key set.
pub(super) struct KeySet {
    url: String,
    client: reqwest::Client,
    cooldown: Duration,
    keys: ArcSwapOption<Keys>,
    /// When the last read was tried; its lock lets one reader at a time through.
    attempted: Mutex<Option<Instant>>,
}

impl KeySet {
    /// Starts with a read in the background, repeated every interval for as long as the set is in use.
    pub(super) fn start(config: &AuthConfig) -> Result<Arc<Self>, reqwest::Error> {
        let set = Arc::new(Self {
            url: config.jwks_url.clone(),
            client: reqwest::Client::builder()
                .timeout(Duration::from_millis(config.fetch_timeout_ms))
                .pool_idle_timeout(UNUSED_MAX)
                .build()?,
            cooldown: Duration::from_millis(config.refresh_cooldown_ms),
            keys: ArcSwapOption::empty(),
            attempted: Mutex::new(None),
        });
        let interval = Duration::from_secs(config.refresh_interval_seconds.max(1));
        tokio::spawn(refresh_regularly(Arc::downgrade(&set), interval));
        Ok(set)
    }

    /// The key of that id. May read the set again, at most once per cooldown.
    pub(super) async fn find(&self, key_id: &str) -> Found {
        if let Some(key) = self.cached(key_id) {
            return Found::Key(key);
        }
        let mut attempted = self.attempted.lock().await;
        // Whoever held the lock before may have read what we want.
        if let Some(key) = self.cached(key_id) {
            return Found::Key(key);
        }
        if attempted.is_none_or(|at| at.elapsed() >= self.cooldown) {
            *attempted = Some(Instant::now());
            self.read().await;
        }
        drop(attempted);
        match self.cached(key_id) {
            Some(key) => Found::Key(key),
            None if self.keys.load().is_some() => Found::Unknown,
            None => Found::Unavailable,
        }
    }

    fn cached(&self, key_id: &str) -> Option<Arc<Key>> {
        self.keys.load().as_ref()?.get(key_id).cloned()
    }

    /// Reads the set; on failure what was there stays.
    async fn read(&self) {
        match self.fetch().await {
            Ok(keys) => self.keys.store(Some(Arc::new(keys))),
            Err(error) => {
                tracing::warn!(jwks.url = %self.url, error = &error as &dyn std::error::Error, "key set not read");
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, Error> {
        let mut response = self.client.get(&self.url).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > KEY_SET_BYTES_MAX {
                return Err(Error::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(usable(&serde_json::from_slice(&body)?))
    }
}

async fn refresh_regularly(set: Weak<KeySet>, interval: Duration) {
    while let Some(set) = set.upgrade() {
        let mut attempted = set.attempted.lock().await;
        *attempted = Some(Instant::now());
        set.read().await;
        drop(attempted);
        drop(set);
        tokio::time::sleep(interval).await;
    }
}

/// The keys that we can check signatures with; others are left out, as RFC 7517 §5 asks.
fn usable(set: &JwkSet) -> Keys {
    let mut keys = Keys::new();
    for jwk in &set.keys {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            _ => continue,
        };
        if let (Some(id), Ok(decoding)) = (&jwk.common.key_id, DecodingKey::from_jwk(jwk)) {
            keys.insert(id.clone(), Arc::new(Key { algorithm, decoding }));
        }
    }
    keys
}
