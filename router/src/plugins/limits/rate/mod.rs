//! How often callers may ask: the generic cell rate algorithm in Redis, for all routers together, and a router's own part
//! of each limit for as long as Redis is away.

mod address;
mod ahead;
mod answer;
mod config;
mod denied;
mod local;
pub(super) mod metrics;
mod month;
mod outcome;
mod policy;
mod quotas;
mod shared;
mod store;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::HeaderMap;
use tower::BoxError;

use address::Addresses;
pub use answer::{Limited, Passed};
pub use config::RatesConfig;
use metrics::By;
use outcome::Outcome;
pub(super) use policy::Call;
use policy::Policies;
pub use policy::Who;
use shared::{CountsConfig, Shared};

/// Holds calls against their limits. One per loaded configuration and schema.
pub(super) struct Rates {
    policies: Policies,
    addresses: Option<Addresses>,
    counts: CountsConfig,
    shared: OnceLock<Arc<Shared>>,
}

impl Rates {
    pub(super) fn new(config: &RatesConfig) -> Result<Self, BoxError> {
        Ok(Self {
            policies: Policies::new(config)?,
            addresses: config.per_address.as_ref().map(Addresses::new).transpose()?,
            counts: CountsConfig::of(config),
            shared: OnceLock::new(),
        })
    }

    /// The process's counts. The first call connects to Redis.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.shared.get_or_init(|| Shared::of(&self.counts))
    }

    /// Where a request comes from, when that is configured and known.
    pub(super) fn address(&self, headers: &HeaderMap) -> Option<Arc<str>> {
        self.addresses.as_ref()?.of(headers)
    }

    /// Counts a call, or refuses it and counts nothing.
    pub(super) async fn admit(&self, who: &Who, call: &Call<'_>) -> Result<Passed, Limited> {
        let mut groups = self.policies.groups(who, call);
        if groups.is_empty() {
            return Ok(Passed::default());
        }
        let shared = self.shared();
        // Partners are told what is left to them, to the call.
        if who.caller.is_none() && shared.ahead.spend(&groups) {
            metrics::decided(By::Ahead);
            return Ok(Passed::default());
        }
        if let Some(standing) = shared.denials.longest(&groups) {
            metrics::decided(By::Memory);
            metrics::refused(standing.name);
            return Err(Limited::new(outcome::policies(&groups), standing));
        }
        if who.caller.is_none() {
            shared.ahead.extend(&mut groups);
        }
        let asked_at = Instant::now();
        let replies = shared.draw_all(&mut groups).await;
        if who.caller.is_none() {
            shared.ahead.learn(&groups, &replies);
        }
        let outcome = Outcome { replies, routers: self.counts.routers, groups };
        metrics::decided(if outcome.is_local() { By::Local } else { By::Redis });
        let Some(standing) = outcome.refusal(&shared.denials, asked_at) else {
            // Who is not a partner is told of limits only when one is reached.
            return Ok(if who.caller.is_some() { outcome.passed() } else { Passed::default() });
        };
        metrics::refused(standing.name);
        let limited = Limited::new(outcome.policies(), standing);
        shared.give_back(outcome);
        Err(limited)
    }
}
