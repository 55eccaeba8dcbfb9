//! Who is typing: announced on a channel of Redis, kept nowhere, and over by itself after a while.

use crate::{NAME, model::ConversationId};
use std::time::Duration;
use tokio::time::Instant;
use velvet_kernel::{id::UserId, store::Call};

/// Whoever types says so again within this time, or has stopped.
pub const LIFETIME: Duration = Duration::from_secs(6);

/// The announcement that nobody types in a conversation any more.
const END: &str = "!";

/// Where typing in a conversation is announced.
pub fn channel(id: ConversationId) -> String {
    format!("{NAME}:typing:{{{id}}}")
}

/// The call that ends the streams of a conversation.
pub fn end(id: ConversationId) -> Call {
    Call::command_on("SPUBLISH", channel(id)).arg(END)
}

/// What is announced of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Who.
    pub user: UserId,
    /// Whether they are typing.
    pub typing: bool,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", u8::from(self.typing), self.user)
    }
}

/// What was heard on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Of one member.
    Mark(Mark),
    /// The conversation has ended.
    End,
}

/// Reads an announcement; nothing when it is none of ours.
pub fn parse(message: &[u8]) -> Option<Heard> {
    let text = std::str::from_utf8(message).ok()?;
    if text == END {
        return Some(Heard::End);
    }
    let (typing, user) = text.split_once(' ')?;
    Some(Heard::Mark(Mark { user: UserId::parse(user)?, typing: typing == "1" }))
}

/// One member, as the other sees them type.
#[derive(Debug, Clone, Copy, Default)]
pub struct Typist {
    /// When typing is over unless it is announced again.
    pub until: Option<Instant>,
}

impl Typist {
    /// Takes note of an announcement. Returns what has changed: whether they are typing now.
    pub fn hear(&mut self, typing: bool, now: Instant) -> Option<bool> {
        let before = self.until.is_some();
        self.until = typing.then(|| now + LIFETIME);
        (before != typing).then_some(typing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn announcements_round_trip() {
        for typing in [true, false] {
            let mark = Mark { user: UserId(Uuid::from_u128(7)), typing };
            assert_eq!(parse(mark.to_string().as_bytes()), Some(Heard::Mark(mark)));
        }
        assert_eq!(parse(END.as_bytes()), Some(Heard::End));
        assert_eq!(parse(b"1 nobody"), None);
        assert_eq!(parse(&[0xff]), None);
    }

    #[test]
    fn only_changes_are_told_and_a_repeat_lasts_longer() {
        let (mut typist, now) = (Typist::default(), Instant::now());
        assert_eq!(typist.hear(false, now), None);
        assert_eq!(typist.hear(true, now), Some(true));
        let later = now + Duration::from_secs(4);
        assert_eq!(typist.hear(true, later), None);
        assert_eq!(typist.until, Some(later + LIFETIME));
        assert_eq!(typist.hear(false, later), Some(false));
        assert_eq!(typist.until, None);
    }
}
