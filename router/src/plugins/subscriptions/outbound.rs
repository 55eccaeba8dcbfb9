//! What waits to be sent to one client, bounded in bytes.

use std::collections::VecDeque;

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::protocol::Close;

/// The queue of one socket. Many put in, the socket's task alone takes out.
///
/// Nothing is ever left out: a client that does not keep up is told so by the close code, and its cursors say where to
/// go on.
pub(super) struct Outbound {
    state: Mutex<State>,
    wake: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Utf8Bytes>,
    /// Of the messages queued and of the events held for execution.
    bytes: usize,
    close: Option<(Close, When)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    AfterQueue,
}

/// What the socket's task has to do next.
pub(super) enum Next {
    Send(Utf8Bytes),
    Close(Close),
    Nothing,
}

impl Outbound {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::new(State::default()), wake: Notify::new(), bytes_max }
    }

    /// Queues a message. When the queue is full the socket closes as too slow.
    pub(super) fn push(&self, message: Utf8Bytes) {
        if message.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        if state.close.is_some() {
            return;
        }
        if self.fits(&state, message.len()) {
            state.bytes += message.len();
            state.queue.push_back(message);
        } else {
            state.give_up();
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Counts an event that waits for its execution. False when there is no room: the socket closes.
    pub(super) fn hold(&self, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let fits = self.fits(&state, bytes);
        if fits {
            state.bytes += bytes;
        } else if state.close.is_none() {
            state.give_up();
            self.wake.notify_one();
        }
        fits
    }

    /// Takes back what [`Outbound::hold`] counted.
    pub(super) fn release(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    /// Closes at once; what is queued is not sent any more.
    pub(super) fn close(&self, close: Close) {
        self.close_with(close, When::Now);
    }

    /// Closes when what is queued has been sent.
    pub(super) fn close_after_queue(&self, close: Close) {
        self.close_with(close, When::AfterQueue);
    }

    fn close_with(&self, close: Close, when: When) {
        self.state.lock().close.get_or_insert((close, when));
        self.wake.notify_one();
    }

    pub(super) fn next(&self) -> Next {
        let mut state = self.state.lock();
        if let Some((close, When::Now)) = state.close {
            return Next::Close(close);
        }
        if let Some(message) = state.queue.pop_front() {
            state.bytes = state.bytes.saturating_sub(message.len());
            return Next::Send(message);
        }
        // An idle socket must not keep what a burst once needed.
        state.queue.shrink_to(0);
        state.close.map_or(Next::Nothing, |(close, _)| Next::Close(close))
    }

    /// Returns when the socket must close, whatever it is doing. It takes the wake-ups of messages too: see
    /// [`Outbound::wake_if_waiting`].
    pub(super) async fn told_to_close(&self) -> Close {
        loop {
            self.woken().await;
            if let Some(close) = self.closing_now() {
                return close;
            }
        }
    }

    fn closing_now(&self) -> Option<Close> {
        self.state.lock().close.and_then(|(close, when)| (when == When::Now).then_some(close))
    }

    /// Returns when something was put in since the last call.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Makes the next [`Outbound::woken`] return at once if there is something to do.
    pub(super) fn wake_if_waiting(&self) {
        let state = self.state.lock();
        if !state.queue.is_empty() || state.close.is_some() {
            self.wake.notify_one();
        }
    }

    /// One message always fits, however large: a bound on it is the upstream's.
    fn fits(&self, state: &State, bytes: usize) -> bool {
        state.bytes == 0 || state.bytes + bytes <= self.bytes_max
    }
}

impl State {
    fn give_up(&mut self) {
        self.close = Some((Close::SLOW, When::Now));
        self.queue = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Utf8Bytes {
        "m".repeat(bytes).into()
    }

    #[test]
    fn a_full_queue_closes_the_socket_and_says_why() {
        let outbound = Outbound::new(10);
        outbound.push(message(6));
        outbound.push(message(4));
        assert!(outbound.closing_now().is_none());
        outbound.push(message(1));
        assert_eq!(outbound.closing_now(), Some(Close::SLOW));
        assert!(matches!(outbound.next(), Next::Close(Close::SLOW)));
    }

    #[test]
    fn events_that_wait_for_execution_count_too() {
        let outbound = Outbound::new(10);
        assert!(outbound.hold(8));
        assert!(!outbound.hold(8));
        assert_eq!(outbound.closing_now(), Some(Close::SLOW));
    }

    #[test]
    fn one_message_fits_however_large() {
        let outbound = Outbound::new(10);
        outbound.push(message(100));
        assert!(matches!(outbound.next(), Next::Send(sent) if sent.len() == 100));
        assert!(matches!(outbound.next(), Next::Nothing));
    }

    #[test]
    fn a_close_after_the_queue_lets_the_queue_out_first() {
        let outbound = Outbound::new(10);
        outbound.push(message(1));
        outbound.close_after_queue(Close::EXPIRED);
        outbound.push(message(1));
        assert!(matches!(outbound.next(), Next::Send(_)));
        assert!(matches!(outbound.next(), Next::Close(Close::EXPIRED)));
    }
}
