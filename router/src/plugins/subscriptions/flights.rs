//! Requests to subgraphs that several executions of one event have in common: while one is under way, whoever wants the
//! same waits for its answer. Nothing is kept beyond that.
//!
//! Only executions of the same event share: what was asked for an earlier one may be answered with what was true then.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

use super::execute::{SubgraphAnswer, SubgraphCall};
use super::metrics::COALESCED;

type Flight = Shared<BoxFuture<'static, SubgraphAnswer>>;

/// What has to be the same for two requests to be one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    event: Arc<str>,
    /// In whose name.
    authorization: Option<Arc<str>>,
    subgraph: Box<str>,
    query: Box<str>,
    variables: Box<str>,
}

impl Key {
    pub(super) fn new(event: &Arc<str>, authorization: Option<&Arc<str>>, call: &SubgraphCall) -> Self {
        Self {
            event: Arc::clone(event),
            authorization: authorization.cloned(),
            subgraph: call.subgraph.into(),
            query: nameless(call.query, call.operation_name).into(),
            variables: serde_json::to_string(&call.variables).unwrap_or_default().into(),
        }
    }
}

/// An operation's text without its name, which comes from the client's and changes no answer.
pub(super) fn nameless(query: &str, name: Option<&str>) -> String {
    name.map_or_else(|| query.to_owned(), |name| query.replacen(&format!(" {name}"), "", 1))
}

/// The requests under way: at most one for each request of the events that are executed at once.
#[derive(Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Key, WeakShared<BoxFuture<'static, SubgraphAnswer>>>>>);

/// Takes a request off the list, answered or not.
struct Landing {
    flights: Flights,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
    }
}

impl Flights {
    /// The answer of the request that is under way already, or of the one that is made.
    pub(super) fn join(&self, key: Key, make: impl FnOnce() -> BoxFuture<'static, SubgraphAnswer>) -> Flight {
        let mut flying = self.0.lock();
        if let Some(flight) = flying.get(&key).and_then(WeakShared::upgrade) {
            COALESCED.increment();
            return flight;
        }
        let landing = Landing { flights: Self(Arc::clone(&self.0)), key: key.clone() };
        let request = make();
        let flight = async move {
            let _landing = landing;
            request.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            flying.insert(key, weak);
        }
        flight
    }
}

#[cfg(test)]
mod tests {
    use serde_json_bytes::json;
    use tokio::sync::oneshot;

    use super::super::protocol::Object;
    use super::*;

    fn key(event: &str, query: &str, name: &str) -> Key {
        let call = SubgraphCall { subgraph: "a", query, operation_name: Some(name), variables: Object::default() };
        Key::new(&event.into(), None, &call)
    }

    fn answering(answer: oneshot::Receiver<u32>) -> BoxFuture<'static, SubgraphAnswer> {
        Box::pin(async { SubgraphAnswer { data: json!(answer.await.unwrap()), errors: Vec::new() } })
    }

    #[tokio::test]
    async fn what_is_under_way_is_asked_once_and_what_was_answered_is_asked_again() {
        let flights = Flights::default();
        let (tell, told) = oneshot::channel();
        let first = flights.join(key("1", "query A__a__0{b}", "A__a__0"), || answering(told));
        let second = flights.join(key("1", "query{b}", "B__a__0"), || panic!("it is under way"));
        tell.send(7).unwrap();
        assert_eq!((first.await.data, second.await.data), (json!(7), json!(7)));
        let (tell, told) = oneshot::channel();
        let third = flights.join(key("1", "query A__a__0{b}", "A__a__0"), || answering(told));
        tell.send(8).unwrap();
        assert_eq!(third.await.data, json!(8));
        assert!(flights.0.lock().is_empty());
    }

    #[tokio::test]
    async fn another_event_another_selection_and_a_request_that_was_given_up_are_asked_anew() {
        let flights = Flights::default();
        let (_tell, told) = oneshot::channel();
        let given_up = flights.join(key("1", "query A{b}", "A"), || answering(told));
        for (event, query) in [("2", "query A{b}"), ("1", "query A{c}")] {
            let (tell, told) = oneshot::channel();
            let flight = flights.join(key(event, query, "A"), || answering(told));
            tell.send(1).unwrap();
            flight.await;
        }
        drop(given_up);
        assert!(flights.0.lock().is_empty());
    }
}
