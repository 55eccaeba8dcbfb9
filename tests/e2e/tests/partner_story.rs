//! A partner's integration, from the key to the last event: published, called, followed, and shut out.

use anyhow::{Context, Result, ensure};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use velvet_e2e::{Person, SOON, meet, partner::Partner};
use velvet_kit::{
    Handle,
    client::ws::{Frame, PROTOCOL, Socket},
    until,
};

const ME: &str = "query Me { me { user { id } } }";
const MATCHES: &str =
    "subscription Matches { matchEvents { __typename ... on MatchCreated { match { with { id } } } } }";
const REFUSED_TO_THE_SCOPES: &str = "query Conversations { conversations(first: 1) { nodes { id } } }";

/// The partner's own program: it knows the router and its key.
struct Integration {
    http: reqwest::Client,
    router: String,
    key: String,
}

impl Integration {
    fn new(stack: &Handle, key: String) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(SOON).build().context("making an HTTP client")?;
        Ok(Self { http, router: stack.info.router_url.clone(), key })
    }

    async fn publish(&self, manifest: &Value, idempotency_key: &str) -> Result<(StatusCode, Value)> {
        let url = format!("{}/graphql/op?client=app&idempotencyKey={idempotency_key}", self.router);
        read(self.http.post(url).header("x-api-key", &self.key).json(manifest)).await
    }

    async fn call(&self, body: Value) -> Result<(StatusCode, Value)> {
        let url = format!("{}/graphql", self.router);
        read(self.http.post(url).header("x-api-key", &self.key).json(&body)).await
    }

    async fn get(&self, id: &str, etag: Option<&header::HeaderValue>) -> Result<reqwest::Response> {
        let mut request = self.http.get(format!("{}/graphql/op/{id}", self.router)).header("x-api-key", &self.key);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        Ok(request.send().await?)
    }

    async fn follow(&self, stack: &Handle, id: &str) -> Result<(Socket, String)> {
        let mut socket = Socket::connect(&stack.info.ws_url, Some(PROTOCOL)).await?;
        socket.send(&json!({ "type": "connection_init", "payload": { "apiKey": self.key } })).await?;
        let acknowledged = socket.frame(SOON).await?;
        ensure!(matches!(&acknowledged, Frame::Json(ack) if ack["type"] == "connection_ack"), "{acknowledged:?}");
        let position = json!({ "documentId": id, "extensions": { "position": true } });
        let operation = socket.subscribe_with(position).await?;
        // The position: from here on nothing is missed.
        socket.next(&operation, SOON).await?.payload()?;
        Ok((socket, operation))
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value)> {
    let response = request.send().await?;
    Ok((response.status(), response.json().await?))
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

async fn key(partner: &Partner) -> Result<(String, String)> {
    let scopes = ["accounts:query", "matching:subscription"];
    let input = json!({ "slug": partner.slug, "mode": "TEST", "scopes": scopes, "idempotencyKey": "story" });
    let selection = "... on PartnerKeyCreated { secret key { prefix } }";
    let created = partner.change("createPartnerKey", "CreatePartnerKeyInput", input, selection).await?;
    let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("no key: {created}"));
    Ok((text(&created["secret"])?, text(&created["key"]["prefix"])?))
}

#[tokio::test]
async fn a_partner_publishes_calls_follows_and_is_shut_out_within_a_second() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let (secret, prefix) = key(&partner).await?;
    let app = Integration::new(&stack, secret)?;

    // All or nothing: one operation beyond the key's scopes, and none is registered.
    let beyond = json!({ "me": ME, "conversations": REFUSED_TO_THE_SCOPES });
    let (status, report) = until("the key is known to the router", SOON, || async {
        let answer = app.publish(&beyond, "first").await?;
        ensure!(answer.0 != StatusCode::UNAUTHORIZED, "{answer:?}");
        Ok(answer)
    })
    .await?;
    assert_eq!((status, &report["ok"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(false)), "{report}");
    assert_eq!(code(&app.call(json!({ "documentId": "me" })).await?.1), "OPERATION_NOT_FOUND");

    let (status, report) = app.publish(&json!({ "me": ME, "matches": MATCHES }), "second").await?;
    assert_eq!((status, &report["ok"]), (StatusCode::OK, &json!(true)), "{report}");

    // Called by id, as the partner's service account.
    until("the operation is known to the router", SOON, || async {
        let (status, answer) = app.call(json!({ "documentId": "me" })).await?;
        ensure!(status == StatusCode::OK && answer["data"]["me"]["user"]["id"] == partner.service.id, "{answer}");
        Ok(())
    })
    .await?;
    let whole = app.get("me", None).await?;
    assert_eq!(whole.status(), StatusCode::OK);
    let etag = whole.headers().get(header::ETAG).context("an answer by GET has a tag")?.clone();
    assert_eq!(app.get("me", Some(&etag)).await?.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(code(&app.call(json!({ "query": ME })).await?.1), "OPERATION_REQUIRED");
    assert_eq!(code(&app.call(json!({ "documentId": "nobody's" })).await?.1), "OPERATION_NOT_FOUND");

    // Followed by id: a match arrives live.
    let (mut socket, operation) = app.follow(&stack, "matches").await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    meet(&alice, &partner.service).await?;
    let event = socket.next(&operation, SOON).await?.payload()?;
    assert_eq!(event["data"]["matchEvents"]["match"]["with"]["id"], alice.id, "{event}");

    // Revoked: the open socket ends, and no call is answered.
    let input = json!({ "slug": partner.slug, "prefix": prefix });
    partner.change("revokePartnerKey", "RevokePartnerKeyInput", input, "").await?;
    assert_eq!(socket.closed(SOON).await?.0, 4403);
    let (status, refused) = app.call(json!({ "documentId": "me" })).await?;
    assert_eq!((status, code(&refused)), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"));
    Ok(())
}
