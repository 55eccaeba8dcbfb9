//! Streams as the router carries them: beside each event, outside what the client selects, stands
//! the cursor (`extensions.cursor`); a resume names the last one (`extensions.after`); and a router
//! that asks for it (`extensions.position`) learns where the stream starts before anything comes.

use crate::{
    graph::Cursor,
    identity::{Caller, Verifier},
};
use async_graphql::{Data, Executor, Request, Response, Value};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Where a resolver says how far its stream is.
#[derive(Debug, Clone, Default)]
pub struct StreamCursor(Arc<Mutex<Progress>>);

#[derive(Debug, Default)]
struct Progress {
    start: Option<Cursor>,
    current: Option<Cursor>,
}

impl StreamCursor {
    /// The stream starts here.
    pub fn starts_at(&self, cursor: Cursor) {
        self.0.lock().start = Some(cursor);
    }

    /// The event that is handed on now ends here.
    pub fn stands_at(&self, cursor: &Cursor) {
        self.0.lock().current = Some(cursor.clone());
    }
}

/// The cursor that a resume names outside the selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume(pub Cursor);

/// An executor whose streams carry cursors and take a viewer's token with each operation.
#[derive(Clone)]
pub struct Streams<E> {
    /// What executes.
    pub inner: E,
    /// What verifies the tokens.
    pub verifier: Arc<Verifier>,
}

impl<E: Executor> Executor for Streams<E> {
    async fn execute(&self, request: Request) -> Response {
        self.inner.execute(request).await
    }

    fn execute_stream(&self, request: Request, session: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        let this = self.clone();
        // What opening needs is on a heap of its own, which is given back when the stream is open.
        stream::once(Box::pin(async move { this.open(request, session).await })).flatten().boxed()
    }
}

impl<E: Executor> Streams<E> {
    async fn open(&self, mut request: Request, session: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        let text = |name: &str| match request.extensions.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            _ => None,
        };
        let (authorization, after) = (text("authorization"), text("after"));
        let positioned = request.extensions.get("position") == Some(&Value::Boolean(true));
        if let Some(authorization) = authorization {
            let caller = self.verifier.caller(Some(&authorization)).await;
            if caller == Caller::Refused {
                let fault = async_graphql::Error::from(crate::fault::Fault::unauthenticated());
                return stream::iter([Response::from_errors(vec![
                    fault.into_server_error(async_graphql::Pos::default()),
                ])])
                .boxed();
            }
            request = request.data(caller);
        }
        if let Some(after) = after {
            request = request.data(Resume(Cursor(after)));
        }
        let cursor = StreamCursor::default();
        let responses = self.inner.execute_stream(request.data(cursor.clone()), session);
        WithCursor { responses, cursor, announce: positioned, held: None }.boxed()
    }
}

/// Puts the cursor beside each response.
struct WithCursor {
    responses: BoxStream<'static, Response>,
    cursor: StreamCursor,
    announce: bool,
    /// An event that was ready before the start was told, which goes first.
    held: Option<Response>,
}

impl WithCursor {
    fn announcement(&mut self) -> Option<Response> {
        if !self.announce {
            return None;
        }
        let start = self.cursor.0.lock().start.take()?;
        self.announce = false;
        let mut response = Response::new(Value::Null);
        response.extensions.insert("positioned".to_owned(), Value::Boolean(true));
        response.extensions.insert("cursor".to_owned(), Value::String(start.0));
        Some(response)
    }
}

impl stream::Stream for WithCursor {
    type Item = Response;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Response>> {
        if let Some(next) = self.announcement().or_else(|| self.held.take()) {
            return Poll::Ready(Some(next));
        }
        match self.responses.poll_next_unpin(context) {
            Poll::Ready(Some(mut response)) => {
                if let Some(cursor) = self.cursor.0.lock().current.take() {
                    response.extensions.insert("cursor".to_owned(), Value::String(cursor.0));
                }
                let Some(first) = self.announcement() else { return Poll::Ready(Some(response)) };
                self.held = Some(response);
                Poll::Ready(Some(first))
            }
            // The stream has just been opened and waits: now its start is known.
            Poll::Pending => self.announcement().map_or(Poll::Pending, |first| Poll::Ready(Some(first))),
            done @ Poll::Ready(None) => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursors(responses: &[Response]) -> Vec<(String, bool)> {
        let said = |response: &Response| {
            let cursor = response.extensions.get("cursor").cloned().and_then(|cursor| cursor.into_json().ok());
            let cursor = cursor.and_then(|cursor| cursor.as_str().map(str::to_owned)).unwrap_or_default();
            (cursor, response.extensions.contains_key("positioned"))
        };
        responses.iter().map(said).collect()
    }

    #[tokio::test]
    async fn a_stream_says_where_it_starts_before_what_was_missed() {
        let cursor = StreamCursor::default();
        let resolver = cursor.clone();
        let missed = stream::once(async move {
            resolver.starts_at(Cursor("start".to_owned()));
            stream::iter(["one", "two"]).map(move |event| {
                resolver.stands_at(&Cursor(event.to_owned()));
                Response::new(Value::Null)
            })
        });
        let stream = WithCursor { responses: missed.flatten().boxed(), cursor, announce: true, held: None };
        let said = cursors(&stream.collect::<Vec<_>>().await);
        let expected = [("start", true), ("one", false), ("two", false)];
        assert_eq!(said, expected.map(|(cursor, positioned)| (cursor.to_owned(), positioned)));
    }
}
