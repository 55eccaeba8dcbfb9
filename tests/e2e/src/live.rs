//! A live stream as a client holds it.

use crate::{
    SOON,
    transport::{Addresses, Connection, Transport},
};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;
use velvet_kit::client::ws::Event;

/// All that `messageEvents` says.
pub const MESSAGE_EVENTS: &str = "subscription($after: Cursor) { messageEvents(after: $after) {
    __typename
    ... on MessageSent { cursor message { id position body conversationId sender { id displayName } } }
    ... on MessageEdited { cursor message { id position body } }
    ... on MessageDeleted { cursor conversationId messageId }
    ... on MessageReacted { cursor message { id reactions { emoji userIds } } }
    ... on ReadMarked { cursor conversationId userId position }
    ... on StreamReset { cursor reason }
} }";

/// All that `matchEvents` says; it crosses three subgraphs.
pub const MATCH_EVENTS: &str = "subscription($after: Cursor) { matchEvents(after: $after) {
    __typename
    ... on MatchCreated { cursor match { id with { id displayName } conversation { id open } } }
    ... on MatchEnded { cursor matchId }
    ... on StreamReset { cursor reason }
} }";

/// One subscription on a connection of its own.
#[derive(Debug)]
pub struct Stream {
    connection: Connection,
    field: String,
    /// Where it stands, as the transport says beside each event.
    pub cursor: Option<String>,
}

impl Stream {
    /// Subscribes and waits until the stream stands: what happens from now on will come.
    pub async fn open(
        transport: Transport,
        addresses: &Addresses,
        token: Option<&str>,
        query: &str,
        extensions: Value,
    ) -> Result<Self> {
        let mut extensions = extensions;
        let announced = extensions.get("after").is_none();
        if announced {
            extensions = json!({ "position": true });
        }
        let payload = json!({ "query": query, "extensions": extensions });
        let connection = Connection::open(transport, addresses, token, payload).await?;
        let field = query.split('{').nth(1).and_then(|rest| rest.split(['(', ' ', '{']).find(|word| !word.is_empty()));
        let field = field.context("a subscription names a field")?.to_owned();
        let mut stream = Self { connection, field, cursor: None };
        if announced {
            let first = stream.payload(SOON).await?;
            if first["extensions"]["positioned"] != true {
                bail!("expected the start of the stream and got {first}");
            }
        }
        Ok(stream)
    }

    async fn payload(&mut self, within: Duration) -> Result<Value> {
        match self.connection.next(within).await? {
            Event::Next(payload) => {
                if let Some(cursor) = payload["extensions"]["cursor"].as_str() {
                    self.cursor = Some(cursor.to_owned());
                }
                Ok(payload)
            }
            other => bail!("the stream ended: {other:?}"),
        }
    }

    /// What comes next.
    pub async fn next(&mut self) -> Result<Value> {
        self.next_within(SOON).await
    }

    /// What comes next, when it may take longer.
    pub async fn next_within(&mut self, within: Duration) -> Result<Value> {
        let mut payload = self.payload(within).await?;
        if payload["errors"].as_array().is_some_and(|errors| !errors.is_empty()) {
            bail!("an event with errors: {payload}");
        }
        Ok(payload["data"][&self.field].take())
    }

    /// The next event of this type; others are passed over.
    pub async fn next_of(&mut self, typename: &str) -> Result<Value> {
        loop {
            let event = self.next().await?;
            if event["__typename"] == typename {
                return Ok(event);
            }
        }
    }

    /// How the operation ends.
    pub async fn end(&mut self) -> Result<Event> {
        self.connection.next(SOON).await
    }

    /// Where the stream stands, for another one to go on from.
    pub fn resume(&self) -> Value {
        json!({ "after": self.cursor })
    }
}
