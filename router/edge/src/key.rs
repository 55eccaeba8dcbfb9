//! API keys: `vk_test_<prefix>_<secret>` and `vk_live_<prefix>_<secret>`.
//!
//! The prefix names the key, the secret proves it; what is stored of it is the SHA-256 of the whole text.

use subtle::ConstantTimeEq as _;

use crate::sha256_hex;

/// Characters of the prefix, lowercase letters and digits.
const PREFIX_CHARS: usize = 12;
/// Characters of the secret: 32 bytes in base64url without padding.
const SECRET_CHARS: usize = 43;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// While a partner builds.
    Test,
    /// With people.
    Live,
}

/// A text in the form of a key. Whether there is such a key is another question.
pub struct ApiKey<'t> {
    /// What the key is found by.
    pub prefix: &'t str,
    /// What it says that it is for.
    pub mode: Mode,
    text: &'t str,
}

impl<'t> ApiKey<'t> {
    /// Nothing when the text is not in a key's form.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (mode, rest) = match text.strip_prefix("vk_test_") {
            Some(rest) => (Mode::Test, rest),
            None => (Mode::Live, text.strip_prefix("vk_live_")?),
        };
        let (prefix, secret) = rest.split_at_checked(PREFIX_CHARS)?;
        let secret = secret.strip_prefix('_')?;
        let of_prefix = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let of_secret = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (prefix.bytes().all(of_prefix) && secret.len() == SECRET_CHARS && secret.bytes().all(of_secret))
            .then_some(Self { prefix, mode, text })
    }

    /// The whole key, to be shown to its issuer.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// What is stored of the key: the SHA-256 of its whole text, in hexadecimal digits.
    pub fn hash(&self) -> String {
        sha256_hex(self.text.as_bytes())
    }
}

/// Compares two hashes in a time that says nothing about where they differ.
pub fn same_hash(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-_";

    #[test]
    fn a_key_is_taken_apart() {
        let text = format!("vk_live_abcdef012345_{SECRET}");
        let key = ApiKey::parse(&text).unwrap();
        assert_eq!((key.prefix, key.mode, key.text()), ("abcdef012345", Mode::Live, text.as_str()));
        assert_eq!(key.hash().len(), 64);
        assert!(same_hash(&key.hash(), &key.hash()));
        assert!(!same_hash(&key.hash(), &"0".repeat(64)));
        assert!(!same_hash(&key.hash(), ""));
    }

    #[test]
    fn what_is_not_in_a_keys_form_is_none() {
        for text in [
            String::new(),
            "vk_live_".to_owned(),
            format!("vk_prod_abcdef012345_{SECRET}"),
            format!("vk_live_ABCDEF012345_{SECRET}"),
            format!("vk_live_abcdef01234_{SECRET}"),
            format!("vk_live_abcdef0123456_{SECRET}"),
            format!("vk_live_abcdef012345_{SECRET}A"),
            format!("vk_live_abcdef012345_{}", &SECRET[1..]),
            format!("vk_live_abcdef01234\u{e9}_{SECRET}"),
            format!("vk_live_abcdef012345_{}=", &SECRET[1..]),
        ] {
            assert!(ApiKey::parse(&text).is_none(), "{text}");
        }
    }
}
