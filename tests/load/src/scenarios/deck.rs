//! Candidates to swipe on, from views alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use serde_json::json;
use velvet_kit::client::Client;
use velvet_kit::servers::redis::open_url;

use crate::bench::{Bench, Place};
use crate::graph::{ask, body};
use crate::people::People;
use crate::schedule::exact;
use crate::steps::{Target, moderate, search};

/// What the subgraph answers by itself; through the router it is the same work and a hop more.
pub const OWN: &str = "query($first: Int!) { deck(first: $first) { user { id } distanceKm superLikedYou } }";
/// What a client shows; profiles come from accounts.
const SHOWN: &str = "query($first: Int!) { deck(first: $first) {
    user { id displayName age bio avatarUrl verified } distanceKm superLikedYou
} }";

pub async fn measure(bench: &mut Bench, people: &People) -> Result<()> {
    let shown = target(bench, people, Place::Router, "with profiles", SHOWN)?;
    moderate(bench, &shown).await?;
    for place in [Place::Router, Place::Subgraph("matching")] {
        let target = target(bench, people, place, "ids", OWN)?;
        moderate(bench, &target).await?;
        search(bench, &target).await?;
    }
    Ok(())
}

fn target(bench: &Bench, people: &People, place: Place, label: &str, query: &str) -> Result<Target> {
    let client = bench.client(&place)?;
    let tokens = people.viewers().iter().filter_map(|person| person.client.token());
    let viewers: Arc<Vec<Client>> = Arc::new(tokens.map(|token| client.bearer(token)).collect());
    let request = body(query, &json!({ "first": bench.arguments.cards }));
    let turn = AtomicU64::new(0);
    let (answers, cards) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counted = (Arc::clone(&answers), Arc::clone(&cards));
    let send = move |_| -> futures::future::BoxFuture<'static, _> {
        let turn = usize::try_from(turn.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
        let (viewers, request) = (Arc::clone(&viewers), request.clone());
        let (answers, cards) = (Arc::clone(&answers), Arc::clone(&cards));
        Box::pin(async move {
            let data = ask(&viewers[turn % viewers.len()], request).await?;
            let dealt = data["deck"].as_array().ok_or("no deck")?.len();
            answers.fetch_add(1, Ordering::Relaxed);
            cards.fetch_add(dealt as u64, Ordering::Relaxed);
            Ok(())
        })
    };
    // How full the decks were is part of the result.
    let note = move || {
        let (answers, cards) = (counted.0.swap(0, Ordering::Relaxed), counted.1.swap(0, Ordering::Relaxed));
        format!("{:.1} cards/answer", exact(cards) / exact(answers.max(1)))
    };
    let ids: Arc<Vec<String>> = Arc::new(people.viewers().iter().map(|person| person.id.clone()).collect());
    let urls = bench.handle.info.redis_urls.clone();
    let prepare = move || -> futures::future::BoxFuture<'static, Result<()>> {
        let (ids, urls) = (Arc::clone(&ids), urls.clone());
        Box::pin(async move { forget_served(&urls, &ids).await })
    };
    Ok(Target {
        scenario: "deck".to_owned(),
        what: format!("{place} · {label}"),
        place: Some(place),
        send: Arc::new(send),
        prepare: Some(Arc::new(prepare)),
        note: Some(Arc::new(note)),
    })
}

/// What five minutes do by themselves: a card that was served may be served again, queues begin anew.
/// Few viewers ask here for as many cards as many would, and would soon measure empty decks.
async fn forget_served(urls: &[String], viewers: &[String]) -> Result<()> {
    for url in urls {
        let mut connection = open_url(url).await?;
        let mut all = redis::pipe();
        for viewer in viewers {
            let of = |what: &str| format!("matching:{what}:{{{viewer}}}");
            all.cmd("DEL").arg(of("cards")).arg(of("scan")).arg(of("served")).ignore();
        }
        // A master of a cluster refuses what another one holds and does the rest.
        let _: redis::RedisResult<()> = all.query_async(&mut connection).await;
    }
    Ok(())
}
