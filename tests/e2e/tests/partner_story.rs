//! A partner's integration, from the key to the last event: published, called, followed, and shut out.

use anyhow::{Context, Result, ensure};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use velvet_e2e::{
    Person, SOON,
    example::{Done, Example, Following, Integration as Program},
    line::Line,
    meet,
    partner::{Partner, prefix_of},
};
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

/// A key that takes signed calls only.
async fn signing_key(partner: &Partner) -> Result<String> {
    let scopes = ["accounts:query", "matching:query", "matching:subscription"];
    let input = json!({ "slug": partner.slug, "mode": "TEST", "scopes": scopes, "requireSignature": true });
    let created =
        partner.change("createPartnerKey", "CreatePartnerKeyInput", input, "... on PartnerKeyCreated { secret }");
    let created = created.await?;
    created["secret"].as_str().map(str::to_owned).with_context(|| format!("no key: {created}"))
}

async fn rotate(partner: &Partner, key: &str) -> Result<String> {
    let input = json!({ "slug": partner.slug, "prefix": prefix_of(key), "overlapSeconds": 3_600 });
    let selection = "... on PartnerKeyRotated { secret }";
    let rotated = partner.change("rotatePartnerKey", "RotatePartnerKeyInput", input, selection).await?;
    rotated["secret"].as_str().map(str::to_owned).with_context(|| format!("no key: {rotated}"))
}

async fn revoke(partner: &Partner, key: &str) -> Result<()> {
    let input = json!({ "slug": partner.slug, "prefix": prefix_of(key) });
    let revoked = partner.change("revokePartnerKey", "RevokePartnerKeyInput", input, "").await?;
    ensure!(revoked["__typename"] == "PartnerKeyRevoked", "{revoked}");
    Ok(())
}

/// Runs a command until it succeeds: what it needs may not have reached the router yet.
async fn succeeds(app: &Program, args: &[&str]) -> Result<Done> {
    until("a command of the example", 3 * SOON, || async {
        let done = app.run(args).await?;
        ensure!(done.code == Some(0), "{done:?}");
        Ok(done)
    })
    .await
}

/// Somebody new meets the partner's account, and that is the next event and the only one.
async fn told_of_a_match(stream: &mut Following, partner: &Partner, person: &Person) -> Result<()> {
    meet(person, &partner.service).await?;
    let line = stream.next(SOON).await?;
    ensure!(line["event"]["match"]["with"]["id"] == person.id, "{line}");
    ensure!(line["cursor"].is_string() && line.get("errors").is_none(), "{line}");
    Ok(())
}

async fn an_example_tells_the_story(example: Example) -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let (first, line) = (signing_key(&partner).await?, Line::to(&stack.info.router_url).await?);
    let app = Program::new(&stack, example, &line.url, &first)?;

    // It publishes; once more is the same release.
    let published = succeeds(&app, &["publish", "first"]).await?;
    assert_eq!(published.lines[0]["operations"].as_array().map(Vec::len), Some(3), "{published:?}");
    assert_eq!(succeeds(&app, &["publish", "first"]).await?.lines[0]["release"], published.lines[0]["release"]);

    // It calls by id, and by address with a tag.
    let me = succeeds(&app, &["me"]).await?;
    assert_eq!((&me.lines[0]["user"]["id"], &me.lines[0]["unchanged"]), (&json!(partner.service.id), &json!(true)));

    // It reads a connection of two pages.
    let mut met = Vec::new();
    for name in ["ann", "ben", "cleo"] {
        let person = Person::sign_up(&stack, name).await?;
        meet(&person, &partner.service).await?;
        met.push(person.id);
    }
    let listed = succeeds(&app, &["matches"]).await?;
    let mut with: Vec<&str> = listed.lines.iter().filter_map(|line| line["match"]["with"]["id"].as_str()).collect();
    with.sort_unstable();
    met.sort_unstable();
    assert_eq!(with, met);

    // It follows, and misses nothing of what happens while it has no connection.
    let mut stream = app.follow()?;
    assert_eq!(stream.next(SOON).await?["following"], true);
    told_of_a_match(&mut stream, &partner, &Person::sign_up(&stack, "dora").await?).await?;
    let (emil, flo) = (Person::sign_up(&stack, "emil").await?, Person::sign_up(&stack, "flo").await?);
    line.cut();
    meet(&emil, &partner.service).await?;
    meet(&flo, &partner.service).await?;
    line.mend();
    for person in [&emil, &flo] {
        let line = stream.next(SOON).await?;
        assert_eq!(line["event"]["match"]["with"]["id"], person.id, "{line}");
    }

    // Its key is rotated: the old one goes on, and when that ends the new one resumes.
    let second = rotate(&partner, &first).await?;
    told_of_a_match(&mut stream, &partner, &Person::sign_up(&stack, "gina").await?).await?;
    app.put_key(&second)?;
    revoke(&partner, &first).await?;
    told_of_a_match(&mut stream, &partner, &Person::sign_up(&stack, "hugo").await?).await?;

    // Its key is revoked: the stream ends, and says why.
    revoke(&partner, &second).await?;
    let ended = stream.ended(SOON).await?;
    let last = ended.notes.last().context("a reason")?;
    assert_eq!((ended.code, ended.lines.len(), &last["refused"]), (Some(3), 0, &json!("UNAUTHENTICATED")), "{ended:?}");
    let refused = app.run(&["me"]).await?;
    let said = json!([refused.notes[0]["refused"], refused.notes[0]["status"]]);
    assert_eq!((refused.code, said), (Some(3), json!(["UNAUTHENTICATED", 401])), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn the_example_in_typescript_goes_through_two_keys() -> Result<()> {
    an_example_tells_the_story(Example::TypeScript).await
}

#[tokio::test]
async fn the_example_in_python_goes_through_two_keys() -> Result<()> {
    an_example_tells_the_story(Example::Python).await
}
