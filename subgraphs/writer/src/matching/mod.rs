//! Matching: swipes, matches and blocks.

pub mod load;
pub mod rows;

use crate::{
    domain::{Changes, Domain},
    retry::Stopped,
    warm::{Dump, LoadError, Reads, Warmed},
};
use async_trait::async_trait;

/// The tables of matching.
pub struct Matching;

#[async_trait]
impl Domain for Matching {
    fn name(&self) -> &'static str {
        velvet_matching::DOMAIN.name
    }

    fn changes(&self) -> Box<dyn Changes> {
        Box::<rows::Rows>::default()
    }

    async fn load(&self, reads: &Reads, entity: &str, _scope: &str) -> Result<Vec<Warmed>, LoadError> {
        load::entity(reads, entity).await
    }

    async fn dump(&self, dump: &Dump<'_>) -> Result<(), Stopped> {
        load::all(dump).await
    }
}
