//! Accounts: users, their sessions, whose each address is, and partners.

pub mod load;
pub mod rows;
pub mod rulings;

use crate::{
    domain::{Changes, Domain, Rulings},
    retry::Stopped,
    warm::{Dump, LoadError, Reads, Warmed},
};
use async_trait::async_trait;

/// The tables of accounts.
pub struct Accounts;

#[async_trait]
impl Domain for Accounts {
    fn name(&self) -> &'static str {
        velvet_accounts::DOMAIN.name
    }

    fn changes(&self) -> Box<dyn Changes> {
        Box::<rows::Rows>::default()
    }

    fn rulings(&self) -> Option<&dyn Rulings> {
        Some(&rulings::Registrations)
    }

    async fn load(&self, reads: &Reads, entity: &str, _scope: &str) -> Result<Vec<Warmed>, LoadError> {
        load::entity(reads, entity).await
    }

    async fn dump(&self, dump: &Dump<'_>) -> Result<(), Stopped> {
        load::all(dump).await
    }
}
