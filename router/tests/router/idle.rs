//! What a client costs that only listens.

use crate::process::{Stack, start};

/// Enough for the cost of one to stand out of the process's own coming and going.
const CLIENTS: usize = 250;

/// What is asked of the router; what it takes in practice is well below.
const BYTES_PER_CLIENT_MAX: u64 = 10 * 1024;

async fn open(stack: &Stack, name: &str) -> Vec<crate::client::Client> {
    let mut clients = Vec::with_capacity(CLIENTS);
    for number in 0..CLIENTS {
        let mut client = stack.viewer(&format!("{name}-{number}")).await;
        client.subscribe("s", "subscription { posts { ... on Posted { post { text author { name } } } } }").await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn a_client_that_only_listens_costs_little() {
    let stack = start("{}").await;
    // The first ones pay for what all have in common.
    let first = open(&stack, "a").await;
    stack.streaming(CLIENTS).await;
    let before = stack.router.resident_bytes();
    let second = open(&stack, "b").await;
    stack.streaming(2 * CLIENTS).await;
    let cost = stack.router.resident_bytes().saturating_sub(before) / second.len() as u64;
    println!("{cost} bytes per idle client");
    assert!(cost <= BYTES_PER_CLIENT_MAX, "{cost} bytes per idle client");
    drop(first);
}
