//! Conversations on every shard, made by facts alone: nobody has to sign up for them.

use crate::{
    HEALED,
    tap::{Tap, event},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use velvet_e2e::database::everywhere;
use velvet_kernel::log::{SHARDS, Stage, Topic, partition_of};
use velvet_kit::{Handle, until};

/// One conversation on each shard, and how much was said in each.
pub struct Talk {
    tap: Tap,
    conversations: Vec<Conversation>,
}

struct Conversation {
    id: String,
    members: [Uuid; 2],
    said: usize,
}

/// A message as the database has it: conversation, position, client id.
type Stored = (String, i64, String);

impl Talk {
    /// Opens the conversations.
    pub async fn open(stack: &Handle) -> Result<Self> {
        let tap = Tap::open(stack)?;
        let conversations: Vec<Conversation> = (0..SHARDS).map(Conversation::on).collect();
        let facts: Vec<_> = conversations.iter().map(Conversation::opened).collect();
        tap.append(&intake(), &facts).await?;
        let talk = Self { tap, conversations };
        let query = format!("SELECT conversation_id FROM {{shard}}.conversations WHERE {}", talk.among(None));
        until("the conversations in PostgreSQL", HEALED, || async {
            let rows = everywhere(stack, &query).await?.len();
            ensure!(rows == talk.conversations.len(), "{rows} of {}", talk.conversations.len());
            Ok(())
        })
        .await?;
        Ok(talk)
    }

    /// Says this many messages, in all conversations in turn.
    pub async fn say(&mut self, count: usize) -> Result<()> {
        let conversations = self.conversations.len();
        let mut facts = Vec::with_capacity(count);
        for number in 0..count {
            facts.push(self.conversations[number % conversations].sent());
        }
        self.tap.append(&intake(), &facts).await
    }

    /// How many messages have been said.
    pub fn said(&self) -> usize {
        self.conversations.iter().map(|conversation| conversation.said).sum()
    }

    /// How many of them were said on one half of the shards, the lower being 0.
    pub fn said_on(&self, half: usize) -> usize {
        let half = self.conversations.chunks(self.conversations.len() / 2).nth(half);
        half.unwrap_or_default().iter().map(|conversation| conversation.said).sum()
    }

    /// The messages that one server holds, which has one half of the shards.
    pub async fn stored_on(&self, stack: &Handle, half: usize) -> Result<usize> {
        let shards = u8::try_from(SHARDS / 2)?;
        let first = u8::try_from(half)? * shards;
        let mut stored = 0;
        for shard in first..first + shards {
            let select = format!("SELECT 1 FROM shard_{shard:02}.messages WHERE {}", self.among(Some(half)));
            stored += stack.database(half)?.query(&select).await?.len();
        }
        Ok(stored)
    }

    /// Waits until at least this many messages are stored.
    pub async fn stored(&self, stack: &Handle, count: usize) -> Result<()> {
        until("the messages in PostgreSQL", HEALED, || async {
            let rows = self.rows(stack).await?.len();
            ensure!(rows >= count, "{rows} of {count} rows");
            Ok(())
        })
        .await
    }

    /// Fails unless every message is stored once, and each conversation's positions have no gap.
    pub async fn check_stored_once_each(&self, stack: &Handle) -> Result<()> {
        let mut by_conversation: BTreeMap<String, (Vec<i64>, BTreeSet<String>)> = BTreeMap::new();
        for (conversation, position, client_id) in self.rows(stack).await? {
            let (positions, client_ids) = by_conversation.entry(conversation).or_default();
            positions.push(position);
            ensure!(client_ids.insert(client_id.clone()), "{client_id} is stored twice");
        }
        for conversation in &self.conversations {
            let (mut positions, client_ids) = by_conversation.remove(&conversation.id).unwrap_or_default();
            positions.sort_unstable();
            let dense: Vec<i64> = (1..=i64::try_from(conversation.said)?).collect();
            ensure!(positions == dense, "{} of {} has the positions {positions:?}", conversation.id, conversation.said);
            let said: BTreeSet<String> = (1..=conversation.said).map(client_id).collect();
            ensure!(client_ids == said, "{} has {client_ids:?}", conversation.id);
        }
        Ok(())
    }

    async fn rows(&self, stack: &Handle) -> Result<Vec<Stored>> {
        let columns = "conversation_id, position, client_id";
        let query = format!("SELECT {columns} FROM {{shard}}.messages WHERE {}", self.among(None));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let rows = everywhere(stack, &query).await?;
        let row = |row: &Value| {
            (text(&row["conversation_id"]), row["position"].as_i64().unwrap_or(-1), text(&row["client_id"]))
        };
        Ok(rows.iter().map(row).collect())
    }

    fn among(&self, half: Option<usize>) -> String {
        let per_half = self.conversations.len() / 2;
        let chosen = half.map_or(&self.conversations[..], |half| &self.conversations[half * per_half..][..per_half]);
        let ids: Vec<String> = chosen.iter().map(|conversation| format!("'{}'", conversation.id)).collect();
        format!("conversation_id IN ({})", ids.join(", "))
    }
}

impl Conversation {
    fn on(shard: i32) -> Self {
        let mut id = Uuid::new_v4();
        while partition_of(&id.to_string(), SHARDS) != shard {
            id = Uuid::new_v4();
        }
        let mut members = [Uuid::new_v4(), Uuid::new_v4()];
        members.sort();
        Self { id: id.to_string(), members, said: 0 }
    }

    fn opened(&self) -> velvet_kernel::log::NewEvent {
        let [a, b] = self.members;
        let at = chrono::Utc::now();
        let fact = json!({ "type": "opened", "match_id": Uuid::new_v4(), "a": a, "b": b, "at": at });
        event(Uuid::new_v4(), "messaging.fact.opened", &self.id, &fact)
    }

    fn sent(&mut self) -> velvet_kernel::log::NewEvent {
        self.said += 1;
        let sender = self.members[self.said % 2];
        let fact = json!({ "type": "sent", "sender": sender, "client_id": client_id(self.said), "body": "hello" });
        event(Uuid::new_v4(), "messaging.fact.sent", &self.id, &fact)
    }
}

fn client_id(number: usize) -> String {
    format!("c{number}")
}

fn intake() -> Topic {
    Topic::of("messaging", Stage::Intake)
}
