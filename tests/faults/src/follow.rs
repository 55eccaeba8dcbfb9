//! Someone who follows a stream, comes back with the last cursor whenever it breaks, and sometimes just leaves.

use crate::{
    graph::Operation,
    history::{History, What},
    random::Random,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};
use velvet_e2e::transport::{Addresses, Connection, Transport};
use velvet_kit::{Handle, client::ws::Event};

/// How long a connection may take to stand.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at whether to go on, while nothing comes.
const IDLE: Duration = Duration::from_millis(500);
/// Longer than any stream is followed.
const EVER: Duration = Duration::from_hours(1);
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// So many looks in a hundred end with leaving.
const LEAVES: u64 = 4;

pub struct Follower {
    pub who: String,
    pub operation: &'static Operation,
    pub token: String,
    pub random: Random,
    pub history: History,
    pub stack: Arc<Handle>,
    /// Set once the stream has stood for the first time.
    pub stands: watch::Sender<bool>,
    /// Becomes true when all is over.
    pub over: watch::Receiver<bool>,
}

impl Follower {
    pub async fn run(mut self) {
        let mut cursor = None;
        while !*self.over.borrow() {
            let stream = self.history.fresh();
            let why = match self.follow(stream, &mut cursor).await {
                Ok(()) => "of its own will".to_owned(),
                Err(cause) => format!("{cause:#}"),
            };
            let field = self.operation.field;
            self.history.note(&self.who, What::Left { stream, field, why });
            let _ = timeout(RETRY_PAUSE, self.over.wait_for(|over| *over)).await;
        }
    }

    async fn follow(&mut self, stream: u64, cursor: &mut Option<String>) -> Result<()> {
        let router = usize::try_from(self.random.below(self.stack.info.router_urls.len() as u64))?;
        let transport = *self.random.pick(&Transport::ALL).unwrap_or(&Transport::WebSocket);
        let url = &self.stack.info.router_urls[router];
        let addresses = Addresses {
            ws_url: format!("{}/ws", url.replacen("http", "ws", 1)),
            graphql_url: format!("{url}/graphql"),
        };
        let extensions = cursor.as_ref().map_or(json!({ "position": true }), |cursor| json!({ "after": cursor }));
        let payload = json!({ "query": self.operation.document, "extensions": extensions });
        let opening = Connection::open(transport, &addresses, Some(&self.token), payload);
        let mut connection = timeout(OPEN_WITHIN, opening).await??;
        let (field, resumed) = (self.operation.field, cursor.is_some());
        let opened = |resumed| What::Opened { stream, field, router, transport: name_of(transport), resumed };
        if resumed {
            self.history.note(&self.who, opened(true));
        }
        loop {
            let Ok(event) = timeout(IDLE, connection.next(EVER)).await else {
                if *self.over.borrow() || (cursor.is_some() && self.random.percent(LEAVES)) {
                    return Ok(());
                }
                continue;
            };
            if self.take(stream, event?, cursor)? {
                self.history.note(&self.who, opened(false));
                self.stands.send_replace(true);
            }
        }
    }

    /// Notes what came. Whether it says that the stream stands.
    fn take(&mut self, stream: u64, event: Event, cursor: &mut Option<String>) -> Result<bool> {
        let mut payload = event.payload()?;
        let field = self.operation.field;
        let errors = payload["errors"].as_array().is_some_and(|errors| !errors.is_empty());
        let place = payload["extensions"]["cursor"].as_str().map(str::to_owned);
        // An error without a place is no event: the stream could not be opened.
        ensure!(!errors || place.is_some(), "{}", payload["errors"]);
        *cursor = place.or(cursor.take());
        if payload["extensions"]["positioned"] == true {
            return Ok(true);
        }
        let event = if errors { json!({ "errors": payload["errors"] }) } else { payload["data"][field].take() };
        if event != Value::Null {
            self.history.note(&self.who, What::Heard { stream, field, event, errors });
        }
        Ok(false)
    }
}

fn name_of(transport: Transport) -> &'static str {
    match transport {
        Transport::WebSocket => "WebSocket",
        Transport::EventStream => "SSE",
        Transport::Multipart => "multipart",
    }
}
