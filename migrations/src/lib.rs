//! The tables of one shard. Each of the 16 shards has them all, in a schema of its own.
//!
//! Every primary key begins with the owner of the row, so that the rows of one owner live in one
//! shard, and Citus could distribute the same tables. There are no foreign keys: what a row points
//! at may live in another shard and is written from another topic, in no order. A change expands
//! first and contracts later, one change a file; an index that is made concurrently has its own file
//! and sets `use_transaction` to false.

use sea_orm_migration::prelude::*;

pub use sea_orm_migration::MigratorTrait;

mod m0001_users;
mod m0002_account_emails;
mod m0003_sessions;
mod m0004_swipes;
mod m0005_matches;
mod m0006_blocks;
mod m0007_conversations;
mod m0008_conversation_members;
mod m0009_messages;
mod m0010_reactions;
mod m0011_read_marks;
mod m0012_commands;
mod m0013_outbox;
mod m0014_log_positions;
mod m0015_user_roles;
mod m0016_partners;
mod m0017_partner_keys;
mod m0018_partner_operations;
mod m0019_partner_audit;
mod m0020_partner_usage;
mod m0021_partner_usage_totals;
mod m0022_partner_usage_routers;

/// The migrations, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_users::Migration),
            Box::new(m0002_account_emails::Migration),
            Box::new(m0003_sessions::Migration),
            Box::new(m0004_swipes::Migration),
            Box::new(m0005_matches::Migration),
            Box::new(m0006_blocks::Migration),
            Box::new(m0007_conversations::Migration),
            Box::new(m0008_conversation_members::Migration),
            Box::new(m0009_messages::Migration),
            Box::new(m0010_reactions::Migration),
            Box::new(m0011_read_marks::Migration),
            Box::new(m0012_commands::Migration),
            Box::new(m0013_outbox::Migration),
            Box::new(m0014_log_positions::Migration),
            Box::new(m0015_user_roles::Migration),
            Box::new(m0016_partners::Migration),
            Box::new(m0017_partner_keys::Migration),
            Box::new(m0018_partner_operations::Migration),
            Box::new(m0019_partner_audit::Migration),
            Box::new(m0020_partner_usage::Migration),
            Box::new(m0021_partner_usage_totals::Migration),
            Box::new(m0022_partner_usage_routers::Migration),
        ]
    }
}
