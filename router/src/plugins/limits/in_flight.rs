//! How many requests the process works on. One count for all generations: a reload must not double the bound.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use apollo_router::services::router;
use hyper::body::{Body, Frame, SizeHint};

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A request's right to be worked on, until it is dropped.
pub(super) struct Permit(&'static AtomicUsize);

impl Permit {
    /// Has a body keep it for as long as the body is there.
    pub(super) fn held_by(self, body: router::Body) -> Held {
        Held { body, _permit: self }
    }
}

/// A body with its request's permit. It is as long as it was, so that its length can be told ahead.
pub(super) struct Held {
    body: router::Body,
    _permit: Permit,
}

impl Body for Held {
    type Data = <router::Body as Body>::Data;
    type Error = <router::Body as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Nothing when there are as many as there may be.
pub(super) fn enter(requests_max: usize) -> Option<Permit> {
    enter_in(&COUNT, requests_max)
}

pub(super) fn count() -> u64 {
    u64::try_from(COUNT.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
}

fn enter_in(count: &'static AtomicUsize, requests_max: usize) -> Option<Permit> {
    let taken =
        count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| (count < requests_max).then_some(count + 1));
    taken.is_ok().then(|| Permit(count))
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leaves_and_another_may_come() {
        static ROOM: AtomicUsize = AtomicUsize::new(0);
        let first = enter_in(&ROOM, 2).unwrap();
        let _second = enter_in(&ROOM, 2).unwrap();
        assert!(enter_in(&ROOM, 2).is_none());
        drop(first);
        assert!(enter_in(&ROOM, 2).is_some());
        assert!(enter_in(&ROOM, 0).is_none());
    }

    #[test]
    fn a_body_that_holds_a_permit_is_as_long_as_before_and_lets_go_at_its_end() {
        static ROOM: AtomicUsize = AtomicUsize::new(0);
        let held = enter_in(&ROOM, 1).unwrap().held_by(router::body::from_bytes("four"));
        assert_eq!(held.size_hint().exact(), Some(4));
        assert!(enter_in(&ROOM, 1).is_none());
        drop(held);
        assert!(enter_in(&ROOM, 1).is_some());
    }
}
