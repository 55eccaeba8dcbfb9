//! The domain's own settings: `[domains.accounts]`.

use crate::{DOMAIN_NAME, model::DISTANCE_KM_MAX};
use serde::Deserialize;
use velvet_kernel::config::{Config, Error};

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Failed sign-ins to one account within the window; then it is closed until the window ends.
    pub login_failures_per_account_max: u32,
    /// Failed sign-ins from one address within the window.
    pub login_failures_per_address_max: u32,
    /// The window that failures are counted in, in seconds.
    pub login_window_seconds: u32,
    /// The farthest distance that preferences may ask for, in kilometres.
    pub distance_km_max: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            login_failures_per_account_max: 10,
            login_failures_per_address_max: 50,
            login_window_seconds: 15 * 60,
            distance_km_max: DISTANCE_KM_MAX,
        }
    }
}

impl Settings {
    /// Reads the settings and refuses what cannot work.
    pub fn read(config: &Config) -> Result<Self, Error> {
        config.domain::<Self>(DOMAIN_NAME)?.checked()
    }

    fn checked(self) -> Result<Self, Error> {
        let limits =
            [self.login_failures_per_account_max, self.login_failures_per_address_max, self.login_window_seconds];
        if limits.contains(&0) {
            return Err(Error::Bounds("domains.accounts: the limits of signing in must be at least 1".to_owned()));
        }
        if !(1..=20_000).contains(&self.distance_km_max) {
            return Err(Error::Bounds("domains.accounts.distance_km_max must be 1 to 20000".to_owned()));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(Settings::default().checked().is_ok());
        assert!(Settings { login_window_seconds: 0, ..Settings::default() }.checked().is_err());
        assert!(Settings { distance_km_max: 0, ..Settings::default() }.checked().is_err());
        assert!(Settings { distance_km_max: 20_001, ..Settings::default() }.checked().is_err());
    }

    #[test]
    fn a_key_that_nobody_reads_is_refused() {
        let read = serde_json::from_value::<Settings>(serde_json::json!({ "login_window_second": 3 }));
        assert!(read.is_err());
    }
}
