//! Messaging: conversations, their messages, and who has read how far.

pub mod load;
pub mod rows;

use crate::{
    domain::{Changes, Domain},
    retry::Stopped,
    warm::{Dump, LoadError, Reads, Warmed},
};
use async_trait::async_trait;

/// The tables of messaging.
pub struct Messaging;

#[async_trait]
impl Domain for Messaging {
    fn name(&self) -> &'static str {
        velvet_messaging::DOMAIN.name
    }

    fn changes(&self) -> Box<dyn Changes> {
        Box::<rows::Rows>::default()
    }

    async fn load(&self, reads: &Reads, entity: &str, scope: &str) -> Result<Vec<Warmed>, LoadError> {
        load::conversation(reads, entity, scope).await
    }

    async fn dump(&self, dump: &Dump<'_>) -> Result<(), Stopped> {
        load::all(dump).await
    }
}
