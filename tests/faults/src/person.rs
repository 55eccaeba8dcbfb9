//! A virtual person: signs up, looks, likes, talks, reads, blocks, as the seed has it.

use crate::{
    ask::Client,
    follow::Follower,
    graph::{self, Operation},
    history::{History, What},
    random::Random,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Barrier, watch},
    task::JoinSet,
    time::{Instant, timeout},
};
use velvet_e2e::person::PASSWORD;
use velvet_kit::Handle;

/// Times that a request is sent before its sender gives up.
const ATTEMPTS: u32 = 12;
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// Between two doings of one person, at most.
const PAUSE_MS: u64 = 150;
/// So many failures in a hundred are the sender's last attempt.
const GIVES_UP: u64 = 6;
const STANDS_WITHIN: Duration = Duration::from_mins(1);
const EMOJI: [&str; 8] = ["👍", "🎉", "❤️", "😀", "🔥", "👀", "🙏", "🌊"];

/// What all people share.
#[derive(Debug)]
pub struct World {
    pub stack: Arc<Handle>,
    pub history: History,
    pub seed: u64,
    /// Passed once all who are early have joined.
    pub joined: Barrier,
    /// Passed by all when the breaks begin.
    pub begun: Barrier,
    /// When nobody begins anything new; set between the two.
    pub until: OnceLock<Instant>,
    /// Tells one run's addresses from another's.
    pub run: String,
    /// Who has joined: names and ids.
    pub cast: Mutex<BTreeMap<String, Joined>>,
    /// Becomes true when streams need not be followed any longer.
    pub over: watch::Receiver<bool>,
}

/// Someone who has an account.
#[derive(Debug, Clone)]
pub struct Joined {
    pub user: String,
    pub token: String,
}

/// One person, as far as they know.
pub struct Person {
    world: Arc<World>,
    client: Client,
    random: Random,
    index: u64,
    user: String,
    doings: u64,
    /// Conversations, by id, and with whom.
    conversations: BTreeMap<String, Known>,
    matches: BTreeMap<String, String>,
    used: BTreeSet<String>,
    blocked: bool,
}

#[derive(Debug, Default)]
struct Known {
    other: String,
    /// Messages that were seen: id and whether it is one's own.
    messages: BTreeMap<i64, (String, bool)>,
}

impl World {
    /// Whether the run is over.
    fn is_late(&self) -> bool {
        self.until.get().is_some_and(|until| Instant::now() > *until)
    }

    /// Who has joined, but for one.
    fn others(&self, user: &str) -> Vec<String> {
        let cast = self.cast.lock().unwrap_or_else(PoisonError::into_inner);
        cast.values().map(|joined| joined.user.clone()).filter(|other| other != user).collect()
    }
}

/// Whether somebody joins only when parts break already.
pub fn comes_late(index: u64) -> bool {
    index % 5 == 4
}

/// Lives until the end of the run, and has the streams followed until all is over.
pub async fn live(world: Arc<World>, client: Client, index: u64) -> JoinSet<()> {
    let random = Random::of(world.seed, &client.who);
    let mut person = Person {
        client,
        random,
        index,
        user: String::new(),
        doings: 0,
        conversations: BTreeMap::new(),
        matches: BTreeMap::new(),
        used: BTreeSet::new(),
        blocked: false,
        world,
    };
    let mut streams = JoinSet::new();
    let late = comes_late(index);
    if late {
        person.world.begun.wait().await;
    }
    let ready = person.join().await && person.follow(&mut streams).await;
    if !late {
        person.world.joined.wait().await;
        person.world.begun.wait().await;
    }
    if ready {
        while !person.world.is_late() {
            person.act().await;
            let pause = Duration::from_millis(person.random.below(PAUSE_MS));
            tokio::time::sleep(pause).await;
        }
    }
    streams
}

impl Person {
    /// Signs up; now and then a rival wants the same address at the same moment.
    async fn join(&mut self) -> bool {
        let World { run, history, .. } = self.world.as_ref();
        for attempt in 0..3 {
            let email = format!("p{}.{attempt}.{run}@example.test", self.index);
            let input = |key: String| {
                let (gender, side) =
                    if self.index.is_multiple_of(2) { ("FEMALE", "CREATOR") } else { ("MALE", "PATRON") };
                json!({
                    "email": email, "password": PASSWORD, "displayName": self.client.who, "birthDate": "1994-05-17",
                    "gender": gender, "side": side, "idempotencyKey": key,
                })
            };
            let (mine, rivals) = (format!("{run}-{attempt}"), format!("{run}-{attempt}-rival"));
            let mut rival = self.client.clone();
            rival.who = format!("p{}-rival", self.index);
            let mut other = Random::of(self.world.seed, &rival.who);
            let own =
                ask(&self.world, &self.client, &mut self.random, &graph::REGISTER, Some(&mine), input(mine.clone()));
            let session = if self.index.is_multiple_of(4) && attempt == 0 {
                let theirs =
                    ask(&self.world, &rival, &mut other, &graph::REGISTER, Some(&rivals), input(rivals.clone()));
                tokio::join!(own, theirs).0
            } else {
                own.await
            };
            let Some(session) = session.filter(|session| session["__typename"] == "Session") else { continue };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (user, token) = (text(&session["account"]["user"]["id"]), text(&session["accessToken"]));
            self.client.token = Some(token.clone());
            self.user.clone_from(&user);
            history.note(&self.client.who, What::Joined { user: user.clone(), email });
            let joined = Joined { user, token };
            self.world.cast.lock().unwrap_or_else(PoisonError::into_inner).insert(self.client.who.clone(), joined);
            let latitude = self.random.pick(&[52.50, 52.52, 52.55, 52.60]).copied().unwrap_or(52.5);
            self.ask(&graph::SET_LOCATION, None, json!({ "latitude": latitude, "longitude": 13.4 })).await;
            return true;
        }
        false
    }

    /// Follows both streams before anything can come on them.
    async fn follow(&mut self, streams: &mut JoinSet<()>) -> bool {
        let messages =
            if self.index.is_multiple_of(2) { &graph::MESSAGE_EVENTS } else { &graph::MESSAGE_EVENTS_WITH_NAMES };
        let mut standing = Vec::new();
        for operation in [messages, &graph::MATCH_EVENTS] {
            let (stands, stood) = watch::channel(false);
            standing.push(stood);
            let follower = Follower {
                who: self.client.who.clone(),
                operation,
                token: self.client.token.clone().unwrap_or_default(),
                random: Random::of(self.world.seed, &format!("{}.{}", self.client.who, operation.field)),
                history: self.world.history.clone(),
                stack: Arc::clone(&self.world.stack),
                stands,
                over: self.world.over.clone(),
            };
            streams.spawn(follower.run());
        }
        for mut stood in standing {
            if !matches!(timeout(STANDS_WITHIN, stood.wait_for(|stands| *stands)).await, Ok(Ok(_))) {
                return false;
            }
        }
        true
    }

    async fn ask(&mut self, operation: &Operation, key: Option<&str>, input: Value) -> Option<Value> {
        ask(&self.world, &self.client, &mut self.random, operation, key, input).await
    }

    fn key(&mut self) -> String {
        self.doings += 1;
        format!("{}-{}", self.client.who, self.doings)
    }

    async fn act(&mut self) {
        let ids: Vec<String> = self.conversations.keys().cloned().collect();
        let conversation = self.random.pick(&ids).cloned();
        match (self.random.below(100), conversation) {
            (0..=2, _) => self.introduce().await,
            (3..=5, _) => drop(self.ask(&graph::DECK, None, json!({})).await),
            (6..=7, _) => self.look_up().await,
            (8..=9, _) => drop(self.ask(&graph::CONVERSATIONS, None, json!({})).await),
            (10..=24, _) | (_, None) => self.meet().await,
            (25..=29, _) => self.learn().await,
            (30..=66, Some(id)) => self.say(id).await,
            (67..=78, Some(id)) => self.read(id).await,
            (79..=86, Some(id)) => self.mark(id).await,
            (87..=91, Some(id)) => self.react(id).await,
            (92..=95, Some(id)) => self.edit(id).await,
            (96..=97, Some(id)) => self.delete(id).await,
            (_, Some(id)) => self.part_from(id).await,
        }
    }

    async fn introduce(&mut self) {
        let bio = self.key();
        self.ask(&graph::UPDATE_PROFILE, None, json!({ "bio": bio })).await;
        self.ask(&graph::ME, None, json!({})).await;
    }

    async fn look_up(&mut self) {
        let others = self.world.others(&self.user);
        if let Some(other) = self.random.pick(&others).cloned() {
            self.ask(&graph::USER, None, json!(other)).await;
        }
    }

    /// Likes somebody, mostly; then looks whom that has brought.
    async fn meet(&mut self) {
        let others = self.world.others(&self.user);
        if let Some(other) = self.random.pick(&others).cloned() {
            let action = if self.random.percent(90) { "LIKE" } else { "PASS" };
            let key = self.key();
            let input = json!({ "userId": other, "action": action, "idempotencyKey": key });
            self.ask(&graph::SWIPE, Some(&key), input).await;
        }
        self.learn().await;
    }

    async fn learn(&mut self) {
        let Some(page) = self.ask(&graph::MATCHES, None, json!({})).await else { return };
        for node in page["nodes"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let other = text(&node["with"]["id"]);
            self.matches.insert(other.clone(), text(&node["id"]));
            if let Some(id) = node["conversation"]["id"].as_str() {
                self.conversations.entry(id.to_owned()).or_default().other = other;
            }
        }
    }

    async fn say(&mut self, id: String) {
        let key = self.key();
        let input = json!({ "conversationId": id, "clientId": key, "body": key });
        let told = self.ask(&graph::SEND, Some(&key), input).await.unwrap_or_default();
        self.note(&id, &told["message"], true);
    }

    async fn read(&mut self, id: String) {
        let Some(read) = self.ask(&graph::CONVERSATION, None, json!(id)).await else { return };
        for message in read["messages"]["nodes"].as_array().into_iter().flatten() {
            let own = message["sender"]["id"] == self.user.as_str();
            self.note(&id, message, own);
        }
    }

    fn note(&mut self, conversation: &str, message: &Value, own: bool) {
        if let (Some(known), Some(id)) = (self.conversations.get_mut(conversation), message["id"].as_str()) {
            known.messages.insert(message["position"].as_i64().unwrap_or_default(), (id.to_owned(), own));
        }
    }

    async fn mark(&mut self, id: String) {
        let last = self.conversations.get(&id).and_then(|known| known.messages.keys().last().copied());
        if let Some(position) = last {
            self.ask(&graph::MARK_READ, None, json!({ "conversationId": id, "position": position })).await;
        }
    }

    /// A message that was not touched in this way before.
    fn untouched(&mut self, conversation: &str, how: &str, own: bool) -> Option<String> {
        let known = self.conversations.get(conversation)?;
        let fitting = known.messages.values().filter(|(_, mine)| *mine || !own).map(|(id, _)| format!("{how} {id}"));
        let fitting: Vec<String> = fitting.filter(|touch| !self.used.contains(touch)).collect();
        let touch = self.random.pick(&fitting)?.clone();
        let id = touch.rsplit(' ').next().map(str::to_owned);
        self.used.insert(touch);
        id
    }

    async fn react(&mut self, id: String) {
        let emoji = self.random.pick(&EMOJI).copied().unwrap_or("👍");
        if let Some(message) = self.untouched(&id, emoji, false) {
            self.ask(&graph::REACT, None, json!({ "messageId": message, "emoji": emoji })).await;
        }
    }

    async fn edit(&mut self, id: String) {
        if let Some(message) = self.untouched(&id, "edit", true) {
            let body = self.key();
            self.ask(&graph::EDIT, None, json!({ "messageId": message, "body": format!("{body} edited") })).await;
        }
    }

    async fn delete(&mut self, id: String) {
        if let Some(message) = self.untouched(&id, "delete", true) {
            self.ask(&graph::DELETE, None, json!({ "messageId": message })).await;
        }
    }

    /// Blocks somebody, once in a life, or ends a match; rarely, as people run out.
    async fn part_from(&mut self, id: String) {
        let Some(other) = self.conversations.get(&id).map(|known| known.other.clone()) else { return };
        if !self.random.percent(30) {
            return self.say(id).await;
        }
        if !self.blocked && self.random.percent(50) {
            self.blocked = true;
            self.conversations.remove(&id);
            self.ask(&graph::BLOCK, None, json!({ "userId": other })).await;
        } else if let Some(matched) = self.matches.get(&other).cloned() {
            self.ask(&graph::UNMATCH, None, json!({ "matchId": matched })).await;
        }
    }
}

/// Asks until there is an answer, or the patience is at its end.
async fn ask(
    world: &World,
    client: &Client,
    random: &mut Random,
    operation: &Operation,
    key: Option<&str>,
    input: Value,
) -> Option<Value> {
    let request = client.request(operation, key, input);
    for attempt in 0..ATTEMPTS {
        let router = usize::try_from(random.below(world.stack.info.router_urls.len() as u64)).unwrap_or_default();
        let told = client.send(operation, &request, router).await;
        if let Some(payload) = told.filter(|payload| payload["__typename"] != "Pending") {
            return Some(payload);
        }
        // Whoever joins is patient: without people there is nothing to see.
        if operation.field != "register" && (random.percent(GIVES_UP) || world.is_late()) {
            return None;
        }
        tokio::time::sleep(RETRY_PAUSE * (attempt + 1)).await;
    }
    None
}
