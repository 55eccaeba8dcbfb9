//! Failed sign-ins, counted per account and per address.
//!
//! An attempt is counted before the password is looked at and taken back when it was right, so that
//! many attempts at once are not more than one after the other.

use crate::{DOMAIN_NAME, settings::Settings};
use sha2::{Digest as _, Sha256};
use velvet_kernel::store::{Call, Error, Reply, Script, Store};

/// Counts an attempt, unless there have been enough. KEYS: count. ARGV: limit, window in seconds.
/// Returns 0, or the seconds until the count starts again.
static COUNT: Script = Script::new(
    r"
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if count >= tonumber(ARGV[1]) then return math.max(redis.call('TTL', KEYS[1]), 1) end
if redis.call('INCR', KEYS[1]) == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return 0
",
);

/// Takes an attempt back. KEYS: count.
static TAKE_BACK: Script = Script::new(
    r"
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then return redis.call('DECR', KEYS[1]) end
return 0
",
);

/// One attempt to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// What is counted, and how far.
    counts: Vec<(String, u32)>,
    window_seconds: u32,
}

impl Attempt {
    /// An attempt on an account, from an address if that is known.
    pub fn new(settings: &Settings, email_digest: &str, address: Option<&str>) -> Self {
        let key = |of: &str, digest: &str| format!("{DOMAIN_NAME}:attempts:{of}:{{{digest}}}");
        let mut counts = vec![(key("account", email_digest), settings.login_failures_per_account_max)];
        if let Some(address) = address {
            let digest = format!("{:x}", Sha256::digest(address.as_bytes()));
            counts.push((key("address", &digest), settings.login_failures_per_address_max));
        }
        Self { counts, window_seconds: settings.login_window_seconds }
    }

    /// Counts the attempt. When there have been too many: the seconds until another is let in.
    pub async fn count(&self, store: &Store) -> Result<Result<(), u32>, Error> {
        let calls: Vec<Call> = self
            .counts
            .iter()
            .map(|(key, limit)| Call::script(&COUNT, [key.as_str()]).arg(limit).arg(self.window_seconds))
            .collect();
        let waits: Vec<u32> = store.run(&calls).await?.iter().map(wait_of).collect();
        let longest = waits.iter().copied().max().unwrap_or_default();
        if longest == 0 {
            return Ok(Ok(()));
        }
        // What one limit refuses does not count towards the other.
        self.take_back(store, |index| waits.get(index) == Some(&0)).await?;
        Ok(Err(longest))
    }

    /// Takes the attempt back: the password was right.
    pub async fn forgive(&self, store: &Store) -> Result<(), Error> {
        self.take_back(store, |_| true).await
    }

    async fn take_back(&self, store: &Store, which: impl Fn(usize) -> bool) -> Result<(), Error> {
        let keys = self.counts.iter().enumerate().filter(|(index, _)| which(*index));
        let calls: Vec<Call> = keys.map(|(_, (key, _))| Call::script(&TAKE_BACK, [key.as_str()])).collect();
        store.run(&calls).await.map(drop)
    }
}

fn wait_of(reply: &Reply) -> u32 {
    match reply {
        Reply::Int(seconds) => u32::try_from(*seconds).unwrap_or(u32::MAX),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_counts_on_the_account_and_on_a_known_address() {
        let settings = Settings::default();
        let alone = Attempt::new(&settings, "digest", None);
        assert_eq!(alone.counts, [("accounts:attempts:account:{digest}".to_owned(), 10)]);
        let from = Attempt::new(&settings, "digest", Some("198.51.100.7"));
        assert_eq!(from.counts.iter().map(|(_, limit)| *limit).collect::<Vec<_>>(), [10, 50]);
        assert!(!from.counts[1].0.contains("198.51"), "no personal data in keys");
    }
}
