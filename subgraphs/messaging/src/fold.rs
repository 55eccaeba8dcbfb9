//! The rule of a conversation.

mod restore;
pub mod state;
#[cfg(test)]
mod tests;

use crate::{
    NAME,
    event::{
        CONVERSATION_CLOSED, CONVERSATION_JOINED, CONVERSATION_OPENED, ChangeOutcome, Claim, Fact, LiveEvent,
        MESSAGE_DELETED, MESSAGE_EDITED, MESSAGE_REACTED, MESSAGE_READ, MESSAGE_SENT, ReadOutcome, SendOutcome,
    },
    model::{ConversationId, Message},
    row::{MemberRow, MessageRow, ReactionRow, ReadRow, Row},
    typing, view,
};
use state::{About, State};
use uuid::Uuid;
use velvet_kernel::{
    fold::{Effects, Fold, Moment},
    id::UserId,
    planted::{Bug, planted},
    time::{Clock as _, SystemClock},
};

/// The domain that waits for blocks to be projected.
const MATCHING: &str = "matching";

/// The rule of messaging.
#[derive(Debug, Clone, Copy)]
pub struct Messaging;

impl Fold for Messaging {
    type State = State;
    type Fact = Fact;
    type Row = Row;

    fn fold(&self, state: &mut State, fact: Fact, at: &Moment<'_>) -> Effects {
        let Some(id) = ConversationId::parse(at.entity) else {
            tracing::error!(event.id = %at.event_id, "messaging.entity_malformed");
            return Effects::none();
        };
        let case = Case { id, at, state };
        match fact {
            Fact::Opened { match_id, a, b, at } => case.open(About { match_id, a, b, opened_at: at }),
            Fact::Closed { reason: _ } => case.close(),
            Fact::Blocked { blocker, blocked, ack } => case.block(blocker, blocked, ack),
            Fact::Sent { sender, client_id, body } => case.send(sender, client_id, body),
            Fact::Edited { by, body, claim } => case.edit(by, body, claim),
            Fact::Deleted { by, claim } => case.delete(by, claim),
            Fact::Reacted { by, emoji, remove, claim } => case.react(by, &emoji, remove, claim),
            Fact::Read { by, position } => case.read(by, position),
        }
    }

    fn restore(&self, state: &mut State, row: Row, at: &Moment<'_>) -> Effects {
        restore::merge(state, row, at)
    }
}

/// One fact before its conversation.
struct Case<'a> {
    id: ConversationId,
    at: &'a Moment<'a>,
    state: &'a mut State,
}

impl Case<'_> {
    /// A match opens its conversation once. A block that came first leaves it closed from the start.
    fn open(self, about: About) -> Effects {
        let mut effects = Effects::none();
        if self.state.about.is_some() {
            return effects;
        }
        let [a, b] = about.members();
        let joined_at = about.opened_at;
        self.state.about = Some(about);
        view::put_conversation(&mut effects, self.id, self.state);
        let kind = if self.state.closed_at.is_some() { CONVERSATION_CLOSED } else { CONVERSATION_OPENED };
        self.decide_conversation(&mut effects, kind);
        for (user_id, other_id) in [(a, b), (b, a)] {
            let row = MemberRow { user_id, conversation_id: self.id, other_id, joined_at };
            effects.decide(CONVERSATION_JOINED, user_id.to_string(), &row);
        }
        effects
    }

    fn close(self) -> Effects {
        let mut effects = Effects::none();
        if self.state.closed_at.is_none() {
            self.state.closed_at = Some(self.at.time);
            self.end(&mut effects);
            self.decide_conversation(&mut effects, CONVERSATION_CLOSED);
        }
        effects
    }

    /// A block is told to matching even when it changes nothing here, as its caller waits for that.
    fn block(self, blocker: UserId, other: UserId, ack: Uuid) -> Effects {
        let mut effects = Effects::none();
        effects.block(NAME, blocker, other);
        let closes = self.state.closed_at.is_none();
        self.state.blocked = true;
        self.state.closed_at.get_or_insert(self.at.time);
        self.end(&mut effects);
        if closes {
            self.decide_conversation(&mut effects, CONVERSATION_CLOSED);
        }
        effects.tell(MATCHING, ack, &true);
        effects
    }

    fn end(&self, effects: &mut Effects) {
        view::put_end(effects, self.id, self.state);
        effects.view(typing::end(self.id));
    }

    fn send(self, sender: UserId, client_id: String, body: String) -> Effects {
        let mut effects = Effects::none();
        if let Some(position) = self.state.sends.position_of(self.at.event_id) {
            effects.answer(&SendOutcome::Repeated { position });
            return effects;
        }
        if !self.state.shows(sender) {
            effects.answer(&SendOutcome::NotFound);
            return effects;
        }
        if self.state.closed_at.is_some() {
            effects.answer(&SendOutcome::Closed);
            return effects;
        }
        let position = self.state.last_position + 1;
        let mut sent_at = self.at.time;
        if planted(Bug::FoldReadsClock) {
            sent_at = SystemClock.now();
        }
        let event_id = self.at.event_id;
        let message = Message::new(position, event_id, client_id, sender, body, sent_at);
        self.state.note_message(position, sender, event_id, sent_at);
        view::put_message(&mut effects, self.id, self.at.version, &message, position);
        view::put_last(&mut effects, self.id, self.state);
        view::put_read(&mut effects, self.id, sender, position);
        view::age(&mut effects, self.id, position - 1, position);
        effects.decide(MESSAGE_SENT, self.id.to_string(), &MessageRow::of(self.id, &message));
        for row in self.state.take_unstored(self.id, sent_at) {
            effects.decide(MESSAGE_READ, self.id.to_string(), &row);
        }
        self.announce(&mut effects, sender, &LiveEvent::Sent { conversation_id: self.id, message });
        effects.answer(&SendOutcome::Sent { position, sent_at });
        effects
    }

    fn edit(mut self, by: UserId, body: String, claim: Claim) -> Effects {
        if let Err(outcome) = self.judge(by, &claim) {
            return refused(outcome);
        }
        if claim.message.sender_id != by {
            return refused(ChangeOutcome::NotFound);
        }
        let mut effects = Effects::none();
        let message = claim.message.edited(body, self.at.time);
        self.change(&mut effects, MESSAGE_EDITED, &message);
        self.announce(&mut effects, by, &LiveEvent::Edited { conversation_id: self.id, message });
        effects
    }

    fn delete(mut self, by: UserId, claim: Claim) -> Effects {
        if let Err(outcome) = self.judge(by, &claim) {
            return refused(outcome);
        }
        if claim.message.sender_id != by {
            return refused(ChangeOutcome::NotFound);
        }
        let mut effects = Effects::none();
        let message = claim.message.deleted();
        let position = message.position;
        self.change(&mut effects, MESSAGE_DELETED, &message);
        self.announce(&mut effects, by, &LiveEvent::Deleted { conversation_id: self.id, position });
        effects
    }

    fn react(self, by: UserId, emoji: &str, remove: bool, claim: Claim) -> Effects {
        if let Err(outcome) = self.judge(by, &claim) {
            return refused(outcome);
        }
        if !remove && claim.message.is_full_for(emoji) {
            return refused(ChangeOutcome::Full);
        }
        let mut effects = Effects::none();
        effects.answer(&ChangeOutcome::Changed);
        if claim.message.has_reaction(by, emoji) != remove {
            return effects;
        }
        let (position, at) = (claim.message.position, self.at.time);
        let mark = view::Mark { position, user: by, emoji, removed: remove, at };
        view::put_reaction(&mut effects, self.id, self.at.version, &mark, self.state.last_position);
        self.state.changes.note(position, self.at.version);
        let row = ReactionRow {
            conversation_id: self.id,
            position,
            user_id: by,
            emoji: emoji.to_owned(),
            removed: remove,
            reacted_at: at,
        };
        effects.decide(MESSAGE_REACTED, self.id.to_string(), &row);
        let message = claim.message.reacted(by, emoji, remove, at);
        self.announce(&mut effects, by, &LiveEvent::Reacted { conversation_id: self.id, message });
        effects
    }

    /// Reading goes on in a closed conversation: its messages stay readable.
    fn read(self, by: UserId, position: i64) -> Effects {
        let mut effects = Effects::none();
        if !self.state.shows(by) {
            effects.answer(&ReadOutcome::NotFound);
            return effects;
        }
        let position = position.clamp(0, self.state.last_position);
        if self.state.note_read(by, position) {
            self.state.note_stored(by, position);
            view::put_read(&mut effects, self.id, by, position);
            let row = ReadRow { conversation_id: self.id, user_id: by, position, read_at: self.at.time };
            effects.decide(MESSAGE_READ, self.id.to_string(), &row);
            self.announce(&mut effects, by, &LiveEvent::Read { conversation_id: self.id, user_id: by, position });
        }
        effects.answer(&ReadOutcome::Marked { position: self.state.read_by(by) });
        effects
    }

    /// Whether a message may be changed at all, and is what the API took it for.
    fn judge(&self, by: UserId, claim: &Claim) -> Result<(), ChangeOutcome> {
        let position = claim.message.position;
        if !self.state.takes_from(by) || !(1..=self.state.last_position).contains(&position) {
            return Err(ChangeOutcome::NotFound);
        }
        if !self.state.changes.none_after(position, claim.seen) {
            return Err(ChangeOutcome::Stale);
        }
        if claim.message.deleted {
            return Err(ChangeOutcome::NotFound);
        }
        Ok(())
    }

    fn change(&mut self, effects: &mut Effects, kind: &'static str, message: &Message) {
        self.state.changes.note(message.position, self.at.version);
        view::put_message(effects, self.id, self.at.version, message, self.state.last_position);
        effects.decide(kind, self.id.to_string(), &MessageRow::of(self.id, message));
        effects.answer(&ChangeOutcome::Changed);
    }

    /// Hands a live event to both members, so that each sees it on all devices.
    fn announce(&self, effects: &mut Effects, from: UserId, event: &LiveEvent) {
        for member in self.state.members() {
            effects.deliver(NAME, member, Some(from), event);
        }
    }

    fn decide_conversation(&self, effects: &mut Effects, kind: &'static str) {
        if let Some(row) = self.state.row(self.id) {
            effects.decide(kind, self.id.to_string(), &row);
        }
    }
}

fn refused(outcome: ChangeOutcome) -> Effects {
    let mut effects = Effects::none();
    effects.answer(&outcome);
    effects
}
