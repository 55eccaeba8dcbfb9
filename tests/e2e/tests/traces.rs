//! One trace follows a request from the router through the subgraph and the log to the projector and the writer.

use anyhow::{Context, Result, ensure};
use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::ResourceSpans,
};
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use uuid::Uuid;
use velvet_e2e::{Person, conversation_of, meet};
use velvet_kit::{Handle, until};

/// Processes send what they have recorded every five seconds.
const EXPORTED: Duration = Duration::from_secs(30);

const SEND: &str = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { __typename } }";

/// The service and the name of each span of one trace.
type Spans = Arc<Mutex<BTreeSet<(String, String)>>>;

#[tokio::test]
async fn a_message_can_be_followed_from_the_router_to_the_row() -> Result<()> {
    let stack = Handle::from_env()?;
    // The only collector at its address.
    let _turn = stack.exclusive().await?;
    let trace = Uuid::from_u128(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    let spans = collect(&stack, trace).await?;
    let (alice, bob) = (Person::sign_up(&stack, "alice").await?, Person::sign_up(&stack, "bob").await?);
    let match_id = meet(&alice, &bob).await?;
    let conversation = conversation_of(&alice, &match_id).await?;

    let traceparent = format!("00-{}-b7ad6b7169203331-01", trace.simple());
    let input = json!({ "conversationId": conversation, "clientId": "traced", "body": "hello" });
    let request = json!({ "query": SEND, "variables": { "input": input } });
    let sent = reqwest::Client::new()
        .post(&stack.info.graphql_url)
        .bearer_auth(alice.client.token().context("alice is signed in")?)
        .header("content-type", "application/json")
        .header("traceparent", traceparent)
        .body(request.to_string())
        .send()
        .await?;
    assert!(sent.text().await?.contains("MessageSent"));

    let expected = [
        ("velvet-router", "http_request"),
        ("velvet-router", "subgraph_request"),
        ("velvet", "subgraph.request"),
        ("velvet", "project.batch"),
        ("velvet-writer", "writer.batch"),
    ];
    until("spans of all processes", EXPORTED, || async {
        let spans = spans.lock();
        for (service, name) in expected {
            ensure!(spans.contains(&(service.to_owned(), name.to_owned())), "no {name} of {service} in {spans:?}");
        }
        Ok(())
    })
    .await
}

/// Listens where the stack sends its traces.
async fn collect(stack: &Handle, trace: Uuid) -> Result<Spans> {
    let spans = Spans::default();
    let address = stack.info.collector_url.strip_prefix("http://").context("the collector's address")?;
    let listener = tokio::net::TcpListener::bind(address).await.context("listening as the collector")?;
    let routes = Router::new().route("/v1/traces", post(receive)).with_state((trace, Arc::clone(&spans)));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(spans)
}

async fn receive(State((trace, spans)): State<(Uuid, Spans)>, body: Bytes) -> Result<(), String> {
    let request = ExportTraceServiceRequest::decode(body).map_err(|error| error.to_string())?;
    for exported in request.resource_spans {
        let service = service_of(&exported);
        let of_trace = exported.scope_spans.into_iter().flat_map(|scope| scope.spans);
        let names = of_trace.filter(|span| span.trace_id == trace.as_bytes()).map(|span| (service.clone(), span.name));
        spans.lock().extend(names);
    }
    Ok(())
}

fn service_of(exported: &ResourceSpans) -> String {
    let attributes = exported.resource.iter().flat_map(|resource| &resource.attributes);
    let name =
        attributes.filter(|pair| pair.key == "service.name").find_map(|pair| pair.value.as_ref()?.value.as_ref());
    match name {
        Some(Value::StringValue(name)) => name.clone(),
        _ => String::new(),
    }
}
