//! Serving a subgraph: HTTP and WebSocket in front of an async-graphql schema.

mod http;
mod operations;
mod socket;

pub use http::{Api, ClientAddress, Decorate, Subgraph, health_routes};
pub use operations::KnownOperations;

use crate::{
    command::Intake,
    config::{self, Config},
    fault::Fault,
    id::UserId,
    identity::Verifier,
    live::{CursorKey, Live},
    log::{Log, NewEvent, Topic},
    project::{WarmRequest, Watermarks},
    store::Store,
    time::{Clock, fresh_id},
};
use std::sync::Arc;
use uuid::Uuid;

/// What the API of a domain works with. It reads Redis and appends to the log, nothing else.
#[derive(Clone)]
pub struct Serve {
    /// The views.
    pub store: Store,
    /// The log's writing end.
    pub log: Log,
    /// Live streams.
    pub live: Live,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The configuration.
    pub config: Arc<Config>,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
    /// How far the folds have come.
    pub watermarks: Arc<Watermarks>,
    /// Told of every authenticated request.
    pub activity: Option<Arc<dyn Activity>>,
}

/// Takes note of who is active.
pub trait Activity: Send + Sync {
    /// A request of this user has come; must not wait.
    fn seen(&self, user: UserId);
}

impl Serve {
    /// The parts of an API process.
    pub fn new(
        config: Arc<Config>,
        store: Store,
        log: Log,
        watermarks: Arc<Watermarks>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let live = Live::new(store.clone(), CursorKey::new(&config.live.cursor_secret)?);
        let verifier = Arc::new(Verifier::new(&config.identity)?);
        Ok(Self { store, log, live, clock, config, verifier, watermarks, activity: None })
    }

    /// The way into a domain's log.
    pub fn intake(&self, domain: &'static str) -> Intake {
        let wait = self.config.api.outcome_wait();
        Intake::new(domain, self.log.clone(), self.store.clone(), Arc::clone(&self.watermarks), wait)
    }

    /// A domain's own settings.
    pub fn settings<T: serde::de::DeserializeOwned + Default>(&self, domain: &str) -> Result<T, config::Error> {
        self.config.domain(domain)
    }

    /// Says what a missing view means: absent when Redis is whole, not yet warm otherwise.
    pub async fn absent(&self) -> Result<(), Fault> {
        match self.store.epoch().await? {
            Some(_) => Ok(()),
            None => Err(Fault::unavailable().retry_after(1)),
        }
    }

    /// Asks the writer to read back `scope` of an entity and waits until it is merged. Requests for
    /// one scope that run at the same time share one token, so the writer is asked once.
    pub async fn warm(&self, domain: &'static str, entity: &str, scope: &str) -> Result<(), Fault> {
        let token = self.warm_token(domain, entity, scope).await?;
        let request = WarmRequest::Entity {
            domain: domain.to_owned(),
            entity: entity.to_owned(),
            scope: scope.to_owned(),
            token: token.id,
        };
        if token.mine {
            let event = NewEvent::new(fresh_id(), "warm", entity, self.clock.now(), &request);
            self.log.append(&Topic::warmup_requests(), &event).await?;
        }
        match self.intake(domain).told::<bool>(token.id).await? {
            crate::command::Decision::Decided(_) => Ok(()),
            crate::command::Decision::Pending => Err(Fault::unavailable().retry_after(1)),
        }
    }

    async fn warm_token(&self, domain: &str, entity: &str, scope: &str) -> Result<WarmToken, Fault> {
        static CLAIM: crate::store::Script = crate::store::Script::new(
            r"
local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return ARGV[1]
",
        );
        let mine = fresh_id();
        let key = format!("{domain}:warming:{{{entity}}}:{scope}");
        let held: String =
            self.store.ask(crate::store::Call::script(&CLAIM, [key]).arg(mine.to_string()).arg(WARM_CLAIM_S)).await?;
        let id = Uuid::try_parse(&held).unwrap_or(mine);
        Ok(WarmToken { id, mine: id == mine })
    }
}

/// One warm-up of a scope is in flight for this long at most; then the next caller asks again.
const WARM_CLAIM_S: u32 = 10;

struct WarmToken {
    id: Uuid,
    mine: bool,
}
