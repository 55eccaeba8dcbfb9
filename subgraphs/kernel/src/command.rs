//! Facts and commands from the caller's side: append, wait for what it meant, answer.

use crate::{
    fault::Fault,
    log::{Log, NewEvent, Stage, Topic},
    project::{Watermarks, outcomes_key},
    store::{Call, Script, Store},
    time::derived_id,
};
use serde::de::DeserializeOwned;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// How long an outcome of a command is kept for a repeat of its request.
const OUTCOME_LIFETIME_S: u64 = 24 * 3600;
/// The first pause between two looks for an outcome that comes by way of the writer; it doubles up to the longest.
const LOOK_PAUSE_FIRST: Duration = Duration::from_millis(4);
const LOOK_PAUSE_LONGEST: Duration = Duration::from_millis(100);

/// KEYS: outcome. ARGV: outcome, lifetime.
static TELL: Script = Script::new("return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2])");

fn told_key(domain: &str, token: Uuid) -> String {
    format!("{domain}:told:{{{token}}}")
}

/// The call that tells whoever waits for `token`; the first telling stays.
pub(crate) fn tell(domain: &str, token: Uuid, outcome: String) -> Call {
    Call::script(&TELL, [told_key(domain, token)]).arg(outcome).arg(OUTCOME_LIFETIME_S)
}

/// The id of a request: the same for a repeat with the same client key, else a new one.
pub fn request_id(scope: &str, operation: &str, client_key: Option<&str>, fresh: Uuid) -> Uuid {
    client_key.map_or(fresh, |key| derived_id(&["request", scope, operation, key]))
}

/// What has become of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<T> {
    /// The writer has decided.
    Decided(T),
    /// It is durable, but not decided yet.
    Pending,
}

/// Appends for one domain and awaits what comes of it.
#[derive(Debug, Clone)]
pub struct Intake {
    domain: &'static str,
    topic: Topic,
    commands: Topic,
    log: Log,
    store: Store,
    watermarks: Arc<Watermarks>,
    wait: Duration,
}

impl Intake {
    pub(crate) fn new(
        domain: &'static str,
        log: Log,
        store: Store,
        watermarks: Arc<Watermarks>,
        wait: Duration,
    ) -> Self {
        let (topic, commands) = (Topic::of(domain, Stage::Intake), Topic::of(domain, Stage::Commands));
        Self { domain, topic, commands, log, store, watermarks, wait }
    }

    /// Appends a fact and answers with its outcome, as the fold gave it.
    ///
    /// Costs one append; the wait is in memory, and what ends it brings the outcome. Only a repeat's is read.
    pub async fn submit<T: DeserializeOwned>(&self, fact: &NewEvent) -> Result<T, Fault> {
        let expectation = self.watermarks.expect(fact.id);
        let receipt = self.log.append(&self.topic, fact).await?;
        let deadline = Instant::now() + self.wait;
        self.watermarks.passed(self.domain, receipt, deadline).await.map_err(|_| Fault::outcome_pending())?;
        let outcome = match expectation.outcome() {
            Some(outcome) => outcome.into_boxed_bytes().into_vec(),
            None => self.read_outcome(fact).await?,
        };
        serde_json::from_slice(&outcome).map_err(|error| {
            tracing::error!(event.kind = fact.kind, %error, "intake.outcome_malformed");
            Fault::internal()
        })
    }

    async fn read_outcome(&self, fact: &NewEvent) -> Result<Vec<u8>, Fault> {
        let key = outcomes_key(self.domain, &fact.key);
        let outcome: Option<Vec<u8>> = self
            .store
            .ask(Call::command_on("HGET", key).arg(fact.id.to_string()))
            .await
            .map_err(|_| Fault::outcome_pending())?;
        outcome.ok_or_else(|| {
            tracing::error!(event.id = %fact.id, event.kind = fact.kind, "intake.outcome_missing");
            Fault::outcome_pending()
        })
    }

    /// Appends a fact that nobody waits for.
    pub async fn note(&self, fact: &NewEvent) -> Result<(), Fault> {
        self.log.append(&self.topic, fact).await?;
        Ok(())
    }

    /// Appends a command and waits for the writer's decision.
    pub async fn command<T: DeserializeOwned>(&self, command: &NewEvent) -> Result<Decision<T>, Fault> {
        self.log.append(&self.commands, command).await?;
        self.told(command.id).await
    }

    /// Waits until a fold has told the outcome of `token`.
    pub async fn told<T: DeserializeOwned>(&self, token: Uuid) -> Result<Decision<T>, Fault> {
        let deadline = Instant::now() + self.wait;
        let mut pause = LOOK_PAUSE_FIRST;
        loop {
            // Redis may be away for a moment; the outcome is not lost, so keep looking.
            let found: Option<Vec<u8>> =
                self.store.ask(Call::command_on("GET", told_key(self.domain, token))).await.unwrap_or_default();
            if let Some(outcome) = found {
                return serde_json::from_slice(&outcome).map(Decision::Decided).map_err(|error| {
                    tracing::error!(%error, "command.outcome_malformed");
                    Fault::internal()
                });
            }
            if Instant::now() + pause >= deadline {
                return Ok(Decision::Pending);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_PAUSE_LONGEST);
        }
    }
}
