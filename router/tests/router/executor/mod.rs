//! Operations that the router runs itself are answered as Apollo Router answers them, whatever subgraphs say.

mod graph;
mod operations;

use std::collections::HashMap;
use std::sync::Arc;

use apollo_federation::{ApiSchemaOptions, Supergraph};
use futures::{StreamExt as _, stream};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::process::Router;
use graph::{Graph, MARK, NEARLY_RIGHT, SOUND, schemas};
use operations::{Operation, operation};

const OPERATIONS: u64 = 48;
/// Seeds for what subgraphs say, each with how much of it is not as it should be, in hundredths.
const WORLDS: [(u32, u32); 10] =
    [(1, 0), (2, 0), (3, 1), (4, 1), (5, 3), (6, 3), (7, 8), (8, 20), (NEARLY_RIGHT, 5), (NEARLY_RIGHT + 1, 30)];
/// Calls of each operation until most of them are run. Planning takes its time where nothing is optimised.
const WARM_UPS_MAX: u32 = 50;
/// Calls at once.
const CALLS_MAX: usize = 8;

const RUN: &str = "velvet_router_executor_run";
const HANDED_OVER: &str = "velvet_router_executor_handed_over";

/// Two routers before the same subgraphs: Apollo Router's own execution, and ours.
struct Pair {
    graph: Arc<Graph>,
    apollo: Router,
    ours: Router,
    operations: Vec<Operation>,
    http: reqwest::Client,
}

/// An answer, as far as it has to be the same.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, Option<String>)>,
    body: Value,
    /// Its `data` as it was written: the order of its keys, and that none stands twice, are not seen in a map.
    data: Option<String>,
    /// What subgraphs were asked for it.
    asked: Vec<(String, String)>,
}

impl Pair {
    async fn start(setting: &str) -> Self {
        let (graph, url) = Graph::start().await;
        let folder = tempfile::tempdir().unwrap();
        let operations = operations(folder.path(), &url);
        let manifest: serde_json::Map<_, _> = operations
            .iter()
            .enumerate()
            .map(|(number, one)| (format!("op{number}"), one.text.as_str().into()))
            .collect();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        std::fs::write(folder.path().join("manifests/all.json"), Value::from(manifest).to_string()).unwrap();
        let router = async |operations: &str| {
            let overrides = json!({
                "override_subgraph_url": { "reviews": format!("{url}/reviews/graphql") },
                "traffic_shaping": { "all": { "timeout": "3s" } },
                "plugins": {
                    "velvet.subscriptions": { "subgraphs": { "reviews": { "url": format!("{url}/reviews/graphql") } } },
                    "velvet.partners": { "first_party": { "manifests_dir": folder.path().join("manifests") } },
                    "velvet.limits": { "anonymous": {
                        "tokens": 15_000, "depth": 50, "root_fields": 50, "fields": 5_000, "aliases": 500,
                        "directives": 500, "cost": 100_000_000, "page": 100,
                    } },
                    "velvet.executor": { "operations": operations, "timeout_ms": 3_000 },
                },
            });
            Router::before(&schemas(), &url, &overrides.to_string()).await
        };
        let (apollo, ours) = (router("apollo").await, router(setting).await);
        Self { graph, apollo, ours, operations, http: reqwest::Client::new() }
    }

    async fn ask(&self, router: &Router, mark: &str, body: &Value) -> Answer {
        let request = self.http.post(router.graphql_url()).header(MARK, mark).header("x-velvet-cost", "include");
        let response = request.json(body).send().await.unwrap();
        let status = response.status().as_u16();
        let header =
            |name: &'static str| (name, response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()));
        let headers = ["content-type", "vary", "cache-control", "etag", "ratelimit"].map(header).into();
        let text = response.text().await.unwrap();
        let mut body: Value = serde_json::from_str(&text).unwrap();
        let written: HashMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap();
        let data = written.get("data").map(|data| data.get().to_owned());
        // Fetches side by side end in any order, and Apollo Router tells their errors in the order of their ends.
        if let Some(errors) = body["errors"].as_array_mut() {
            errors.sort_by_key(ToString::to_string);
        }
        Answer { status, headers, body, data, asked: self.graph.asked(mark) }
    }

    /// Calls an operation on both; they have to answer the same after having asked the same.
    async fn compare(&self, number: usize, (seed, faults): (u32, u32), body: &Value) {
        let mark = |who: &str| format!("{who}.{number}-{seed}-{faults}");
        let theirs = self.ask(&self.apollo, &mark("apollo"), body).await;
        let ours = self.ask(&self.ours, &mark("ours"), body).await;
        let text = &self.operations[number].text;
        assert_eq!(ours, theirs, "operation {number}, seed {seed}, faults {faults}%: {text}\n{body}");
    }

    /// Calls every operation before subgraphs without a fault.
    async fn call_all(&self, body: &impl Fn(usize) -> Value) {
        let calls = stream::iter(0..self.operations.len());
        calls
            .for_each_concurrent(CALLS_MAX, async |number| {
                self.ask(&self.ours, "warm-0-0", &body(number)).await;
            })
            .await;
    }

    /// Waits until the plans are there, which come from calls or are made ahead.
    async fn warm(&self, body: impl Fn(usize) -> Value) {
        let all = u64::try_from(self.operations.len()).unwrap();
        for _ in 0..WARM_UPS_MAX {
            let before = self.ours.metric(RUN).await;
            self.call_all(&body).await;
            if self.ours.metric(RUN).await - before > all / 2 {
                return;
            }
        }
        panic!("few operations are run after {WARM_UPS_MAX} calls of each");
    }

    /// Before subgraphs with which nothing is wrong, no execution is handed over that was begun here, and each operation of
    /// a plain kind is run here in the end: as soon as its plan has been looked at.
    async fn finish_what_is_begun(&self, body: impl Fn(usize) -> Value) {
        for (number, operation) in self.operations.iter().enumerate() {
            let (run, handed_over) = (self.ours.metric(RUN).await, self.ours.metric(HANDED_OVER).await);
            for call in 1.. {
                self.compare(number, (SOUND, 0), &body(number)).await;
                let text = &operation.text;
                assert_eq!(
                    self.ours.metric(HANDED_OVER).await,
                    handed_over,
                    "operation {number} was handed over: {text}"
                );
                if self.ours.metric(RUN).await > run || !operation.is_plain() {
                    break;
                }
                assert!(call < WARM_UPS_MAX, "operation {number} is left to Apollo Router: {text}");
            }
        }
    }
}

fn operations(folder: &std::path::Path, url: &str) -> Vec<Operation> {
    let supergraph = crate::process::compose(folder, &schemas(), url);
    let supergraph = Supergraph::new_with_router_specs(&std::fs::read_to_string(supergraph).unwrap()).unwrap();
    let api = supergraph.to_api_schema(ApiSchemaOptions::default()).unwrap();
    (0..OPERATIONS).map(|number| operation(api.schema(), number)).collect()
}

async fn all(pair: &Pair, body: impl Fn(usize) -> Value) {
    let calls = WORLDS.iter().flat_map(|world| (0..pair.operations.len()).map(move |number| (number, *world)));
    stream::iter(calls)
        .for_each_concurrent(CALLS_MAX, |(number, world)| {
            let body = body(number);
            async move { pair.compare(number, world, &body).await }
        })
        .await;
    let (run, handed_over) = (pair.ours.metric(RUN).await, pair.ours.metric(HANDED_OVER).await);
    assert!(run > 100, "{run} operations were run");
    assert!(handed_over > 40, "{handed_over} operations were handed over");
    assert_eq!(pair.apollo.metric(RUN).await, 0);
}

#[tokio::test]
async fn registered_operations_are_answered_as_apollo_router_does_whatever_subgraphs_say() {
    let pair = Pair::start("registered").await;
    let body =
        |number: usize| json!({ "documentId": format!("op{number}"), "variables": pair.operations[number].variables });
    pair.warm(body).await;
    pair.finish_what_is_begun(body).await;
    all(&pair, body).await;
}

#[tokio::test]
async fn texts_that_have_run_before_are_answered_as_apollo_router_does() {
    let pair = Pair::start("known").await;
    let body = |number: usize| {
        let one = &pair.operations[number];
        json!({ "query": one.text, "variables": one.variables })
    };
    pair.warm(body).await;
    pair.finish_what_is_begun(body).await;
    all(&pair, body).await;
}
