//! What the writer knows of a domain.

use crate::{
    retry::Stopped,
    table::Unfit,
    warm::{Dump, LoadError, Reads, Warmed},
};
use async_trait::async_trait;
use sea_orm::{DatabaseTransaction, DbErr};
use serde_json::Value;
use velvet_kernel::log::{NewEvent, Recorded, Topic};

/// Every domain that has tables.
pub const DOMAINS: [&dyn Domain; 3] =
    [&crate::accounts::Accounts, &crate::matching::Matching, &crate::messaging::Messaging];

/// The domain of this name.
pub fn named(name: &str) -> Option<&'static dyn Domain> {
    DOMAINS.into_iter().find(|domain| domain.name() == name)
}

/// The domain that a topic belongs to.
pub fn of_topic(topic: &Topic) -> Option<&'static dyn Domain> {
    topic.0.split_once('.').and_then(|(name, _)| named(name))
}

/// The tables of a domain.
#[async_trait]
pub trait Domain: Send + Sync {
    /// Its name, as its topics have it.
    fn name(&self) -> &'static str;

    /// An empty batch of rows.
    fn changes(&self) -> Box<dyn Changes>;

    /// Its commands' rules, if it has commands.
    fn rulings(&self) -> Option<&dyn Rulings> {
        None
    }

    /// Reads back what belongs to one entity.
    async fn load(&self, reads: &Reads, entity: &str, scope: &str) -> Result<Vec<Warmed>, LoadError>;

    /// Reads back one shard's tables of this domain, for every domain that keeps something of them.
    async fn dump(&self, dump: &Dump<'_>) -> Result<(), Stopped>;
}

/// Rows that decided events make, on their way to one shard.
#[async_trait]
pub trait Changes: Send + Sync {
    /// Adds what an event makes.
    fn add(&mut self, event: &Recorded) -> Result<(), Unfit>;

    /// Writes what is newer than what is stored. Returns how many rows were sent.
    async fn write(&self, tx: &DatabaseTransaction) -> Result<u64, DbErr>;
}

/// What a domain's commands come to.
#[async_trait]
pub trait Rulings: Send + Sync {
    /// Refuses a command whose data does not parse.
    fn check(&self, command: &Recorded) -> Result<(), Unfit>;

    /// Decides commands in their order: loads what they are judged by, writes the rows of this
    /// shard, and says for each what it came to.
    async fn decide(&self, tx: &DatabaseTransaction, commands: &[&Recorded]) -> Result<Vec<Ruling>, Unruled>;

    /// What is appended to say the outcome of a command to a repeat of it.
    fn retell(&self, repeat: &Recorded, outcome: &Value) -> Result<Vec<Outgoing>, Unfit>;
}

/// Why commands were not decided.
#[derive(Debug, thiserror::Error)]
pub enum Unruled {
    /// The database did not do it.
    #[error("deciding commands")]
    Database(#[from] DbErr),
    /// The data of one does not fit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// What a command came to.
#[derive(Debug)]
pub struct Ruling {
    /// What a repeat is told; holds no secrets.
    pub outcome: Value,
    /// What is appended, in this order.
    pub events: Vec<Outgoing>,
}

/// An event for the outbox.
#[derive(Debug)]
pub struct Outgoing {
    /// Where to.
    pub topic: Topic,
    /// What.
    pub event: NewEvent,
}
