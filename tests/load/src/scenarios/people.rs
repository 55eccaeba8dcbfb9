//! What members of the population do, one after the other, each in their own name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use futures::future::BoxFuture;
use serde_json::json;
use velvet_kit::client::Client;

use super::deck::OWN;
use super::send::{SEND, TEXT};
use super::swipe::SWIPE;
use crate::bench::{Bench, Place};
use crate::graph::{ask, body, mutate};
use crate::population::{Conversation, Member, Members};
use crate::schedule::{Answer, exact};
use crate::steps::Target;

/// Of so many likes, the last one returns the one before it.
const RETURNED_ONE_IN: u64 = 10;

/// Sends the request of a number.
pub type Call = Arc<dyn Fn(u64) -> BoxFuture<'static, Answer> + Send + Sync>;

/// These members' decks through the router, with how many cards an answer had as its note.
pub fn deck_target(bench: &Bench, members: &Members, scenario: &str, what: &str) -> Result<Target> {
    let dealt = Arc::new(Dealt::default());
    let send = People::new(bench, members, Place::Router)?.decks(bench.arguments.cards, Arc::clone(&dealt));
    Ok(Target {
        scenario: scenario.to_owned(),
        what: what.to_owned(),
        place: Some(Place::Router),
        send,
        prepare: None,
        note: Some(Arc::new(move || dealt.said())),
    })
}

/// Members in turn at one place of the graph.
#[derive(Clone)]
pub struct People {
    members: Members,
    client: Client,
}

impl People {
    pub fn new(bench: &Bench, members: &Members, place: Place) -> Result<Self> {
        Ok(Self { members: Arc::clone(members), client: bench.client(&place)? })
    }

    fn client(&self, member: &Member) -> Client {
        self.client.bearer(&member.token)
    }

    fn at(&self, turn: u64) -> usize {
        usize::try_from(turn).unwrap_or_default() % self.members.len()
    }

    /// Decks; how many cards each answer had is counted.
    pub fn decks(&self, cards: u8, dealt: Arc<Dealt>) -> Call {
        let (people, turn) = (self.clone(), AtomicU64::new(0));
        let request = body(OWN, &json!({ "first": cards }));
        Arc::new(move |_| {
            let viewer = people.client(&people.members[people.at(turn.fetch_add(1, Ordering::Relaxed))]);
            let (request, dealt) = (request.clone(), Arc::clone(&dealt));
            Box::pin(async move {
                let data = ask(&viewer, request).await?;
                dealt.note(data["deck"].as_array().ok_or("no deck")?.len());
                Ok(())
            })
        })
    }

    /// Swipes of one kind, each of another pair; `turn` is shared by all kinds, so that no pair comes twice.
    pub fn swipes(&self, action: &'static str, turn: &Arc<AtomicU64>) -> Call {
        let (people, pairs, likes) = (self.clone(), Arc::clone(turn), AtomicU64::new(0));
        let last = std::sync::Mutex::new([0_usize, 1]);
        Arc::new(move |_| {
            let returned = likes.fetch_add(1, Ordering::Relaxed) % RETURNED_ONE_IN == RETURNED_ONE_IN - 1;
            let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let [swiper, other] = match (*last, action) {
                ([swiper, other], "LIKE") if returned => [other, swiper],
                _ => pair(pairs.fetch_add(1, Ordering::Relaxed), people.members.len()),
            };
            *last = [swiper, other];
            drop(last);
            let input = json!({ "userId": people.members[other].id, "action": action });
            let request = body(SWIPE, &json!({ "input": input }));
            let client = people.client(&people.members[swiper]);
            Box::pin(async move { mutate(&client, request, "swipe", "Swiped").await })
        })
    }

    /// Messages in these conversations in turn, of both members in turn.
    pub fn messages(&self, conversations: &Arc<Vec<Conversation>>, run: &str) -> Call {
        let (people, conversations, turn) = (self.clone(), Arc::clone(conversations), AtomicU64::new(0));
        let run = format!("{run}-{}", uuid::Uuid::new_v4().simple());
        Arc::new(move |_| {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            let count = conversations.len() as u64;
            let conversation = &conversations[usize::try_from(turn % count).unwrap_or_default()];
            let sender = conversation.members[usize::from((turn / count) % 2 == 1)];
            let input = json!({ "conversationId": conversation.id, "clientId": format!("{run}-{turn}"), "body": TEXT });
            let request = body(SEND, &json!({ "input": input }));
            let client = people.client(&people.members[sender]);
            Box::pin(async move { mutate(&client, request, "sendMessage", "MessageSent").await })
        })
    }
}

/// The two of a swipe of this number: each with all others, before a pair comes again.
fn pair(turn: u64, members: usize) -> [usize; 2] {
    let turn = usize::try_from(turn).unwrap_or_default();
    let swiper = turn % members;
    [swiper, (swiper + 1 + turn / members % (members - 1)) % members]
}

/// How full decks were.
#[derive(Debug, Default)]
pub struct Dealt {
    answers: AtomicU64,
    cards: AtomicU64,
}

impl Dealt {
    fn note(&self, cards: usize) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.cards.fetch_add(cards as u64, Ordering::Relaxed);
    }

    /// Since the last time this was asked.
    pub fn said(&self) -> String {
        let (answers, cards) = (self.answers.swap(0, Ordering::Relaxed), self.cards.swap(0, Ordering::Relaxed));
        format!("{:.1} cards/answer", exact(cards) / exact(answers.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nobody_swipes_the_same_person_again_before_all_others_and_never_themselves() {
        let pairs: HashSet<[usize; 2]> = (0..5 * 4).map(|turn| pair(turn, 5)).collect();
        assert_eq!(pairs.len(), 20);
        assert!(pairs.iter().all(|[swiper, other]| swiper != other));
        assert_eq!(pair(20, 5), pair(0, 5));
        assert_eq!(pair(3, 2), [1, 0]);
    }
}
