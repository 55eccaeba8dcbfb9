//! Those who run the platform, and partners whom they let in.

use crate::{Person, SOON};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;
use velvet_kit::{Handle, Profile, binaries::Binaries, until};

const REFRESH: &str = "mutation($input: RefreshSessionInput!) { refreshSession(input: $input) {
    __typename ... on Session { accessToken refreshToken account { user { id displayName } email } }
} }";

/// Runs `velvet` with the stack's configuration, as an operator would; what it printed.
pub async fn velvet(stack: &Handle, args: &[&str]) -> Result<String> {
    let config = stack.info.config.to_string_lossy().into_owned();
    let args = [&["--config", &config][..], args].concat();
    let profile = if cfg!(debug_assertions) { Profile::Debug } else { Profile::Release };
    Binaries::find(&stack.info.root, profile)?.run("velvet", &args, &stack.info.state).await
}

/// Somebody who runs the platform: signed up, granted, and signed in anew.
pub async fn admin(stack: &Handle) -> Result<Person> {
    let person = Person::sign_up(stack, "admin").await?;
    velvet(stack, &["grant", "--email", &person.email, "--role", "ADMIN"]).await?;
    let input = json!({ "refreshToken": person.refresh_token });
    let session = stack.client()?.data(REFRESH, json!({ "input": input })).await?["refreshSession"].take();
    Person::from_session(stack, &session)
}

/// A slug that nobody has.
pub fn fresh_slug() -> String {
    format!("p-{}", &Uuid::new_v4().simple().to_string()[..12])
}

/// A partner, from the side of whoever runs the platform.
#[derive(Debug)]
pub struct Partner {
    pub slug: String,
    pub admin: Person,
    /// Whom its calls act as.
    pub service: Person,
    http: reqwest::Client,
    base: String,
}

/// What a plain HTTP route answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The code of a refusal.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }
}

impl Partner {
    /// Makes a partner with a service account of its own.
    pub async fn create(stack: &Handle) -> Result<Self> {
        let (admin, service) = (admin(stack).await?, Person::sign_up(stack, "robot").await?);
        let partner = Self {
            slug: fresh_slug(),
            admin,
            service,
            http: reqwest::Client::builder().timeout(SOON).build().context("making an HTTP client")?,
            base: format!("{}/accounts/partners", stack.info.api_url),
        };
        let input = json!({ "slug": partner.slug, "name": "Acme", "userId": partner.service.id });
        let created = partner.change("createPartner", "CreatePartnerInput", input, CREATED).await?;
        ensure!(created["__typename"] == "PartnerCreated", "{created}");
        Ok(partner)
    }

    /// Sends a mutation of partners and returns its payload.
    pub async fn change(&self, field: &str, input_type: &str, input: Value, selection: &str) -> Result<Value> {
        let query =
            format!("mutation($input: {input_type}!) {{ {field}(input: $input) {{ __typename {selection} }} }}");
        Ok(self.admin.ask(&query, json!({ "input": input })).await?[field].take())
    }

    /// Makes a key; the whole payload.
    pub async fn create_key(&self, idempotency_key: &str) -> Result<Value> {
        let scopes = ["matching:query", "accounts:query"];
        let input = json!({ "slug": self.slug, "mode": "LIVE", "scopes": scopes, "idempotencyKey": idempotency_key });
        self.change("createPartnerKey", "CreatePartnerKeyInput", input, KEY_CREATED).await
    }

    /// Makes a key and returns it in full.
    pub async fn key(&self) -> Result<String> {
        let created = self.create_key(&Uuid::new_v4().to_string()).await?;
        created["secret"].as_str().map(str::to_owned).with_context(|| format!("no key: {created}"))
    }

    /// What of the partner the graph shows to whoever runs the platform.
    pub async fn seen(&self) -> Result<Value> {
        Ok(self.admin.ask(SEEN, json!({ "slug": self.slug })).await?["partner"].take())
    }

    /// Asks for a token.
    pub async fn exchange(&self, key: &str) -> Result<Answer> {
        read(self.http.post(format!("{}/token", self.base)).json(&json!({ "key": key }))).await
    }

    /// A token that must be granted.
    pub async fn token(&self, key: &str) -> Result<String> {
        let answer = self.exchange(key).await?;
        answer.body["token"].as_str().map(str::to_owned).with_context(|| format!("no token: {answer:?}"))
    }

    /// Publishes operations, each by its id and body, to the partner of this slug.
    pub async fn publish_to(&self, slug: &str, token: &str, operations: &[(&str, &str)]) -> Result<Answer> {
        let operations: Vec<Value> = operations
            .iter()
            .map(|(id, body)| json!({ "id": id, "name": "Deck", "kind": "query", "body": body, "cost": 7 }))
            .collect();
        let body = json!({ "partner": slug, "clientName": "app", "operations": operations });
        read(self.http.post(format!("{}/operations", self.base)).bearer_auth(token).json(&body)).await
    }

    /// Publishes operations.
    pub async fn publish(&self, token: &str, operations: &[(&str, &str)]) -> Result<Answer> {
        self.publish_to(&self.slug, token, operations).await
    }

    /// Reads a page of operations, or with `/show` one of them.
    pub async fn operations(&self, token: &str, path: &str, query: &[(&str, &str)]) -> Result<Answer> {
        let url = format!("{}/operations{path}", self.base);
        read(self.http.get(url).query(&[("partner", self.slug.as_str())]).query(query).bearer_auth(token)).await
    }

    /// Retires an operation.
    pub async fn retire(&self, token: &str, id: &str) -> Result<Answer> {
        let body = json!({ "partner": self.slug, "id": id });
        read(self.http.post(format!("{}/operations/retire", self.base)).bearer_auth(token).json(&body)).await
    }

    /// Waits until Redis is whole again, and reads the partner.
    pub async fn back(&self, stack: &Handle) -> Result<Value> {
        let ready = format!("{}/ready", stack.info.api_url);
        until("a rebuild", 6 * SOON, || async {
            let answer = read(self.http.get(&ready)).await?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(())
        })
        .await?;
        self.seen().await
    }
}

/// The part of a key that names it.
pub fn prefix_of(key: &str) -> &str {
    key.split('_').nth(2).unwrap_or_default()
}

const CREATED: &str = "... on PartnerCreated { partner { id slug } } ... on PartnerExists { reason }
    ... on InputInvalid { fields { field message } }";
const KEY_CREATED: &str = "... on PartnerKeyCreated { secret key { prefix mode scopes requireSignature } }
    ... on InputInvalid { fields { field message } }";
const SEEN: &str = "query($slug: String!) { partner(slug: $slug) {
    slug name userId disabled limits { requestsPerSecond burst costPerMinute monthlyQuota }
    keys { prefix mode scopes expiresAt revokedAt }
    operations(first: 100) { nodes { id name kind cost clientName release retiredAt } }
    audit(first: 100) { nodes { by action subject } }
} }";

async fn read(request: reqwest::RequestBuilder) -> Result<Answer> {
    let response = request.send().await.context("asking accounts")?;
    let status = response.status().as_u16();
    let text = response.text().await.context("reading an answer")?;
    let body = serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?;
    Ok(Answer { status, body })
}
