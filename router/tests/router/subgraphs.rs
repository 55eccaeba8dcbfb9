//! Two federated subgraphs: `accounts` knows people, `matching` has a stream of posts.

#![expect(clippy::unused_async, reason = "resolvers are async, whether they wait or not")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_graphql::futures_util::{Stream, StreamExt as _};
use async_graphql::{
    Context, EmptyMutation, EmptySubscription, ErrorExtensions as _, ID, Object, Schema, SimpleObject, Subscription,
    TypeDirective, Union,
};
use serde_json::Value;
use tokio::sync::watch;

use crate::tokens::Issuer;

/// What the subgraphs know, and what they were asked.
pub struct World {
    pub issuer: Issuer,
    posts: watch::Sender<Vec<Stored>>,
    /// The payloads of `subscribe`, as they came.
    pub subscribes: Mutex<Vec<Value>>,
    /// How many streams have said where they start.
    pub positioned: AtomicUsize,
    /// Streams are refused while this is set, as by a subgraph that is up before what is behind it.
    pub streams_unavailable: AtomicBool,
    /// How many streams were refused.
    pub streams_refused: AtomicUsize,
    /// How many messages have said that the router is there.
    pub pings: AtomicUsize,
    /// How many `_entities` requests `accounts` got, and the header each came with.
    pub entity_requests: Mutex<Vec<Option<String>>>,
    /// The trace that events are a part of, if they say so.
    pub traceparent: Mutex<Option<String>>,
    /// The traces that `_entities` requests were a part of.
    pub traces: Mutex<Vec<Option<String>>>,
    /// Whether `_entities` requests are answered; they wait until they are.
    pub entities_answered: watch::Sender<bool>,
    /// How many streams run now.
    pub running: AtomicUsize,
    /// Whether the key set can be had.
    pub keys_served: watch::Sender<bool>,
    /// The keys that were exchanged against tokens.
    pub exchanged: Mutex<Vec<String>>,
    /// How long a partner's token is good for; nothing when it cannot be had.
    pub partner_token_seconds: Mutex<Option<i64>>,
    /// What was registered, with the header it came with.
    pub registered: Mutex<Vec<(Option<String>, Value)>>,
    /// What is said to the next registrations, in place of taking them.
    pub register_refusal: Mutex<Option<(u16, Value)>>,
    /// Batches of counted calls as they were sent, each with its signature.
    pub usage: Mutex<Vec<(String, String)>>,
    /// What is said to them; while there is nothing, they wait.
    pub usage_status: watch::Sender<Option<u16>>,
    /// How many queries of `wait` have arrived.
    pub waiting: AtomicUsize,
    /// Whether they are answered.
    pub released: watch::Sender<bool>,
}

#[derive(Clone)]
struct Stored {
    text: String,
    author: String,
}

impl World {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            issuer: Issuer::new(1),
            posts: watch::Sender::new(Vec::new()),
            subscribes: Mutex::default(),
            positioned: AtomicUsize::new(0),
            streams_unavailable: AtomicBool::new(false),
            streams_refused: AtomicUsize::new(0),
            pings: AtomicUsize::new(0),
            entity_requests: Mutex::default(),
            traceparent: Mutex::default(),
            traces: Mutex::default(),
            entities_answered: watch::Sender::new(true),
            running: AtomicUsize::new(0),
            keys_served: watch::Sender::new(true),
            exchanged: Mutex::default(),
            partner_token_seconds: Mutex::new(Some(900)),
            registered: Mutex::default(),
            register_refusal: Mutex::default(),
            usage: Mutex::default(),
            usage_status: watch::Sender::new(Some(200)),
            waiting: AtomicUsize::new(0),
            released: watch::Sender::new(false),
        })
    }

    /// How many posts there are.
    pub fn posted(&self) -> usize {
        self.posts.borrow().len()
    }

    pub fn post(&self, text: impl Into<String>, author: &str) {
        let stored = Stored { text: text.into(), author: author.to_owned() };
        self.posts.send_modify(|posts| posts.push(stored));
    }
}

// ── accounts ──

struct Person {
    id: String,
}

#[Object(name = "User")]
impl Person {
    async fn id(&self) -> ID {
        self.id.clone().into()
    }
    async fn name(&self) -> async_graphql::Result<String> {
        match self.id.as_str() {
            "broken" => {
                Err(async_graphql::Error::new("no name today").extend_with(|_, e| e.set("code", "UNAVAILABLE")))
            }
            id => Ok(id.to_uppercase()),
        }
    }
    async fn nickname(&self) -> async_graphql::Result<Option<String>> {
        match self.id.as_str() {
            "broken" => Err(async_graphql::Error::new("no nickname").extend_with(|_, e| e.set("code", "INTERNAL"))),
            id => Ok(Some(id.chars().take(1).collect())),
        }
    }
}

#[TypeDirective(location = "FieldDefinition", name = "cacheControl", composable = "https://velvet.dev/caching/v1.0")]
fn cache_control(max_age: i32, scope: Option<String>) {}

pub struct AccountsQuery;

#[Object(name = "Query")]
impl AccountsQuery {
    #[graphql(directive = cache_control::apply(60, Some("PUBLIC".to_owned())))]
    async fn motto(&self, fail: Option<bool>) -> async_graphql::Result<&str> {
        if fail.unwrap_or_default() { Err("no motto today".into()) } else { Ok("onwards") }
    }
    #[graphql(directive = cache_control::apply(30, None))]
    async fn mood(&self) -> &str {
        "good"
    }
    /// The caller's Authorization header, as it arrived.
    async fn header(&self, ctx: &Context<'_>) -> Option<String> {
        ctx.data_unchecked::<Caller>().0.clone()
    }
    #[graphql(entity)]
    async fn person(&self, id: ID) -> Option<Person> {
        (id.as_str() != "missing").then(|| Person { id: id.to_string() })
    }
}

/// The Authorization header, or what stands for it.
pub struct Caller(pub Option<String>);

// ── matching ──

struct Reference {
    id: String,
}

#[Object(name = "User", unresolvable)]
impl Reference {
    async fn id(&self) -> ID {
        self.id.clone().into()
    }
}

#[derive(SimpleObject)]
#[graphql(complex)]
struct Post {
    id: ID,
    text: String,
    #[graphql(skip)]
    author_id: String,
}

#[async_graphql::ComplexObject]
impl Post {
    async fn author(&self) -> Reference {
        Reference { id: self.author_id.clone() }
    }
    async fn likers(&self) -> Vec<Option<Reference>> {
        ["ann", "missing", "ann"].map(|id| Some(Reference { id: id.to_owned() })).into()
    }
    async fn previous(&self) -> Option<Self> {
        None
    }
    async fn editor(&self) -> Option<Reference> {
        Some(Reference { id: self.author_id.clone() })
    }
}

struct Shelf {
    size: i32,
}

#[Object]
impl Shelf {
    async fn posts(&self) -> Vec<Post> {
        let post =
            |number: i32| Post { id: number.to_string().into(), text: String::new(), author_id: "ann".to_owned() };
        (0..self.size).map(post).collect()
    }
}

#[TypeDirective(location = "FieldDefinition", composable = "https://velvet.dev/cost/v1.0")]
fn cost(weight: String) {}

#[TypeDirective(location = "FieldDefinition", name = "listSize", composable = "https://velvet.dev/cost/v1.0")]
fn list_size(
    assumed_size: i32,
    slicing_arguments: Vec<String>,
    sized_fields: Vec<String>,
    require_one_slicing_argument: bool,
) {
}

#[TypeDirective(location = "FieldDefinition", composable = "https://velvet.dev/streams/v1.0")]
fn independent(signed_in: Option<bool>) {}

#[derive(SimpleObject)]
struct Posted {
    post: Post,
}

#[derive(SimpleObject)]
struct Reset {
    reason: String,
}

#[derive(Union)]
enum PostEvent {
    Posted(Posted),
    Reset(Reset),
}

pub struct MatchingQuery;

#[Object(name = "Query")]
impl MatchingQuery {
    async fn hello(&self, name: String) -> String {
        format!("hello {name}")
    }
    async fn recent(&self, #[graphql(default = 20)] first: usize) -> Vec<Post> {
        let post =
            |number: usize| Post { id: number.to_string().into(), text: String::new(), author_id: "ann".to_owned() };
        (0..first.min(3)).map(post).collect()
    }
    #[graphql(directive = cost::apply("7".to_owned()))]
    async fn dear(&self) -> bool {
        true
    }
    #[graphql(directive = list_size::apply(2, vec!["count".to_owned()], vec!["posts".to_owned()], false))]
    async fn shelf(&self, count: Option<i32>) -> Shelf {
        Shelf { size: count.unwrap_or(2) }
    }
    async fn failing(&self) -> async_graphql::Result<bool> {
        Err(async_graphql::Error::new("no").extend_with(|_, e| e.set("code", "INTERNAL")))
    }
    /// Answers when it is told to.
    async fn wait(&self, ctx: &Context<'_>) -> bool {
        let world = ctx.data_unchecked::<Arc<World>>();
        world.waiting.fetch_add(1, Ordering::SeqCst);
        let mut released = world.released.subscribe();
        released.wait_for(|released| *released).await.is_ok()
    }
}

pub struct MatchingMutation;

#[Object(name = "Mutation")]
impl MatchingMutation {
    async fn publish(&self, ctx: &Context<'_>, text: String, author: String) -> bool {
        ctx.data_unchecked::<Arc<World>>().post(text, &author);
        true
    }
}

pub struct MatchingSubscription;

/// Where a stream starts.
pub struct Start(pub usize);

#[Subscription(name = "Subscription")]
impl MatchingSubscription {
    async fn posts(&self, ctx: &Context<'_>) -> impl Stream<Item = PostEvent> + use<> {
        post_events(ctx)
    }
    /// The same for whoever asks.
    #[graphql(directive = independent::apply(None))]
    async fn headlines(&self, ctx: &Context<'_>) -> impl Stream<Item = PostEvent> + use<> {
        post_events(ctx)
    }
    /// The same for all who are signed in.
    #[graphql(directive = independent::apply(Some(true)))]
    async fn briefings(
        &self,
        ctx: &Context<'_>,
        #[graphql(default)] prefix: String,
    ) -> impl Stream<Item = String> + use<> {
        stored(ctx).map(move |(_, stored)| prefix.clone() + &stored.text)
    }
    /// The same for whoever asks, and dear.
    #[graphql(directive = independent::apply(None), directive = cost::apply("9".to_owned()))]
    async fn tickers(&self, ctx: &Context<'_>) -> impl Stream<Item = String> + use<> {
        stored(ctx).map(|(_, stored)| stored.text)
    }
    async fn texts(&self, ctx: &Context<'_>, #[graphql(default)] prefix: String) -> impl Stream<Item = String> + use<> {
        stored(ctx).map(move |(_, stored)| prefix.clone() + &stored.text)
    }
    /// Never says anything.
    async fn silence(&self) -> impl Stream<Item = bool> + use<> {
        async_graphql::futures_util::stream::pending()
    }
    async fn secrets(&self, ctx: &Context<'_>) -> async_graphql::Result<impl Stream<Item = String> + use<>> {
        match &ctx.data_unchecked::<Caller>().0 {
            Some(_) => Ok(stored(ctx).map(|(_, stored)| stored.text)),
            None => Err(async_graphql::Error::new("sign in").extend_with(|_, e| e.set("code", "UNAUTHENTICATED"))),
        }
    }
}

fn post_events(ctx: &Context<'_>) -> impl Stream<Item = PostEvent> + use<> {
    stored(ctx).map(|(number, stored)| {
        if stored.text == "reset" {
            return PostEvent::Reset(Reset { reason: stored.author });
        }
        PostEvent::Posted(Posted {
            post: Post { id: number.to_string().into(), text: stored.text, author_id: stored.author },
        })
    })
}

fn stored(ctx: &Context<'_>) -> impl Stream<Item = (usize, Stored)> + use<> {
    let posts = ctx.data_unchecked::<Arc<World>>().posts.subscribe();
    let start = ctx.data_unchecked::<Start>().0;
    async_graphql::futures_util::stream::unfold((posts, start), async |(mut posts, next)| {
        let stored = posts.wait_for(|posts| posts.len() > next).await.ok()?[next].clone();
        Some(((next + 1, stored), (posts, next + 1)))
    })
}

pub type Accounts = Schema<AccountsQuery, EmptyMutation, EmptySubscription>;
pub type Matching = Schema<MatchingQuery, MatchingMutation, MatchingSubscription>;

pub fn accounts() -> Accounts {
    Schema::build(AccountsQuery, EmptyMutation, EmptySubscription).enable_federation().finish()
}

pub fn matching(world: &Arc<World>) -> Matching {
    Schema::build(MatchingQuery, MatchingMutation, MatchingSubscription)
        .enable_federation()
        .enable_subscription_in_federation()
        .data(Arc::clone(world))
        .finish()
}

/// The subgraphs' schemas, by name.
pub fn schemas(world: &Arc<World>) -> [(&'static str, String); 2] {
    let options = || async_graphql::SDLExportOptions::new().federation().compose_directive();
    let matching = matching(world).sdl_with_options(options());
    [("accounts", accounts().sdl_with_options(options())), ("matching", ordered(&matching))]
}

/// async-graphql writes the specifications that directives are composed from in no particular order.
fn ordered(sdl: &str) -> String {
    let is_link = |block: &&str| block.trim_start().starts_with("extend schema") && block.contains("//velvet.dev/");
    let (mut links, rest): (Vec<_>, Vec<_>) = sdl.split("\n\n").partition(is_link);
    links.sort_unstable_by_key(|block| block.trim());
    rest.into_iter().chain(links).collect::<Vec<_>>().join("\n\n")
}
