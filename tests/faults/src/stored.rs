//! What PostgreSQL holds of the people of a run.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use velvet_kit::Handle;

const SHARDS: usize = 16;

/// Tables, and the columns that say whose a row is.
const OF_PEOPLE: [(&str, &str); 7] = [
    ("sessions", "user_id"),
    ("swipes", "swiper_id"),
    ("matches", "owner_id"),
    ("blocks", "blocker_id"),
    ("conversation_members", "user_id"),
    ("conversations", "user_a_id"),
    ("conversations", "user_b_id"),
];
const OF_CONVERSATIONS: [&str; 3] = ["messages", "reactions", "read_marks"];

/// Rows by table, each with its columns.
#[derive(Debug, Default, Clone)]
pub struct Stored(pub BTreeMap<String, Vec<Value>>);

impl Stored {
    pub fn of(&self, table: &str) -> &[Value] {
        self.0.get(table).map_or(&[], Vec::as_slice)
    }

    /// All rows that belong to these people and to those with addresses of this run.
    pub async fn read(stack: &Handle, run: &str, users: &BTreeSet<Uuid>) -> Result<Self> {
        let mut stored = Self::default();
        let addresses = [
            ("users".to_owned(), format!("email LIKE '%.{run}@example.test'")),
            ("account_emails".to_owned(), format!("email_normalized LIKE '%.{run}@example.test'")),
        ];
        let users = among(users.iter().copied());
        let owned = OF_PEOPLE.iter().map(|(table, owner)| ((*table).to_owned(), format!("{owner} IN ({users})")));
        stored.add(stack, addresses.into_iter().chain(owned).collect()).await?;
        for rows in stored.0.values_mut() {
            // Both of a pair may be among the people.
            rows.sort_by_key(ToString::to_string);
            rows.dedup();
        }
        let conversations =
            stored.of("conversations").iter().filter_map(|row| row["conversation_id"].as_str()?.parse().ok());
        let ids = among(conversations);
        let of_conversations = OF_CONVERSATIONS.map(|table| (table.to_owned(), format!("conversation_id IN ({ids})")));
        stored.add(stack, of_conversations.to_vec()).await?;
        Ok(stored)
    }

    async fn add(&mut self, stack: &Handle, wanted: Vec<(String, String)>) -> Result<()> {
        let servers = stack.info.postgres.len();
        for server in 0..servers {
            let shards = SHARDS * server / servers..SHARDS * (server + 1) / servers;
            let parts = shards.flat_map(|shard| {
                wanted.iter().map(move |(table, condition)| {
                    format!("SELECT '{table}' AS of_table, to_json(held) AS held FROM shard_{shard:02}.{table} held WHERE {condition}")
                })
            });
            let all = parts.collect::<Vec<_>>().join(" UNION ALL ");
            for mut row in stack.database(server)?.query(&all).await? {
                let table = row["of_table"].as_str().context("a table")?.to_owned();
                self.0.entry(table).or_default().push(row["held"].take());
            }
        }
        Ok(())
    }
}

/// A list for `IN`, which may not be empty.
fn among(ids: impl Iterator<Item = Uuid>) -> String {
    let ids: Vec<String> = ids.chain([Uuid::nil()]).map(|id| format!("'{id}'")).collect();
    ids.join(", ")
}
