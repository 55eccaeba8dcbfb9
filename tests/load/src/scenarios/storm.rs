//! Messages, as many as go: in one conversation, whose order is one partition's, or in very many.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::people::People;
use crate::bench::{Bench, Place};
use crate::plan::Storm;
use crate::population::{self, converse, people_in, ring};
use crate::steps::{Target, moderate_at, search};

/// People write in some ten conversations each at most.
const CONVERSATIONS_EACH: u32 = 10;

pub async fn measure(bench: &mut Bench, name: &str, plan: &Storm) -> Result<()> {
    let least = plan.conversations.div_ceil(CONVERSATIONS_EACH).max(2) + 1;
    let least = if plan.conversations == 1 { 2 } else { least.max(3) };
    let members = population::members(&bench.handle, least, plan.conversations.max(least)).await?;
    let pairs = ring(members.len(), plan.conversations as usize)?;
    let conversations = Arc::new(converse(bench, &members, pairs).await?);
    let people = people_in(&conversations);
    for place in [Place::Router, Place::Subgraph("messaging")] {
        let send = People::new(bench, &members, place)?.messages(&conversations, &bench.run);
        let note = format!("{} conversations of {people} people", conversations.len());
        let target = Target {
            scenario: name.to_owned(),
            what: place.to_string(),
            place: Some(place),
            send,
            prepare: None,
            note: Some(Arc::new(move || note.clone())),
        };
        moderate_at(bench, &target, plan.rate, Duration::from_secs(plan.seconds)).await?;
        search(bench, &target).await?;
    }
    Ok(())
}
