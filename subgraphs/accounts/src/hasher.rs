//! Hashing passwords with Argon2id, off the async threads and as many at once as there are cores.

use crate::model::Password;
use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version,
    password_hash::{self, SaltString, rand_core::OsRng},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use velvet_kernel::fault::Fault;

/// OWASP's first choice for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Who comes when this many wait is sent away at once; it bounds how long the others wait.
const WAITING_MAX: usize = 256;
/// Who has waited this long is sent away; the request's own limit is longer.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// When a retry is worth it.
const RETRY_AFTER_S: u32 = 5;

/// Hashes and verifies passwords, within bounds.
#[derive(Debug, Clone)]
pub(crate) struct Hasher {
    argon: Argon2<'static>,
    cores: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    dummy: Arc<str>,
}

impl Hasher {
    /// A hasher that uses every core.
    pub fn new() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
            .map_err(|error| anyhow::anyhow!("the parameters of Argon2id: {error}"))?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = hash(&argon, b"nobody's password").map_err(|error| anyhow::anyhow!("hashing: {error}"))?;
        Ok(Self {
            argon,
            cores: Arc::new(Semaphore::new(cores)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            dummy: dummy.into(),
        })
    }

    /// The hash of a password under a fresh salt, in PHC form.
    pub async fn hash(&self, password: &Password) -> Result<String, Fault> {
        let (argon, password) = (self.argon.clone(), password.clone());
        self.run(move || hash(&argon, password.as_bytes())).await?.map_err(|error| {
            tracing::error!(%error, "hasher.failed");
            Fault::internal()
        })
    }

    /// Whether a password is the one that a hash was made of. Without a hash it takes as long, so
    /// that time does not tell who has an account.
    pub async fn verify(&self, password: Option<Password>, hash: Option<&str>) -> Result<bool, Fault> {
        let known = password.is_some() && hash.is_some();
        let (argon, hash) = (self.argon.clone(), hash.unwrap_or(&self.dummy).to_owned());
        let matches = self
            .run(move || {
                let password = password.as_ref().map_or(&b""[..], Password::as_bytes);
                let parsed = PasswordHash::new(&hash)?;
                argon.verify_password(password, &parsed)
            })
            .await?;
        match matches {
            Ok(()) => Ok(known),
            Err(password_hash::Error::Password) => Ok(false),
            Err(error) => {
                tracing::error!(%error, "hasher.stored_hash_malformed");
                Err(Fault::internal())
            }
        }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let full = || Fault::unavailable().retry_after(RETRY_AFTER_S);
        let place = self.waiting.try_acquire().map_err(|_| full())?;
        let core = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.cores).acquire_owned()).await;
        let Ok(Ok(core)) = core else {
            return Err(full());
        };
        drop(place);
        // The core is held by the work itself: a caller that went away does not free it early.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(core);
            result
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "hasher.panicked");
            Fault::internal()
        })
    }
}

fn hash(argon: &Argon2<'_>, password: &[u8]) -> Result<String, password_hash::Error> {
    let salt = SaltString::generate(&mut OsRng);
    argon.hash_password(password, &salt).map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::attempt(text).unwrap()
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_alone() {
        let hasher = Hasher::new().unwrap();
        let hash = hasher.hash(&password("correct horse battery")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hasher.verify(Some(password("correct horse battery")), Some(&hash)).await.unwrap());
        assert!(!hasher.verify(Some(password("correct horse batterz")), Some(&hash)).await.unwrap());
    }

    #[tokio::test]
    async fn nobody_has_the_dummy_password() {
        let hasher = Hasher::new().unwrap();
        assert!(!hasher.verify(Some(password("nobody's password")), None).await.unwrap());
        assert!(!hasher.verify(None, None).await.unwrap());
    }

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_is_sent_away() {
        let hasher = Hasher::new().unwrap();
        let _all = hasher.waiting.acquire_many(u32::try_from(WAITING_MAX).unwrap()).await.unwrap();
        let refused = hasher.hash(&password("correct horse battery")).await;
        assert_eq!(refused, Err(Fault::unavailable().retry_after(RETRY_AFTER_S)));
    }
}
