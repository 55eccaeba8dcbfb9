//! Counting partners' calls: batches of routers on their way into the log.

use crate::{
    DOMAIN_NAME,
    event::{Fact, UsageFact},
    model::Slug,
    view::partners as views,
};
use chrono::TimeDelta;
use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use std::{collections::HashMap, sync::Arc};
use velvet_kernel::{api::Serve, command::Intake, fault::Fault, time::derived_id};

/// What a batch is signed for, besides what is in it.
const PURPOSE: &[u8] = b"velvet-usage-v1\n";
/// Keys that are remembered: what is known of them here never changes, and Redis may be away.
const KEYS_REMEMBERED_MAX: usize = 10_000;

/// The age from which a batch is refused; the fold would not count it any more.
pub(crate) const BATCH_AGE_MAX: TimeDelta = TimeDelta::hours(23);

/// A partner's key, as far as it lets its router in.
#[derive(Debug, Clone)]
pub(crate) struct RouterKey {
    slug: Slug,
    hash: Arc<str>,
}

impl RouterKey {
    /// Whether a batch was signed with the key's hash.
    pub fn has_signed(&self, batch: &[u8], signature: &str) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.hash.as_bytes()) else { return false };
        mac.update(PURPOSE);
        mac.update(batch);
        bytes_of(signature).is_some_and(|given| mac.verify_slice(&given).is_ok())
    }
}

/// The bytes of a signature, which comes in hex.
fn bytes_of(signature: &str) -> Option<Vec<u8>> {
    let (pairs, []) = signature.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
}

/// Counts calls.
#[derive(Clone)]
pub(crate) struct Usage {
    serve: Serve,
    intake: Intake,
    keys: Arc<Mutex<HashMap<String, RouterKey>>>,
}

impl Usage {
    pub fn new(serve: &Serve) -> Self {
        Self { serve: serve.clone(), intake: serve.intake(DOMAIN_NAME), keys: Arc::default() }
    }

    /// The key of this prefix, in force or not.
    pub async fn key(&self, prefix: &str) -> Result<Option<RouterKey>, Fault> {
        if let Some(known) = self.keys.lock().get(prefix) {
            return Ok(Some(known.clone()));
        }
        let store = &self.serve.store;
        let Some(key) = views::registered_key(store, prefix).await? else {
            self.serve.absent().await?;
            return Ok(None);
        };
        let Some(partner) = views::registered_partner(store, key.partner_id).await? else {
            self.serve.absent().await?;
            return Ok(None);
        };
        let found = RouterKey { slug: partner.slug, hash: key.hash.into() };
        let mut keys = self.keys.lock();
        if keys.len() >= KEYS_REMEMBERED_MAX {
            keys.clear();
        }
        keys.insert(prefix.to_owned(), found.clone());
        Ok(Some(found))
    }

    /// Appends a batch; once this returns, it counts, whatever dies next.
    pub async fn count(&self, key: &RouterKey, fact: UsageFact) -> Result<(), Fault> {
        let entity = key.slug.usage_entity();
        // The same for each sending of the batch.
        let id = derived_id(&[DOMAIN_NAME, "usage", &entity, &fact.router.to_string(), &fact.sequence.to_string()]);
        self.intake.note(&Fact::Usage(Box::new(fact)).event(id, entity, self.serve.clock.now())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_taken_from_who_knows_the_keys_hash() {
        let key = RouterKey { slug: Slug::parse("acme").unwrap(), hash: "00".repeat(32).into() };
        // What the router's own code gives for this key and this batch.
        let signature = "ebe74ad7e8eb5922d11484a08de10c9189b2e14e49a2cbdba4a379dbeb54333c";
        assert!(key.has_signed(b"{}", signature));
        assert!(!key.has_signed(b"{ }", signature));
        for odd in ["", "0", "zz", "é", &signature[2..]] {
            assert!(!key.has_signed(b"{}", odd), "{odd}");
        }
        let other = RouterKey { hash: "11".repeat(32).into(), ..key };
        assert!(!other.has_signed(b"{}", signature));
    }
}
