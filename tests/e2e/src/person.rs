//! A person with an account.

use crate::{
    SOON, Stream,
    transport::{Addresses, Transport},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use uuid::Uuid;
use velvet_kit::{
    Handle,
    client::{Client, Response},
    until,
};

/// Everybody's, in tests.
pub const PASSWORD: &str = "a long enough password";

const REGISTER: &str = "mutation($input: RegisterInput!) { register(input: $input) {
    __typename
    ... on Session { accessToken refreshToken accessTokenExpiresAt account { user { id displayName } email } }
    ... on InputInvalid { reason fields { field message } }
    ... on EmailTaken { reason }
    ... on Pending { reason retryAfterSeconds }
} }";

const SWIPE: &str = "mutation($input: SwipeInput!) { swipe(input: $input) {
    __typename
    ... on Swiped { match { id with { id } } }
    ... on UserNotFound { reason }
    ... on QuotaUsedUp { reason quota { limit remaining resetsAt } }
} }";

const SEND: &str = "mutation($input: SendMessageInput!) { sendMessage(input: $input) {
    __typename
    ... on MessageSent { cursor message { id position body sender { id } sentAt editedAt deleted conversationId } }
    ... on ConversationNotFound { reason }
    ... on ConversationClosed { reason }
    ... on InputInvalid { fields { field message } }
} }";

const MESSAGES: &str = "query($id: ID!, $after: String) { conversation(id: $id) {
    messages(first: 100, after: $after) { nodes { position body deleted } pageInfo { hasNextPage endCursor } }
} }";

/// Someone who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: String,
    pub email: String,
    pub name: String,
    pub refresh_token: String,
    pub client: Client,
    addresses: Addresses,
    transport: Transport,
}

/// What `register` takes, for a person of this name; a test changes the field that it is about.
pub fn registration(name: &str) -> Value {
    json!({
        "email": format!("{name}.{}@example.test", Uuid::new_v4().simple()),
        "password": PASSWORD,
        "displayName": name,
        "birthDate": "1994-05-17",
        "gender": "FEMALE",
        "side": "CREATOR",
    })
}

/// Sends `register` and returns its payload.
pub async fn register(client: &Client, input: &Value) -> Result<Value> {
    Ok(client.data(REGISTER, json!({ "input": input })).await?["register"].take())
}

impl Person {
    /// Signs up; fails unless that gives a session.
    pub async fn sign_up(stack: &Handle, name: &str) -> Result<Self> {
        Self::sign_up_with(stack, &registration(name)).await
    }

    /// Signs up with this input, as patiently as `Pending` asks for.
    pub async fn sign_up_with(stack: &Handle, input: &Value) -> Result<Self> {
        let client = stack.client()?;
        let mut input = input.clone();
        if input["idempotencyKey"].is_null() {
            input["idempotencyKey"] = json!(Uuid::new_v4().to_string());
        }
        let session = until("a session", SOON, || async {
            let answer = register(&client, &input).await?;
            ensure!(answer["__typename"] != "Pending", "still pending");
            Ok(answer)
        })
        .await?;
        Self::from_session(stack, &session)
    }

    /// The person whose session this is.
    pub fn from_session(stack: &Handle, session: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("no session: {session}"));
        let token = text(&session["accessToken"])?;
        Ok(Self {
            id: text(&session["account"]["user"]["id"])?,
            email: text(&session["account"]["email"])?,
            name: text(&session["account"]["user"]["displayName"])?,
            refresh_token: text(&session["refreshToken"])?,
            client: stack.client()?.bearer(&token),
            addresses: Addresses { ws_url: stack.info.ws_url.clone(), graphql_url: stack.info.graphql_url.clone() },
            transport: Transport::WebSocket,
        })
    }

    /// The data of an operation that must have no errors.
    pub async fn ask(&self, query: &str, variables: Value) -> Result<Value> {
        self.client.data(query, variables).await
    }

    /// Swipes and returns the payload.
    pub async fn swipe(&self, other: &str, action: &str) -> Result<Value> {
        self.swipe_with(json!({ "userId": other, "action": action })).await
    }

    /// Swipes with this input.
    pub async fn swipe_with(&self, input: Value) -> Result<Value> {
        Ok(self.ask(SWIPE, json!({ "input": input })).await?["swipe"].take())
    }

    /// Sends a message and returns the payload.
    pub async fn send(&self, conversation: &str, client_id: &str, body: &str) -> Result<Value> {
        Ok(self.send_raw(conversation, client_id, body).await?.data["sendMessage"].take())
    }

    /// The same with a client id that nobody else holds, for many at once.
    pub async fn send_owned(&self, conversation: &str, client_id: String, body: &str) -> Result<Value> {
        self.send(conversation, &client_id, body).await
    }

    /// Sends a message and returns the whole answer, errors included.
    pub async fn send_raw(&self, conversation: &str, client_id: &str, body: &str) -> Result<Response> {
        let input = json!({ "conversationId": conversation, "clientId": client_id, "body": body });
        self.client.send(SEND, json!({ "input": input })).await
    }

    /// The same person, whose streams come that way.
    #[must_use]
    pub fn over(&self, transport: Transport) -> Self {
        Self { transport, ..self.clone() }
    }

    /// Opens a stream on a connection of its own.
    pub async fn follow(&self, query: &str, extensions: Value) -> Result<Stream> {
        Stream::open(self.transport, &self.addresses, self.client.token(), query, extensions).await
    }

    /// All messages of a conversation, oldest first, page by page: position and body.
    pub async fn history(&self, conversation: &str) -> Result<Vec<(i64, String)>> {
        let mut messages = Vec::new();
        let mut after = Value::Null;
        loop {
            let data = self.ask(MESSAGES, json!({ "id": conversation, "after": after })).await?;
            let page = &data["conversation"]["messages"];
            for node in page["nodes"].as_array().with_context(|| format!("no page: {data}"))? {
                let body = node["body"].as_str().unwrap_or_default().to_owned();
                messages.push((node["position"].as_i64().unwrap_or_default(), body));
            }
            if page["pageInfo"]["hasNextPage"] != true {
                return Ok(messages);
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
    }
}

/// Two people like each other; returns the match's id once its conversation is open.
pub async fn meet(one: &Person, other: &Person) -> Result<String> {
    let first = one.swipe(&other.id, "LIKE").await?;
    if first["__typename"] != "Swiped" {
        bail!("the first like: {first}");
    }
    let second = other.swipe(&one.id, "LIKE").await?;
    let id = second["match"]["id"].as_str().with_context(|| format!("no match: {second}"))?.to_owned();
    conversation_of(one, &id).await?;
    Ok(id)
}

/// The conversation of a match, which opens a moment after it.
pub async fn conversation_of(person: &Person, match_id: &str) -> Result<String> {
    let query = "{ matches(first: 100) { nodes { id conversation { id open } } } }";
    until("the conversation of a match", SOON, || async {
        let data = person.ask(query, json!({})).await?;
        let nodes = data["matches"]["nodes"].as_array().cloned().unwrap_or_default();
        let found = nodes.iter().find(|node| node["id"] == match_id).context("no such match")?;
        if found["conversation"]["open"] != true {
            bail!("not open yet: {found}");
        }
        Ok(found["conversation"]["id"].as_str().unwrap_or_default().to_owned())
    })
    .await
}
