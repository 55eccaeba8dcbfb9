//! The process's counts: they outlive the pipelines, which are replaced with each schema.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;

use super::ahead::Ahead;
use super::config::RatesConfig;
use super::denied::Denials;
use super::local::Local;
use super::outcome::{Outcome, Reply};
use super::policy::Group;
use super::quotas::Quotas;
use super::store::{Sign, Store};
use crate::plugins::partners::redis::Redis;

static SHARED: Mutex<Option<Arc<Shared>>> = Mutex::new(None);

/// What the counts depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CountsConfig {
    redis_urls: Vec<String>,
    redis_timeout: Duration,
    pub(super) routers: u64,
    buckets_max: usize,
}

impl CountsConfig {
    pub(super) fn of(config: &RatesConfig) -> Self {
        Self {
            redis_urls: config.redis_urls(),
            redis_timeout: Duration::from_millis(config.redis_timeout_ms),
            routers: config.routers.get(),
            buckets_max: config.buckets_max,
        }
    }
}

pub(in super::super) struct Shared {
    config: CountsConfig,
    /// Nothing without a configured Redis.
    store: Option<Arc<Store>>,
    local: Local,
    quotas: Quotas,
    pub(super) denials: Denials,
    pub(super) ahead: Ahead,
}

impl Shared {
    /// The process's own, which is replaced when the configuration is another.
    pub(super) fn of(config: &CountsConfig) -> Arc<Self> {
        let mut shared = SHARED.lock();
        if let Some(known) = &*shared
            && known.config == *config
        {
            return Arc::clone(known);
        }
        let urls = &config.redis_urls;
        let store = (!urls.is_empty()).then(|| Store::start(Redis::at(urls.clone()), config.redis_timeout));
        let new = Arc::new(Self {
            store,
            local: Local::new(config.buckets_max),
            quotas: Quotas::new(),
            denials: Denials::new(config.buckets_max),
            ahead: Ahead::new(config.buckets_max),
            config: config.clone(),
        });
        *shared = Some(Arc::clone(&new));
        new
    }

    /// Draws from each group at the same time. What does not fit with what it was to draw ahead may fit without.
    pub(super) async fn draw_all(self: &Arc<Self>, groups: &mut [Group]) -> Vec<Reply> {
        match groups {
            [only] => {
                let reply = self.draw(only).await;
                if !reply.passed && !reply.local && only.forgo_ahead() {
                    return vec![self.draw(only).await];
                }
                vec![reply]
            }
            groups => join_all(groups.iter().map(|group| self.draw(group))).await,
        }
    }

    async fn draw(self: &Arc<Self>, group: &Group) -> Reply {
        let counted = match &self.store {
            Some(store) => store.draw(group, Sign::Draw, &self.quotas).await,
            None => None,
        };
        match counted {
            Some(reply) => {
                self.look_again(group);
                reply
            }
            None => self.local.draw(group, &self.quotas, self.config.routers),
        }
    }

    /// Looks for a durable count that was not there when its counter was begun.
    fn look_again(self: &Arc<Self>, group: &Group) {
        let Some(quota) = group.quota.as_ref().filter(|quota| self.quotas.looks_again(quota)).cloned() else { return };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let Some(store) = &shared.store else { return };
            match store.used(&quota).await {
                Some(used) => shared.quotas.raise(&quota, used),
                None => shared.quotas.miss(&quota),
            }
        });
    }

    /// Gives back what was drawn in Redis for a call that another limit refused.
    pub(super) fn give_back(self: &Arc<Self>, outcome: Outcome) {
        let drawn = outcome.groups.into_iter().zip(outcome.replies);
        let drawn: Vec<Group> =
            drawn.filter(|(_, reply)| reply.passed && !reply.local).map(|(group, _)| group).collect();
        if drawn.is_empty() {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let Some(store) = &shared.store else { return };
            for group in drawn {
                store.draw(&group, Sign::GiveBack, &shared.quotas).await;
                shared.denials.forget(&group);
            }
        });
    }
}
