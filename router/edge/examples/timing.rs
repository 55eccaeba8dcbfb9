//! What one check takes: `cargo run --release --example timing`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use apollo_compiler::Schema;
use apollo_compiler::response::JsonMap;
use velvet_edge::cost::{Weights, estimate};
use velvet_edge::limits::{Bounds, Document};
use velvet_edge::rate::fields::{Policy, Standing, Unit, policies, standings};
use velvet_edge::rate::{Bucket, Limit};

const SUPERGRAPH: &str = include_str!("../../../schema/supergraph.graphql");
const ROUNDS: u32 = 20_000;

const OPERATIONS: [(&str, &str); 3] = [
    ("small", "{ me { email } }"),
    (
        "a page of matches",
        "query($n: Int = 20) { matches(first: $n) { edges { cursor node { id matchedAt with { ...U } conversation { id } } } \
         pageInfo { hasNextPage endCursor } } } fragment U on User { id displayName age bio }",
    ),
    (
        "conversations with messages",
        "{ conversations(first: 20) { edges { node { id with { id displayName } lastMessage { id } \
         messages(last: 50) { edges { node { id body sentAt sender { id displayName } } } pageInfo { hasPreviousPage } } } } } \
         me { user { id displayName } email } matches(first: 20) { nodes { id with { id displayName } } } }",
    ),
];

const BOUNDS: Bounds = Bounds {
    body_bytes: 262_144,
    tokens: 8_000,
    depth: 15,
    root_fields: 20,
    fields: 2_000,
    aliases: 30,
    directives: 50,
    page: 100,
    cost: 10_000,
};

fn main() {
    let schema = Schema::parse(SUPERGRAPH, "supergraph.graphql").expect("the composed schema parses");
    let weights = Weights::of(&schema).expect("its weights are numbers");
    let variables = JsonMap::new();
    for (name, text) in OPERATIONS {
        let document = Document::parse(text, BOUNDS.tokens).expect("it parses");
        let cost = estimate(&weights, &document, None, Some(&variables)).expect("it has a cost");
        let parsing = per_round(|| drop(black_box(Document::parse(black_box(text), BOUNDS.tokens))));
        let checking = per_round(|| {
            let _ = black_box(BOUNDS.admit(black_box(&document), &variables));
            let _ = black_box(estimate(&weights, black_box(&document), None, Some(&variables)));
        });
        println!("{name}: {cost:?}; parsed and counted once in {parsing:.2} µs, checked each time in {checking:.2} µs");
    }
    let limit = Limit::new(50, Duration::from_secs(1), 100).expect("it can be counted");
    let mut bucket = Bucket { level: 0, at_us: 0 };
    let mut now_us = 0;
    let taking = per_round(|| {
        now_us += 20_000;
        let _ = black_box(limit.take(black_box(&mut bucket), now_us, 1));
    });
    let policy = |name| Policy { name, quota: 100, window_seconds: 2, unit: Unit::Request, local: false };
    let standing = |name| Standing { name, remaining: 98, reset_seconds: 1 };
    let telling = per_round(|| {
        drop(black_box(policies(["key", "key-cost", "quota"].map(policy))));
        drop(black_box(standings(["key", "key-cost", "quota"].map(standing))));
    });
    println!("a rate: drawn from a bucket in {taking:.3} µs, three of them told in {telling:.2} µs");
}

fn per_round(mut work: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..ROUNDS {
        work();
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}
