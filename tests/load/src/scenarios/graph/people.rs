//! What the people of the graph have to show: matches, and messages in the conversation of each.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use velvet_kit::until;

use crate::bench::{Bench, Place, say};
use crate::plan::Graph;
use crate::population::{Conversation, MESSAGES, Members, SWIPES, message, now, ring, settled, swipe};
use crate::raw::kafka::{Kafka, Record};
use crate::scenarios::send::TEXT;

const MATCHES: &str = "{ matches(first: 100) { nodes { with { id } conversation { id } } } }";
/// People whose matches are read at a time.
const AT_ONCE: usize = 4;
const MATCHED_WITHIN: Duration = Duration::from_mins(5);

/// Each of them matches so many others, by likes in the log, and they write to each other.
pub async fn introduce(bench: &Bench, members: &Members, plan: &Graph) -> Result<()> {
    let pairs = ring(members.len(), members.len() * (plan.matches as usize / 2))?;
    say(&format!("{} pairs match and write {} messages each", pairs.len(), plan.messages));
    let kafka = Kafka::connect(&bench.handle.info.kafka_brokers)?;
    let at = now();
    let id = |index: usize| members[index].id.as_str();
    let likes = pairs.iter().flat_map(|[a, b]| [(*a, *b), (*b, *a)]);
    let likes: Vec<Record> = likes.map(|(by, of)| swipe(id(by), id(of), "like", &at)).collect();
    kafka.append(SWIPES, kafka.partitions(SWIPES)?, &likes).await?;

    let conversations = conversations(bench, members, plan.matches as usize).await?;
    let mut texts = Vec::with_capacity(conversations.len() * plan.messages as usize);
    for turn in 0..plan.messages {
        for conversation in &conversations {
            let sender = &members[conversation.members[turn as usize % 2]];
            let client_id = format!("{}-{turn}", bench.run);
            texts.push(message(conversation, sender, &client_id, TEXT));
        }
    }
    kafka.append(MESSAGES, kafka.partitions(MESSAGES)?, &texts).await?;
    settled(bench, "messaging", MATCHED_WITHIN.min(bench.left())).await?;
    settled(bench, "matching", MATCHED_WITHIN.min(bench.left())).await
}

/// Where they write, once everybody has so many.
async fn conversations(bench: &Bench, members: &Members, wanted: usize) -> Result<Vec<Conversation>> {
    let within = MATCHED_WITHIN.min(bench.left());
    let client = bench.client(&Place::Subgraph("matching"))?;
    let places: HashMap<&str, usize> =
        members.iter().enumerate().map(|(index, member)| (member.id.as_str(), index)).collect();
    let read = members.iter().enumerate().map(|(index, member)| {
        let (client, places) = (client.bearer(&member.token), &places);
        async move {
            let found = until("everybody's matches", within, || async {
                let data = client.data(MATCHES, json!({})).await?;
                let open = open(&data, places)?;
                ensure!(open.len() >= wanted, "{} of {wanted}", open.len());
                Ok(open)
            })
            .await?;
            Ok::<_, anyhow::Error>((index, found))
        }
    });
    let all: Vec<(usize, Vec<(String, usize)>)> = stream::iter(read).buffered(AT_ONCE).try_collect().await?;
    let mut conversations = BTreeMap::new();
    for (index, found) in all {
        for (id, other) in found {
            conversations.entry(id.clone()).or_insert(Conversation { id, members: [index, other] });
        }
    }
    Ok(conversations.into_values().collect())
}

/// Of somebody's matches, the conversations that are open with one of us.
fn open(data: &Value, places: &HashMap<&str, usize>) -> Result<Vec<(String, usize)>> {
    let nodes = data["matches"]["nodes"].as_array().context("no matches")?;
    let of = |node: &Value| {
        let other = places.get(node["with"]["id"].as_str()?)?;
        Some((node["conversation"]["id"].as_str()?.to_owned(), *other))
    };
    Ok(nodes.iter().filter_map(of).collect())
}
