//! Changing a message: read it, say what is to be changed and what was read, and read again when
//! it has changed meanwhile.

use super::Context as Messaging;
use crate::{
    event::{ChangeOutcome, Claim, Fact},
    model::{Message, MessageId},
    read,
};
use chrono::{DateTime, SubsecRound as _, Utc};
use serde::de::DeserializeOwned;
use uuid::Uuid;
use velvet_kernel::{
    fault::{Code, Fault},
    id::UserId,
    log::NewEvent,
    time::fresh_id,
};

/// Changes of one message that may come between reading and changing it; more are a contest.
const ATTEMPTS_MAX: usize = 5;

/// What a change came to.
pub enum Change {
    /// It is so now.
    Changed(Box<Message>),
    /// Nothing there that this user may change.
    NotFound,
    /// The message has as many different emoji as it may have.
    Full,
}

/// What is to be changed.
pub enum Step {
    /// Another text.
    Edit(String),
    /// Nothing is to be left.
    Delete,
    /// An emoji is put on or taken away.
    React {
        /// The emoji.
        emoji: String,
        /// Whether it is taken away.
        remove: bool,
    },
}

impl Step {
    /// What it comes to before the log is asked: nothing to do, or nothing that may be done.
    fn settled(&self, by: UserId, message: &Message) -> Option<Change> {
        let own = message.sender_id == by;
        match self {
            Self::Delete if own && message.deleted => Some(Change::Changed(Box::new(message.clone()))),
            Self::Edit(_) | Self::Delete if !own => Some(Change::NotFound),
            _ if message.deleted => Some(Change::NotFound),
            Self::React { emoji, remove } if message.has_reaction(by, emoji) != *remove => {
                Some(Change::Changed(Box::new(message.clone())))
            }
            Self::React { emoji, remove: false } if message.is_full_for(emoji) => Some(Change::Full),
            _ => None,
        }
    }

    fn fact(&self, by: UserId, claim: Claim) -> Fact {
        match self {
            Self::Edit(body) => Fact::Edited { by, body: body.clone(), claim },
            Self::Delete => Fact::Deleted { by, claim },
            Self::React { emoji, remove } => Fact::Reacted { by, emoji: emoji.clone(), remove: *remove, claim },
        }
    }

    fn apply(&self, by: UserId, message: Message, at: DateTime<Utc>) -> Message {
        match self {
            Self::Edit(body) => message.edited(body.clone(), at),
            Self::Delete => message.deleted(),
            Self::React { emoji, remove } => message.reacted(by, emoji, *remove, at),
        }
    }
}

impl Messaging {
    /// Changes a message.
    pub async fn change(&self, by: UserId, id: MessageId, step: &Step) -> Result<Change, Fault> {
        for _ in 0..ATTEMPTS_MAX {
            let Some(claim) = read::claim(&self.serve, by, id).await? else { return Ok(Change::NotFound) };
            if let Some(settled) = step.settled(by, &claim.message) {
                return Ok(settled);
            }
            let (message, at) = (claim.message.clone(), self.now());
            let fact = step.fact(by, claim);
            match self.submit(fresh_id(), id.conversation.to_string(), at, &fact).await? {
                ChangeOutcome::Changed => return Ok(Change::Changed(Box::new(step.apply(by, message, at)))),
                ChangeOutcome::NotFound => return Ok(Change::NotFound),
                ChangeOutcome::Full => return Ok(Change::Full),
                ChangeOutcome::Stale => {}
            }
        }
        Err(Fault::new(Code::Conflict, "the message keeps changing; read it again, then decide"))
    }

    /// Now, as exact as the log keeps it, so that times compare.
    pub fn now(&self) -> DateTime<Utc> {
        self.serve.clock.now().trunc_subsecs(6)
    }

    /// Appends a fact and answers with its outcome.
    pub async fn submit<T: DeserializeOwned>(
        &self,
        id: Uuid,
        conversation: String,
        at: DateTime<Utc>,
        fact: &Fact,
    ) -> Result<T, Fault> {
        self.intake.submit(&NewEvent::new(id, fact.kind(), conversation, at, fact)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(deleted: bool) -> Message {
        let event_id = Uuid::from_u128(1);
        let message = Message::new(1, event_id, "c".to_owned(), alice(), "hi".to_owned(), DateTime::UNIX_EPOCH);
        if deleted { message.deleted() } else { message }
    }

    fn alice() -> UserId {
        UserId(Uuid::from_u128(1))
    }

    fn bob() -> UserId {
        UserId(Uuid::from_u128(2))
    }

    fn react(remove: bool) -> Step {
        Step::React { emoji: "👍".to_owned(), remove }
    }

    #[test]
    fn only_the_sender_edits_and_deletes() {
        for step in [Step::Edit("x".to_owned()), Step::Delete] {
            assert!(matches!(step.settled(bob(), &message(false)), Some(Change::NotFound)));
            assert!(step.settled(alice(), &message(false)).is_none(), "the log decides");
        }
        assert!(react(false).settled(bob(), &message(false)).is_none());
    }

    #[test]
    fn what_is_so_already_is_not_asked_of_the_log() {
        assert!(matches!(Step::Delete.settled(alice(), &message(true)), Some(Change::Changed(_))));
        assert!(matches!(react(true).settled(bob(), &message(false)), Some(Change::Changed(_))));
        let reacted = message(false).reacted(bob(), "👍", false, DateTime::UNIX_EPOCH);
        assert!(matches!(react(false).settled(bob(), &reacted), Some(Change::Changed(_))));
    }

    #[test]
    fn a_deleted_message_does_not_change() {
        assert!(matches!(Step::Edit("x".to_owned()).settled(alice(), &message(true)), Some(Change::NotFound)));
        assert!(matches!(react(false).settled(bob(), &message(true)), Some(Change::NotFound)));
        assert!(matches!(Step::Delete.settled(bob(), &message(true)), Some(Change::NotFound)));
    }
}
