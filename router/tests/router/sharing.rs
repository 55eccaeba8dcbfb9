//! Streams that are the same for all: one upstream, one execution per event, and each follower for itself.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::{Stack, eventually, start};
use crate::streams::{Item, MULTIPART, SSE, Stream, post};

const HEADLINES: &str = "subscription { headlines { ... on Posted { post { id author { name } } } } }";

/// A follower over any of the protocols.
enum Follower {
    Socket(Box<Client>),
    Stream(Stream),
}

impl Follower {
    async fn event(&mut self) -> Value {
        match self {
            Self::Socket(client) => client.event("s").await,
            Self::Stream(stream) => stream.event().await,
        }
    }
}

/// A socket that follows from where it was told.
async fn follow(stack: &Stack, token: Option<&str>, payload: Value) -> Client {
    let mut client = Box::pin(Client::ready(stack.router.port, token)).await;
    client.subscribe_with("s", payload).await;
    client
}

/// The same from now on.
async fn follow_from_now(stack: &Stack, token: Option<&str>, query: &str) -> Client {
    let payload = json!({ "query": query, "extensions": { "position": true } });
    let mut client = Box::pin(follow(stack, token, payload)).await;
    let event = client.event("s").await;
    assert_eq!(event["extensions"]["positioned"], true, "{event}");
    client
}

fn running(stack: &Stack) -> usize {
    stack.world().running.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_hundred_followers_cost_the_subgraphs_what_one_does() {
    let stack = start("{}").await;
    let mut followers = Vec::new();
    for number in 0..100 {
        let subject = format!("viewer-{number}");
        followers.push(match number % 4 {
            0 => Follower::Socket(Box::new(follow_from_now(&stack, None, HEADLINES).await)),
            1 => {
                let token = stack.world().issuer.token(&subject, 900);
                Follower::Socket(Box::new(follow_from_now(&stack, Some(&token), HEADLINES).await))
            }
            2 => Follower::Stream(Stream::open(&stack, SSE, &subject, HEADLINES).await),
            _ => Follower::Stream(Stream::open(&stack, MULTIPART, &subject, HEADLINES).await),
        });
    }
    stack.streaming(1).await;
    for number in 1..=20 {
        stack.world().post("text", &format!("author-{number}"));
    }
    for follower in &mut followers {
        for number in 1..=20 {
            let author = json!({ "name": format!("AUTHOR-{number}") });
            let post = json!({ "id": number.to_string(), "author": author });
            let cursor = json!({ "cursor": number.to_string() });
            let expected = json!({ "data": { "headlines": { "post": post } }, "extensions": cursor });
            assert_eq!(follower.event().await, expected);
        }
    }
    let subscribes = stack.world().subscribes.lock().unwrap().clone();
    assert_eq!(subscribes.len(), 1);
    assert_eq!(subscribes[0]["extensions"], json!({ "position": true }), "nobody's name is in it");
    let fetches = stack.world().entity_requests.lock().unwrap().clone();
    assert_eq!(fetches, vec![None; 20], "one for each event, in nobody's name");
    assert_eq!(stack.router.metric("velvet_router_events_executed_total").await, 20);
    assert_eq!(stack.router.metric("velvet_router_streams_shared").await, 1);

    let mut last = followers.pop().unwrap();
    drop(followers);
    eventually("the others have gone", async || stack.router.metric("velvet_router_sockets").await == 1).await;
    stack.world().post("text", "ann");
    assert_eq!(last.event().await["extensions"]["cursor"], "21");
    assert_eq!(running(&stack), 1);
    drop(last);
    eventually("the stream is over at the subgraph", async || running(&stack) == 0).await;
    assert_eq!(stack.router.metric("velvet_router_streams_shared").await, 0);
}

#[tokio::test]
async fn a_slow_follower_is_closed_and_holds_up_nobody() {
    let bounds = "{queue_bytes_max: 200000, close_grace_ms: 30000}";
    let stack = start(&format!("plugins: {{velvet.subscriptions: {{client: {bounds}}}}}")).await;
    let query = "subscription { headlines { ... on Posted { post { text author { name } } } } }";
    let mut quick = follow_from_now(&stack, None, query).await;
    let mut slow = follow_from_now(&stack, None, query).await;
    // What is compressed may not be slow at all.
    let plain = [("accept-encoding", "identity")];
    let mut slow_stream = Stream::of(post(&stack, SSE, &plain, &json!({ "query": query })).await);
    let text = "x".repeat(50_000);
    let mut posted = 0;
    while stack.router.metric("velvet_router_sockets_slow_total").await < 2 {
        assert!(posted < 500, "more than the kernel's buffers and the queue hold");
        stack.world().post(&text, "ann");
        posted += 1;
        assert_eq!(quick.event("s").await["extensions"]["cursor"], posted.to_string());
    }
    assert_eq!(slow.close_code().await, 4008);
    let end = loop {
        match slow_stream.said().await {
            Item::Next(..) => {}
            other => break other,
        }
    };
    assert_eq!(end, Item::End);
    assert_eq!(stack.world().subscribes.lock().unwrap().len(), 1);
    assert_eq!(stack.world().entity_requests.lock().unwrap().len(), posted);
}

#[tokio::test]
async fn one_that_comes_back_is_brought_up_and_then_follows_with_the_others() {
    let stack = start("{}").await;
    let mut alice = follow_from_now(&stack, None, HEADLINES).await;
    for number in 1..=3 {
        stack.world().post("text", "ann");
        assert_eq!(alice.event("s").await["extensions"]["cursor"], number.to_string());
    }
    let after = |cursor: usize| json!({ "query": HEADLINES, "extensions": { "after": cursor.to_string() } });
    let mut bob = follow(&stack, None, after(1)).await;
    assert_eq!(bob.event("s").await["extensions"]["cursor"], "2");
    assert_eq!(bob.event("s").await["extensions"]["cursor"], "3");
    eventually("he has left his own stream", async || running(&stack) == 1).await;
    stack.world().post("text", "ann");
    assert_eq!(alice.event("s").await["extensions"]["cursor"], "4");
    assert_eq!(bob.event("s").await["extensions"]["cursor"], "4");
    // One that has missed nothing needs no stream of its own.
    let asked = stack.world().subscribes.lock().unwrap().len();
    let told = json!({ "query": HEADLINES, "extensions": { "after": "4", "position": true } });
    let mut carol = follow(&stack, None, told).await;
    assert_eq!(carol.event("s").await["extensions"], json!({ "cursor": "4", "positioned": true }));
    stack.world().post("text", "ann");
    assert_eq!(carol.event("s").await["extensions"]["cursor"], "5");
    assert_eq!(stack.world().subscribes.lock().unwrap().len(), asked);
    drop((alice, bob, carol));
    eventually("nothing is left", async || running(&stack) == 0).await;

    // All of them come back at once, to a router that has nothing to join.
    stack.world().post("text", "ann");
    let mut back = Vec::new();
    for number in 0..10 {
        back.push(follow(&stack, None, after(number % 6)).await);
    }
    for (number, client) in back.iter_mut().enumerate() {
        for cursor in number % 6 + 1..=6 {
            assert_eq!(client.event("s").await["extensions"]["cursor"], cursor.to_string());
        }
    }
    eventually("they follow together", async || running(&stack) == 1).await;
}

#[tokio::test]
async fn those_that_come_back_while_much_is_posted_get_each_event_once_in_order() {
    let stack = start("{}").await;
    let mut alice = follow_from_now(&stack, None, HEADLINES).await;
    let mut others: Vec<(usize, Client)> = Vec::new();
    for round in 0..20 {
        for _ in 0..10 {
            stack.world().post("text", "ann");
        }
        let after = round * 7;
        let payload = json!({ "query": HEADLINES, "extensions": { "after": after.to_string() } });
        others.push((after, follow(&stack, None, payload).await));
    }
    for cursor in 1..=200 {
        assert_eq!(alice.event("s").await["extensions"]["cursor"], cursor.to_string());
    }
    for (after, client) in &mut others {
        for cursor in *after + 1..=200 {
            assert_eq!(client.event("s").await["extensions"]["cursor"], cursor.to_string(), "from {after}");
        }
    }
    eventually("all follow together", async || running(&stack) == 1).await;
    stack.world().post("text", "ann");
    for (_, client) in &mut others {
        assert_eq!(client.event("s").await["extensions"]["cursor"], "201");
    }
}

#[tokio::test]
async fn a_stream_for_those_who_are_signed_in_is_followed_by_nobody_else() {
    let stack = start("{}").await;
    let briefings = "subscription { briefings }";
    let mut nobody = stack.anon().await;
    nobody.subscribe("s", briefings).await;
    assert_eq!(nobody.error_code("s").await, "UNAUTHENTICATED");
    let mut over_http = Stream::of(post(&stack, SSE, &[], &json!({ "query": briefings })).await);
    assert_eq!(over_http.event().await["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    assert_eq!(running(&stack), 0);

    // A token that ends, ends its own part alone.
    let short = stack.world().issuer.token("bob", 3);
    let alice = stack.world().issuer.token("alice", 900);
    let mut bob = follow_from_now(&stack, Some(&short), briefings).await;
    let mut alice = follow_from_now(&stack, Some(&alice), briefings).await;
    assert_eq!(bob.error_code("s").await, "UNAUTHENTICATED");
    assert_eq!(bob.close_code().await, 4403);
    stack.world().post("one", "ann");
    assert_eq!(alice.event("s").await["data"]["briefings"], "one");
    assert_eq!(stack.world().subscribes.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn other_variables_are_another_stream_and_another_selection_another_execution() {
    let stack = start("{}").await;
    let token = stack.world().issuer.token("alice", 900);
    let query = "subscription A($p: String!) { briefings(prefix: $p) }";
    let asked = |query: &str, prefix: &str| json!({ "query": query, "variables": { "p": prefix } });
    let mut first = follow(&stack, Some(&token), asked(query, "a ")).await;
    let mut second = follow(&stack, Some(&token), asked(query, "b ")).await;
    // Another name, and a variable that stands for the same.
    let named = "subscription B($p: String!) { briefings(prefix: $p) }";
    let mut third = follow(&stack, Some(&token), asked(named, "b ")).await;
    stack.streaming(2).await;
    // Answered in order: it follows by now.
    third.send(&json!({ "id": "q", "type": "subscribe", "payload": asked(named, "c ") })).await;
    stack.streaming(3).await;
    stack.world().post("one", "ann");
    assert_eq!(first.event("s").await["data"]["briefings"], "a one");
    assert_eq!(second.event("s").await["data"]["briefings"], "b one");
    let mut both = [third.message().await, third.message().await];
    both.sort_by_key(|message| message["id"].to_string());
    assert_eq!(both[0]["payload"]["data"]["briefings"], "c one");
    assert_eq!(both[1]["payload"]["data"]["briefings"], "b one");
    assert_eq!(stack.world().subscribes.lock().unwrap().len(), 3);

    // The keys alone are the owning subgraph's: the same stream, executed for each selection.
    let mut followers = Vec::new();
    for name in ["name", "nickname", "n: name"] {
        let query = format!("subscription {{ headlines {{ ... on Posted {{ post {{ author {{ {name} }} }} }} }} }}");
        followers.push(follow_from_now(&stack, None, &query).await);
    }
    stack.world().post("two", "ann");
    for (follower, expected) in
        followers.iter_mut().zip([json!({ "name": "ANN" }), json!({ "nickname": "a" }), json!({ "n": "ANN" })])
    {
        assert_eq!(follower.event("s").await["data"]["headlines"]["post"]["author"], expected);
    }
    assert_eq!(stack.world().subscribes.lock().unwrap().len(), 4);
    assert_eq!(stack.router.metric("velvet_router_events_executed_total").await, 3);
}

#[tokio::test]
async fn a_subgraph_that_comes_back_has_lost_nothing_for_any_follower() {
    let mut stack = start("plugins: {velvet.subscriptions: {upstream: {backoff_max_ms: 200}}}").await;
    let mut alice = follow_from_now(&stack, None, "subscription { headlines { ... on Posted { post { id } } } }").await;
    let mut bob = follow_from_now(&stack, None, "subscription { headlines { ... on Posted { post { id } } } }").await;
    for round in 0..3 {
        stack.world().post("before", "ann");
        for client in [&mut alice, &mut bob] {
            assert_eq!(client.event("s").await["extensions"]["cursor"], (round * 2 + 1).to_string());
        }
        stack.api.kill().await;
        stack.world().post("while it was away", "ann");
        stack.api.restart().await;
        for client in [&mut alice, &mut bob] {
            assert_eq!(client.event("s").await["extensions"]["cursor"], (round * 2 + 2).to_string());
        }
    }
}

#[tokio::test]
async fn a_subgraph_that_stays_away_ends_it_for_all() {
    let overrides = "plugins: {velvet.subscriptions: {upstream: {outage_max_ms: 1, backoff_max_ms: 100}}}";
    let mut stack = start(overrides).await;
    let mut alice = follow_from_now(&stack, None, HEADLINES).await;
    let mut bob = Stream::open(&stack, SSE, "bob", HEADLINES).await;
    stack.api.kill().await;
    assert_eq!(alice.error_code("s").await, "UNAVAILABLE");
    assert_eq!(bob.event().await["errors"][0]["extensions"]["code"], "UNAVAILABLE");
    assert_eq!(bob.item().await, Item::Complete);
    stack.api.restart().await;
    let mut again = follow_from_now(&stack, None, HEADLINES).await;
    stack.world().post("one", "ann");
    assert_eq!(again.event("s").await["extensions"]["cursor"], "1");
}

#[tokio::test]
async fn executions_of_one_event_make_the_same_fetch_once() {
    let stack = start("{}").await;
    let wide = "subscription { headlines { ... on Posted { post { text author { name } } } } }";
    let mut followers = vec![follow_from_now(&stack, None, HEADLINES).await, follow_from_now(&stack, None, wide).await];
    // The same for one viewer's own streams, and apart from another's.
    let (alice, bob) = (stack.world().issuer.token("alice", 900), stack.world().issuer.token("bob", 900));
    let own = "subscription { posts { ... on Posted { post { id author { name } } } } }";
    let own_wide = "subscription Other { posts { ... on Posted { post { text author { name } } } } }";
    for (token, query) in [(&alice, own), (&alice, own_wide), (&bob, own)] {
        followers.push(follow_from_now(&stack, Some(token), query).await);
    }
    stack.world().entities_answered.send_replace(false);
    stack.world().post("one", "ann");
    eventually("all are under way", async || stack.router.metric("velvet_router_events_executed_total").await == 5)
        .await;
    eventually("two wait for others", async || stack.router.metric("velvet_router_fetches_coalesced_total").await == 2)
        .await;
    stack.world().entities_answered.send_replace(true);
    for (follower, stream) in followers.iter_mut().zip(["headlines", "headlines", "posts", "posts", "posts"]) {
        assert_eq!(follower.event("s").await["data"][stream]["post"]["author"]["name"], "ANN");
    }
    let mut headers = stack.world().entity_requests.lock().unwrap().clone();
    headers.sort();
    let mut expected = vec![None, Some(format!("Bearer {alice}")), Some(format!("Bearer {bob}"))];
    expected.sort();
    assert_eq!(headers, expected);
}
