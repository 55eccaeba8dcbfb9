//! Partners' keys: `vk_<mode>_<prefix>_<secret>`. The prefix names the key and is no secret; of the whole
//! key only its SHA-256 leaves the process that made it. The secret has 256 random bits: a slow hash
//! would protect nothing that this one does not, and would cost on every request.
//!
//! Who signs requests does it with lower-case hex of HMAC-SHA256(hash of the key in hex,
//! `velvet-signing-v1`), which the partner can compute from the key and the router from its hash.

use crate::model::KeyMode;
use argon2::password_hash::rand_core::{OsRng, RngCore as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// The alphabet of prefixes: 32 characters that nobody mistakes for one another in a log.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const PREFIX_LENGTH: usize = 12;
const SECRET_SIZE_BYTES: usize = 32;
const SECRET_LENGTH: usize = (SECRET_SIZE_BYTES * 8).div_ceil(6);

/// A key, as its partner keeps it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PartnerKey {
    /// The part that names it.
    pub prefix: String,
    text: String,
}

impl std::fmt::Debug for PartnerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartnerKey").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl PartnerKey {
    /// A key with a secret that nobody had before, from the operating system's randomness.
    pub fn fresh(mode: KeyMode) -> Self {
        let (mut name, mut secret) = ([0; PREFIX_LENGTH], [0; SECRET_SIZE_BYTES]);
        OsRng.fill_bytes(&mut name);
        OsRng.fill_bytes(&mut secret);
        let prefix: String = name.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let text = format!("vk_{}_{prefix}_{}", mode.as_str(), URL_SAFE_NO_PAD.encode(secret));
        Self { prefix, text }
    }

    /// Reads a key's text; nothing when we never made such a text.
    pub fn parse(text: &str) -> Option<Self> {
        // The secret may have `_` in it, so it is the rest.
        let mut parts = text.strip_prefix("vk_")?.splitn(3, '_');
        let (_, prefix, secret) = (KeyMode::parse(parts.next()?)?, parts.next()?, parts.next()?);
        let sound = prefix.len() == PREFIX_LENGTH
            && prefix.bytes().all(|byte| ALPHABET.contains(&byte))
            && secret.len() == SECRET_LENGTH
            && URL_SAFE_NO_PAD.decode(secret).is_ok();
        sound.then(|| Self { prefix: prefix.to_owned(), text: text.to_owned() })
    }

    /// The key as its partner keeps it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What everybody else knows it by.
    pub fn hash(&self) -> String {
        format!("{:x}", Sha256::digest(self.text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back() {
        for mode in [KeyMode::Test, KeyMode::Live] {
            let key = PartnerKey::fresh(mode);
            assert_eq!(PartnerKey::parse(key.text()), Some(key.clone()));
            assert!(key.text().starts_with(&format!("vk_{}_{}_", mode.as_str(), key.prefix)));
            assert_eq!((key.text().len(), key.hash().len()), (64, 64));
        }
    }

    #[test]
    fn two_keys_differ() {
        let [one, other] = [(); 2].map(|()| PartnerKey::fresh(KeyMode::Live));
        assert_ne!(one.prefix, other.prefix);
        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn what_we_never_made_is_no_key() {
        let text = PartnerKey::fresh(KeyMode::Live).text().to_owned();
        let odd = ["", "vk_", &text[1..], &text[..63], &format!("{text}A"), &text.replace("vk_live", "vk_prod")];
        for odd in odd {
            assert_eq!(PartnerKey::parse(odd), None, "{odd}");
        }
    }
}
