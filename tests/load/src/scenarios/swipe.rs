//! Swipes, each of another pair of people, likes and passes in turn; answered when they are folded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use serde_json::json;
use velvet_kit::client::Client;

use crate::bench::{Bench, Place};
use crate::graph::{body, mutate};
use crate::people::People;
use crate::steps::{Target, moderate, search};

pub const SWIPE: &str = "mutation($input: SwipeInput!) { swipe(input: $input) {
    __typename ... on Swiped { match { id } }
} }";

pub async fn measure(bench: &mut Bench, people: &People) -> Result<()> {
    // One count for both places, so that no pair comes twice before all have come once.
    let turn = Arc::new(AtomicU64::new(0));
    for place in [Place::Router, Place::Subgraph("matching")] {
        let target = target(bench, people, place, &turn)?;
        moderate(bench, &target).await?;
        search(bench, &target).await?;
    }
    Ok(())
}

fn target(bench: &Bench, people: &People, place: Place, turn: &Arc<AtomicU64>) -> Result<Target> {
    let client = bench.client(&place)?;
    let tokens = people.all.iter().filter_map(|person| person.client.token());
    let swipers: Arc<Vec<Client>> = Arc::new(tokens.map(|token| client.bearer(token)).collect());
    let targets = Arc::new(people.targets.clone());
    let distinct = swipers.len() * targets.iter().map(Vec::len).min().unwrap_or_default();
    let (turns, seen) = (Arc::clone(turn), Arc::clone(turn));
    let send = move |_| -> futures::future::BoxFuture<'static, _> {
        let turn = usize::try_from(turns.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
        let swiper = turn % swipers.len();
        let round = turn / swipers.len();
        let sought = &targets[swiper % 2];
        // Neighbours begin at other people, so that one round is not all of one person.
        let other = &sought[(round + swiper * 7) % sought.len()];
        let action = if round.is_multiple_of(2) { "LIKE" } else { "PASS" };
        let request = body(SWIPE, &json!({ "input": { "userId": other, "action": action } }));
        let swipers = Arc::clone(&swipers);
        Box::pin(async move { mutate(&swipers[swiper], request, "swipe", "Swiped").await })
    };
    let note = move || {
        let rounds = seen.load(Ordering::Relaxed) > distinct as u64;
        if rounds { "pairs repeat".to_owned() } else { String::new() }
    };
    Ok(Target {
        scenario: "swipe".to_owned(),
        what: place.to_string(),
        place: Some(place),
        send: Arc::new(send),
        prepare: None,
        note: Some(Arc::new(note)),
    })
}
