//! Three subgraphs that make up what they answer, by chance but the same for the same request, and that fail in every way
//! that a subgraph can fail.

mod maker;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use futures::StreamExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use maker::Maker;

const LINK: &str = r#"extend schema @link(url: "https://specs.apollo.dev/federation/v2.3",
    import: ["@key", "@external", "@requires", "@provides", "@shareable", "@interfaceObject", "@inaccessible"])
"#;

const ACCOUNTS: &str = r#"
type Query {
  me: User
  users(first: Int! = 2, ids: [ID!]): [User!]!
  node(id: ID!): Node
  nodes: [Node]!
  search(filter: Filter): [User]
  number: Int!
  roles: [Role!]
  blob(any: Blob): Blob
}
type Mutation { rename(id: ID!, name: String!): User  forget(id: ID!): Boolean! }
interface Node { id: ID! }
type User implements Node @key(fields: "id") {
  id: ID!
  name: String!
  nickname: String
  role: Role!
  tags: [String!]!
  matrix: [[Int!]]
  score: Float!
  vip: Boolean!
  friend: User
  friends(first: Int): [User]
  profile: Profile!
  blob: Blob
}
type Profile { city: String  lines: [Line!]!  owner: User! }
type Line { text: String!  n: Int }
enum Role { ADMIN USER GUEST }
scalar Blob
input Filter { role: Role  min: Int! = 1  nested: Filter  names: [String!] }
"#;

const MATCHING: &str = r#"
type Query { posts(first: Int! = 2): [Post!]!  post(id: ID!): Post  feed: [Feed!]  tops: [[Feed]!] }
type Mutation { publish(text: String!): Post! }
type Post @key(fields: "id") {
  id: ID!
  text: String!
  author: User!
  likers: [User]
  editor: User
  media: [Media!]!
  best: Media
  previous: Post
}
union Media = Image | Video
union Feed = Post | Image
type Image { url: String!  width: Int! }
type Video { url: String!  length: Float  by: User }
type User @key(fields: "id") { id: ID!  posts(first: Int): [Post!]!  followed: Boolean }
"#;

const REVIEWS: &str = r#"
type Query { reviews: [Review!]  latest: Review }
type Post @key(fields: "id") { id: ID!  reviews: [Review!]!  rating: Float }
type Review @key(fields: "id") { id: ID!  by: User!  body: String  words: Int!  of: Post }
type User @key(fields: "id") { id: ID!  reviewed: [Review]  name: String! @external  label(long: Boolean): String @requires(fields: "name") }
"#;

const ENTITIES: &str = "
scalar _Any
extend type Query { _entities(representations: [_Any!]!): [_Entity]! }
";

const JSON: &str = "application/json";

/// How many ways there are for a subgraph to fail as a whole.
const WHOLE_FAULTS: u32 = 12;

/// As `--supergraph` is composed of.
pub fn schemas() -> [(&'static str, String); 3] {
    [("accounts", ACCOUNTS), ("matching", MATCHING), ("reviews", REVIEWS)]
        .map(|(name, sdl)| (name, format!("{LINK}{sdl}")))
}

pub struct Graph {
    schemas: HashMap<&'static str, Valid<Schema>>,
    /// What was asked: the caller's mark, the subgraph, the request.
    asked: Mutex<Vec<(String, String, String)>>,
}

/// From this seed on, all that is wrong are values that look as if they were of their type.
pub const NEARLY_RIGHT: u32 = 100;

/// With this seed everything is as the schema says, and every entity is there.
pub const SOUND: u32 = 0;

/// How a caller marks its requests, in a header that goes on to the subgraphs: `<who>-<seed>-<faults>`.
pub const MARK: &str = "x-forwarded-for";

impl Graph {
    /// Starts the subgraphs; gives the address that they have in common.
    pub async fn start() -> (Arc<Self>, String) {
        let known = [
            ("accounts", ACCOUNTS, "User"),
            ("matching", MATCHING, "User | Post"),
            ("reviews", REVIEWS, "User | Post | Review"),
        ];
        let schemas = known.map(|(name, sdl, entities)| {
            let sdl = format!("{sdl}{ENTITIES}union _Entity = {entities}");
            (name, Valid::assume_valid(Schema::parse(sdl, name).unwrap_or_else(|invalid| panic!("{invalid}"))))
        });
        let graph = Arc::new(Self { schemas: schemas.into(), asked: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/{subgraph}/graphql", post(answer)).with_state(Arc::clone(&graph));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (graph, url)
    }

    /// What was asked under a mark since this was looked at last, in order of its text.
    pub fn asked(&self, mark: &str) -> Vec<(String, String)> {
        let mut asked = self.asked.lock().unwrap();
        let (found, rest) = std::mem::take(&mut *asked).into_iter().partition(|(known, ..)| known == mark);
        *asked = rest;
        let found: Vec<(String, String, String)> = found;
        let mut found: Vec<_> = found.into_iter().map(|(_, subgraph, request)| (subgraph, request)).collect();
        found.sort();
        found
    }
}

async fn answer(
    State(graph): State<Arc<Graph>>,
    Path(subgraph): Path<String>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    let mark = headers.get(MARK).map(|mark| mark.to_str().unwrap()).unwrap_or_default().to_owned();
    let request = sorted(request);
    graph.asked.lock().unwrap().push((mark.clone(), subgraph.clone(), request.to_string()));
    let mut parts = mark.split('-').skip(1);
    let (seed, faults) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    let mut hasher = DefaultHasher::new();
    (seed, &subgraph, request.to_string()).hash(&mut hasher);
    let mut random = StdRng::seed_from_u64(hasher.finish());
    let seed = seed.parse::<u32>().unwrap();
    let (faults, nearly): (f64, f64) = match faults.parse::<f64>().unwrap() / 100.0 {
        part if seed >= NEARLY_RIGHT => (0.0, part),
        part => (part, 0.0),
    };
    let schema = &graph.schemas[subgraph.as_str()];
    let text = request["query"].as_str().unwrap();
    let document = ExecutableDocument::parse(schema, text, "request").unwrap_or_else(|invalid| panic!("{invalid}"));
    let operation = document.operations.get(request["operationName"].as_str()).unwrap();
    let fault = random.random_bool((faults * 3.0).min(1.0)).then(|| random.random_range(0..WHOLE_FAULTS));
    let mut maker = Maker {
        schema,
        document: &document,
        variables: &request["variables"],
        random,
        faults: if fault.is_some() { 0.0 } else { faults },
        nearly,
        absent: if seed == SOUND { 0.0 } else { 0.02 },
        errors: Vec::new(),
        path: Vec::new(),
    };
    let data = maker.object(operation.selection_set.ty.as_str(), &[&operation.selection_set], None);
    let errors = maker.errors;
    let mut body = json!({ "data": data, "extensions": { "cursor": 1 } });
    if !errors.is_empty() {
        body["errors"] = errors.into();
    }
    whole(fault, body).await
}

/// The answer as it goes out, or what goes out in its place.
async fn whole(fault: Option<u32>, mut body: Value) -> Response {
    let error = json!({
        "message": "no", "path": ["me"], "locations": [{ "line": -1, "column": -1 }],
        "extensions": { "code": "INTERNAL", "secret": 1, "durable": true },
    });
    let send = |status: u16, content_type: &str, body: String| {
        let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
        let response = if content_type.is_empty() { response } else { response.header("content-type", content_type) };
        response.body(Body::from(body)).unwrap()
    };
    match fault {
        None => send(200, JSON, body.to_string()),
        Some(0) => send(500, "text/plain", "gone".to_owned()),
        Some(1) => send(503, JSON, json!({ "errors": [error] }).to_string()),
        Some(2) => send(200, JSON, "{\"data\":{\"a\":".to_owned()),
        Some(3) => send(200, "text/html", "<html>".to_owned()),
        Some(4) => send(200, JSON, json!({ "data": null, "errors": [error, { "message": "again" }] }).to_string()),
        Some(5) => send(200, "application/graphql-response+json; charset=utf-8", body.to_string()),
        Some(6) => send(200, JSON, json!({ "data": null }).to_string()),
        Some(7) => send(500, JSON, String::new()),
        Some(8) => {
            // Longer than the routers wait.
            tokio::time::sleep(Duration::from_secs(30)).await;
            send(200, JSON, body.to_string())
        }
        Some(9) => send(200, "", body.to_string()),
        Some(10) => {
            // The first part is on its way when the connection breaks.
            let broken = futures::stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("gone"))
            });
            let begun = futures::stream::iter([Ok("{\"data\":".to_owned())]);
            let body = Body::from_stream(begun.chain(broken));
            Response::builder().header("content-type", JSON).body(body).unwrap()
        }
        Some(_) => {
            if let Some(entities) = body.pointer_mut("/data/_entities").and_then(Value::as_array_mut) {
                entities.pop();
            }
            send(200, JSON, body.to_string())
        }
    }
}

/// The same request in the same order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}
