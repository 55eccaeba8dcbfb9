use super::*;
use async_graphql::{EmptyMutation, Object, Schema, Subscription};
use futures::channel::mpsc;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

const PATIENCE: Patience = Patience { init: Duration::from_secs(5), silence: Duration::from_secs(5) };

struct Query;

#[Object]
impl Query {
    async fn session(&self, context: &async_graphql::Context<'_>) -> String {
        context.data_opt::<String>().cloned().unwrap_or_default()
    }
}

/// What silent streams did.
#[derive(Default)]
struct Seen {
    polled: AtomicUsize,
    dropped: AtomicUsize,
}

struct Silence(Arc<Seen>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

struct Streams(Arc<Seen>);

#[Subscription]
impl Streams {
    async fn count(&self, to: i32) -> impl Stream<Item = i32> + use<> {
        // Each waits for a turn of the runtime, as an event would.
        stream::iter(1..=to).then(|number| async move {
            tokio::task::yield_now().await;
            number
        })
    }

    async fn silence(&self) -> impl Stream<Item = i32> + use<> {
        let silence = Silence(Arc::clone(&self.0));
        stream::poll_fn(move |_| {
            silence.0.polled.fetch_add(1, Ordering::Relaxed);
            Poll::Pending
        })
    }
}

/// The other side of a socket.
struct Client {
    said: mpsc::UnboundedSender<Result<Message, axum::Error>>,
    told: mpsc::UnboundedReceiver<Message>,
    seen: Arc<Seen>,
}

impl Client {
    fn open(patience: Patience) -> Self {
        let seen = Arc::new(Seen::default());
        let schema = Schema::new(Query, EmptyMutation, Streams(Arc::clone(&seen)));
        let (said, frames) = mpsc::unbounded();
        let (sink, told) = mpsc::unbounded::<Message>();
        let begin = |payload: Value| async move {
            let mut data = Data::default();
            data.insert(payload["name"].as_str().ok_or("who is it?")?.to_owned());
            Ok(data)
        };
        let sink = sink.sink_map_err(axum::Error::new);
        tokio::spawn(async move { serve((sink, frames), schema, patience, begin).await });
        Self { said, told, seen }
    }

    async fn begun() -> Self {
        let mut client = Self::open(PATIENCE);
        client.say(&json!({ "type": "connection_init", "payload": { "name": "Ann" } }));
        assert_eq!(client.hear().await, json!({ "type": "connection_ack" }));
        client
    }

    fn say(&self, message: &Value) {
        self.said.unbounded_send(Ok(Message::text(message.to_string()))).unwrap();
    }

    fn subscribe(&self, id: &str, query: &str) {
        self.say(&json!({ "id": id, "type": "subscribe", "payload": { "query": query } }));
    }

    async fn hear(&mut self) -> Value {
        match self.told.next().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Gives the socket turns until a count is so high.
    async fn until(&mut self, count: impl Fn(&Seen) -> &AtomicUsize, wanted: usize) {
        for _ in 0..1_000 {
            if count(&self.seen).load(Ordering::Relaxed) == wanted {
                return;
            }
            self.say(&json!({ "type": "ping" }));
            assert_eq!(self.hear().await, json!({ "type": "pong" }));
        }
        panic!("never {wanted}");
    }

    /// The code that the socket ends with.
    async fn code(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.told.next().await.expect("a close frame") {
                return frame.unwrap().code;
            }
        }
    }
}

fn next(id: &str, data: &Value) -> Value {
    json!({ "id": id, "type": "next", "payload": { "data": data } })
}

#[tokio::test]
async fn operations_of_every_kind_are_answered_and_completed() {
    let mut client = Client::begun().await;
    client.subscribe("q", "{ session }");
    assert_eq!(client.hear().await, next("q", &json!({ "session": "Ann" })));
    assert_eq!(client.hear().await, json!({ "id": "q", "type": "complete" }));
    client.subscribe("s", "subscription { count(to: 2) }");
    assert_eq!(client.hear().await, next("s", &json!({ "count": 1 })));
    assert_eq!(client.hear().await, next("s", &json!({ "count": 2 })));
    assert_eq!(client.hear().await, json!({ "id": "s", "type": "complete" }));
    client.subscribe("wrong", "subscription { nothing }");
    assert!(client.hear().await["payload"]["errors"][0]["message"].as_str().unwrap().contains("nothing"));
    assert_eq!(client.hear().await, json!({ "id": "wrong", "type": "complete" }));
    client.say(&json!({ "type": "ping", "payload": { "n": 1 } }));
    assert_eq!(client.hear().await, json!({ "type": "pong", "payload": { "n": 1 } }));
    client.say(&json!({ "type": "ping" }));
    assert_eq!(client.hear().await, json!({ "type": "pong" }));
}

#[tokio::test]
async fn streams_that_have_nothing_to_say_are_left_alone() {
    let mut client = Client::begun().await;
    for id in 0..100 {
        client.subscribe(&id.to_string(), "subscription { silence }");
    }
    client.subscribe("loud", "subscription { count(to: 50) }");
    for number in 1..=50 {
        assert_eq!(client.hear().await, next("loud", &json!({ "count": number })));
    }
    assert_eq!(client.seen.polled.load(Ordering::Relaxed), 100);
}

#[tokio::test]
async fn an_operation_that_its_client_ends_is_dropped_and_its_id_is_free() {
    let mut client = Client::begun().await;
    client.subscribe("s", "subscription { silence }");
    client.until(|seen| &seen.polled, 1).await;
    client.say(&json!({ "id": "s", "type": "complete" }));
    client.subscribe("s", "subscription { count(to: 1) }");
    assert_eq!(client.hear().await, next("s", &json!({ "count": 1 })));
    assert_eq!(client.hear().await, json!({ "id": "s", "type": "complete" }));
    client.until(|seen| &seen.dropped, 1).await;
}

#[tokio::test]
async fn what_is_not_of_the_protocol_ends_the_socket_with_its_code() {
    let mut client = Client::open(PATIENCE);
    client.subscribe("s", "{ session }");
    assert_eq!(client.code().await, 4401);

    let mut client = Client::open(PATIENCE);
    client.say(&json!({ "type": "connection_init" }));
    assert_eq!(client.code().await, 4403);

    for (message, code) in [
        (json!({ "type": "connection_init" }), 4429),
        (json!({ "type": "shout" }), 4400),
        (json!({ "id": "s", "type": "subscribe" }), 4400),
    ] {
        let mut client = Client::begun().await;
        client.say(&message);
        assert_eq!(client.code().await, code, "{message}");
    }

    let mut client = Client::begun().await;
    client.subscribe("s", "subscription { silence }");
    client.subscribe("s", "subscription { silence }");
    assert_eq!(client.code().await, 4409);

    let mut client = Client::begun().await;
    client.said.unbounded_send(Ok(Message::Binary("{}".into()))).unwrap();
    assert_eq!(client.code().await, 4400);
}

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let soon = Duration::from_millis(50);
    let mut client = Client::open(Patience { init: soon, ..PATIENCE });
    assert_eq!(client.code().await, 4408);
    let mut client = Client::open(Patience { silence: soon, ..PATIENCE });
    client.say(&json!({ "type": "connection_init", "payload": { "name": "Ann" } }));
    assert_eq!(client.code().await, 3008);
}
