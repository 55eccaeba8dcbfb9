//! Messages that subscribers hear of, appended to the log as the API would append them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use velvet_kit::until;

use super::{Reach, first};
use crate::bench::Bench;
use crate::live::fleet::Fleet;
use crate::live::wave::Wave;
use crate::plan::Subscribers;
use crate::population::{self, Conversation, MESSAGES, Members, converse, couples};
use crate::raw::kafka::Kafka;
use crate::report::Row;
use crate::schedule::{Step, exact, open_loop, whole};

/// How long events are awaited after the last one was appended.
const LAST_WITHIN: Duration = Duration::from_secs(15);
/// Of the conversations, one in so many gets a message while nobody is there.
const MISSED_ONE_IN: usize = 20;

/// Who hears of what.
pub struct Events {
    /// Those who subscribe; two by two they have a conversation.
    pub members: Members,
    /// Those who read slowly.
    pub slow: Members,
    pub slow_conversations: Vec<Conversation>,
    conversations: Arc<Vec<Conversation>>,
    kafka: Kafka,
    partitions: i32,
}

impl Events {
    /// The first `people` subscribe, the last `slow` read slowly.
    pub async fn prepare(bench: &Bench, everybody: &Members, people: usize, slow: usize) -> Result<Self> {
        let pairs: Vec<[usize; 2]> = couples(people)
            .into_iter()
            .chain(couples(slow).into_iter().map(|pair| pair.map(|one| one + people)))
            .collect();
        let mut conversations = converse(bench, everybody, pairs).await?;
        let slow_conversations = conversations.split_off(people / 2);
        let kafka = Kafka::connect(&bench.handle.info.kafka_brokers)?;
        let partitions = kafka.partitions(MESSAGES)?;
        Ok(Self {
            members: first(everybody, people),
            slow: Arc::clone(everybody),
            slow_conversations,
            conversations: Arc::new(conversations),
            kafka,
            partitions,
        })
    }

    /// Events to a share of all for a time; the row of what came of them.
    pub async fn wave(
        &self,
        bench: &Bench,
        name: &str,
        what: &str,
        plan: &Subscribers,
        reach: Reach,
        fleet: &Fleet,
    ) -> Result<Row> {
        let measured = Duration::from_secs(plan.seconds);
        // Each message is heard by both members.
        let rate = (exact(self.members.len() as u64) / 2.0 * plan.share_per_second).max(1.0);
        let step = Step::new(rate, measured / 10, measured);
        let wave =
            Arc::new(Wave::new(&format!("{}{what}", bench.run), whole(rate * measured.as_secs_f64() * 1.2) + 10));
        fleet.listen_for(Some(Arc::clone(&wave)));
        let before = bench.used().await;
        let outcome = open_loop(&step, |due| {
            let text = if due.measured {
                wave.send(due.index, due.at, self.heard_by(due.index, reach))
            } else {
                String::from("warm-up")
            };
            let (wave, sending) = (Arc::clone(&wave), self.send(due.index, &text));
            async move { sending.await.inspect_err(|_| wave.unsend(due.index)) }
        })
        .await;
        wait_for(&wave).await;
        fleet.listen_for(None);
        let heard = wave.heard();
        let uses = before.until(&bench.used().await, heard.deliveries);
        let each = exact(heard.deliveries) / exact(outcome.answered.max(1));
        let mut row = Row::new(name, what).latencies(&heard.latencies).uses(uses);
        row.offered_per_second = Some(outcome.offered_per_second * each);
        row.rate_per_second = Some(outcome.achieved_per_second * each);
        row.errors = Some(heard.missing + heard.twice + outcome.errors_total());
        let missing =
            format!("{} of {} missing, {} twice", heard.missing, heard.deliveries + heard.missing, heard.twice);
        Ok(row.note(missing).note(format!("{each:.1} streams hear each; used for each that is heard")))
    }

    /// Messages to some while nobody is there, in the log and the views when this returns.
    pub async fn missed(&self, bench: &Bench, reach: Reach) -> Result<Arc<Wave>> {
        let every = self.conversations.len().min(MISSED_ONE_IN);
        let wave = Arc::new(Wave::new(&format!("{}missed", bench.run), self.conversations.len() as u64));
        let now = std::time::Instant::now();
        for index in (0..self.conversations.len() as u64).step_by(every) {
            let text = wave.send(index, now, self.heard_by(index, reach));
            self.send(index, &text).await.map_err(anyhow::Error::msg)?;
        }
        population::settled(bench, "messaging", LAST_WITHIN).await?;
        Ok(wave)
    }

    fn heard_by(&self, index: u64, reach: Reach) -> u32 {
        let conversation = &self.conversations[self.turn(index)];
        conversation.members.iter().map(|member| reach.streams_of(*member, self.members.len())).sum()
    }

    fn turn(&self, index: u64) -> usize {
        usize::try_from(index).unwrap_or_default() % self.conversations.len()
    }

    fn send(&self, index: u64, text: &str) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let conversation = &self.conversations[self.turn(index)];
        let sender = &self.members[conversation.members[0]];
        self.append(conversation, sender, text)
    }

    /// Appends a message of any text.
    pub fn append(
        &self,
        conversation: &Conversation,
        sender: &population::Member,
        text: &str,
    ) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let client_id = uuid::Uuid::new_v4().to_string();
        let record = population::message(conversation, sender, &client_id, text);
        let (kafka, partitions) = (self.kafka.clone(), self.partitions);
        async move { kafka.send(MESSAGES, partitions, &record).await.map_err(|cause| cause.root_cause().to_string()) }
    }
}

/// What is not there in time is counted as missing.
pub async fn wait_for(wave: &Wave) {
    let complete = || async { if wave.is_complete() { Ok(()) } else { bail!("events are missing") } };
    let _ = until("the last events", LAST_WITHIN, complete).await;
}
