//! Messages in many conversations, both members in turn; answered when they have their position.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use velvet_kit::client::Client;

use crate::bench::{Bench, Place, say};
use crate::graph::{body, mutate};
use crate::people::{Pair, People};
use crate::schedule::closed_loop;
use crate::steps::{Target, moderate, search};

pub const SEND: &str = "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
    __typename ... on MessageSent { message { id position sentAt } }
} }";
/// As long as people's messages are.
pub const TEXT: &str = "I have two tickets for the concert on Friday and would love to go there with you. Shall we?";

/// A broker that has just started compiles what it runs, on the cores that are measured.
const WARM_UP: Duration = Duration::from_secs(20);
const WARM_UP_WORKERS: u64 = 8;

/// Sends messages that do not count, before anything that appends to the log is measured.
pub async fn warm_up(bench: &Bench, people: &People) -> Result<()> {
    say(&format!("messages for {} s, to warm up", WARM_UP.as_secs()));
    let target = target(bench, people, Place::Router, "warm-up")?;
    closed_loop(WARM_UP_WORKERS, WARM_UP, |index| (target.send)(index)).await;
    Ok(())
}

pub async fn measure(bench: &mut Bench, people: &People) -> Result<()> {
    for place in [Place::Router, Place::Subgraph("messaging")] {
        let target = target(bench, people, place, "measured")?;
        moderate(bench, &target).await?;
        search(bench, &target).await?;
    }
    Ok(())
}

/// Messages whose client ids begin with `series`, as a repeat would only be answered.
fn target(bench: &Bench, people: &People, place: Place, series: &str) -> Result<Target> {
    let senders = Senders::new(bench, &people.pairs, place)?;
    let prefix = format!("{}-{series}-{place}", bench.run);
    let turn = AtomicU64::new(0);
    let send = move |_| -> futures::future::BoxFuture<'static, _> {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let (client, request) = senders.message(turn, &format!("{prefix}-{turn}"), TEXT);
        Box::pin(async move { mutate(&client, request, "sendMessage", "MessageSent").await })
    };
    Ok(Target {
        scenario: "sendMessage".to_owned(),
        what: place.to_string(),
        place: Some(place),
        send: Arc::new(send),
        prepare: None,
        note: None,
    })
}

/// Who writes where.
pub struct Senders(Vec<([Client; 2], String)>);

impl Senders {
    pub fn new(bench: &Bench, pairs: &[Pair], place: Place) -> Result<Self> {
        let client = bench.client(&place)?;
        let of = |pair: &Pair| {
            let member = |index: usize| client.bearer(pair.members[index].client.token().unwrap_or_default());
            ([member(0), member(1)], pair.conversation.clone())
        };
        Ok(Self(pairs.iter().map(of).collect()))
    }

    /// The message of this turn: who sends it, and the request.
    pub fn message(&self, turn: u64, client_id: &str, text: &str) -> (Client, String) {
        let turn = usize::try_from(turn).unwrap_or_default();
        let (members, conversation) = &self.0[turn % self.0.len()];
        let input: Value = json!({ "conversationId": conversation, "clientId": client_id, "body": text });
        (members[turn / self.0.len() % 2].clone(), body(SEND, &json!({ "input": input })))
    }

    /// The same, of the first members alone; its text is its client id.
    pub fn first_members_message(&self, turn: u64, text: &str) -> (Client, String) {
        let pairs = self.0.len() as u64;
        self.message(turn % pairs + turn / pairs * 2 * pairs, text, text)
    }
}
