//! Who calls with a key, and whether the key is good.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use velvet_edge::key::{ApiKey, same_hash};
use velvet_edge::signature::{NONCE_SECONDS, Signature, Signed};

use super::config::RedisConfig;
use super::redis::{OnDemand, Redis};
use super::refusal::Refusal;
use super::registry::{Key, Limits, Partner, Registry};

pub const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
const TIMESTAMP_HEADER: HeaderName = HeaderName::from_static("x-velvet-timestamp");
const NONCE_HEADER: HeaderName = HeaderName::from_static("x-velvet-nonce");
const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-velvet-signature");

/// What a missing key is compared with, so that the answer takes as long.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A partner that has shown a good key. Whether it still is: [`super::Gate::recheck`].
pub struct Caller {
    /// The partner's id.
    pub partner_id: Arc<str>,
    /// The key's prefix, which names it.
    pub prefix: Arc<str>,
    /// How much the partner may ask for, as it was when the key was shown.
    pub limits: Limits,
    pub(super) slug: Arc<str>,
    pub(super) scopes: Vec<String>,
    /// The whole key, for the exchange against a token.
    pub(super) key: Arc<str>,
    /// Seconds since 1970 at which the key ends.
    expires_at: Option<i64>,
}

impl Caller {
    /// How long the key is good for from now on, unless it is revoked; nothing when it has no end.
    pub fn lifetime(&self) -> Option<Duration> {
        self.expires_at.map(|at| Duration::from_secs(u64::try_from(at.saturating_sub(now_seconds())).unwrap_or(0)))
    }
}

/// A signature as it came: with all its parts, with some, or not at all.
pub enum Proof {
    /// None of the headers.
    Absent,
    /// Not in a signature's form.
    Malformed,
    /// All of them; whether it is right is not known yet.
    Given(Signature),
}

impl Proof {
    /// From the three values.
    pub fn from_parts(timestamp: Option<&str>, nonce: Option<&str>, signature: Option<&str>) -> Self {
        if timestamp.is_none() && nonce.is_none() && signature.is_none() {
            return Self::Absent;
        }
        Signature::from_parts(timestamp, nonce, signature).map_or(Self::Malformed, Self::Given)
    }

    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        // What is not text is not a signature's part, and must not count as absent.
        let value = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or(""));
        Self::from_parts(value(&TIMESTAMP_HEADER), value(&NONCE_HEADER), value(&SIGNATURE_HEADER))
    }
}

/// Checks keys against the registry.
pub(super) struct Keys {
    registry: Arc<Registry>,
    /// Where nonces are remembered, for all routers.
    nonces: OnDemand,
}

impl Keys {
    pub(super) fn new(registry: Arc<Registry>, config: &RedisConfig) -> Self {
        Self { registry, nonces: OnDemand::new(Redis::new(config)) }
    }

    /// Checks a key as a caller has sent it, with the signature of its request.
    pub(super) async fn admit(&self, text: &str, proof: &Proof, request: Signed<'_>) -> Result<Caller, Refusal> {
        if !self.registry.is_loaded() {
            return Err(Refusal::Unavailable);
        }
        let shown = ApiKey::parse(text).ok_or(Refusal::Key)?;
        let known = self.registry.key(shown.prefix);
        let hash = known.as_ref().map_or(NO_HASH, |key| &key.hash);
        let proven = same_hash(&shown.hash(), hash);
        let key = known.filter(|key| proven && key.mode == shown.mode).ok_or(Refusal::Key)?;
        let partner = self.owner(&key).ok_or(Refusal::Key)?;
        self.check_signature(&key, proof, request).await?;
        Ok(Caller {
            partner_id: Arc::clone(&partner.id),
            slug: Arc::clone(&partner.slug),
            limits: partner.limits,
            prefix: Arc::clone(&key.prefix),
            scopes: key.scopes.clone(),
            key: text.into(),
            expires_at: key.expires_at.map(|at| at.timestamp()),
        })
    }

    /// Whether a key that was good still is.
    pub(super) fn recheck(&self, caller: &Caller) -> Result<(), Refusal> {
        let key = self.registry.key(&caller.prefix).ok_or(Refusal::Key)?;
        self.owner(&key).map(drop).ok_or(Refusal::Key)
    }

    /// The partner of a key that is in force.
    fn owner(&self, key: &Key) -> Option<Arc<Partner>> {
        let expired = key.expires_at.is_some_and(|at| at.timestamp() <= now_seconds());
        if expired || key.revoked_at.is_some() {
            return None;
        }
        self.registry.partner(&key.partner_id).filter(|partner| !partner.disabled)
    }

    async fn check_signature(&self, key: &Key, proof: &Proof, request: Signed<'_>) -> Result<(), Refusal> {
        let signature = match proof {
            Proof::Absent if key.require_signature => return Err(Refusal::Key),
            Proof::Absent => return Ok(()),
            Proof::Malformed => return Err(Refusal::Key),
            Proof::Given(signature) => signature,
        };
        let now = u64::try_from(now_seconds()).unwrap_or(0);
        if !signature.is_good(&key.hash, now, request) {
            return Err(Refusal::Key);
        }
        // Only what is rightly signed takes room there.
        let mut command = redis::cmd("SET");
        command.arg(format!("router:nonce:{{{}}}:{}", key.prefix, signature.nonce));
        command.arg(1).arg("NX").arg("EX").arg(NONCE_SECONDS);
        match self.nonces.ask::<Option<String>>(&command).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Refusal::Key),
            Err(error) => {
                tracing::warn!(error = %error, "a nonce cannot be remembered");
                Err(Refusal::Unavailable)
            }
        }
    }
}

fn now_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
