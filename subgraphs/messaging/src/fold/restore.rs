//! Rows back into state and views. What a row sets is final or a maximum, or is ordered by the
//! row's version within one message, so any order of rows gives the same.

use super::state::{About, State};
use crate::{
    NAME,
    model::ConversationId,
    row::{BlockRow, ConversationRow, MessageRow, ReactionRow, ReadRow, Row, Status},
    view,
};
use velvet_kernel::fold::{Effects, Moment};

/// Merges one row.
pub fn merge(state: &mut State, row: Row, at: &Moment<'_>) -> Effects {
    let Some(id) = ConversationId::parse(at.entity) else {
        tracing::error!("messaging.entity_malformed");
        return Effects::none();
    };
    match row {
        Row::Conversation(row) => conversation(state, id, &row),
        Row::Message(row) => message(state, id, row, at),
        Row::Reaction(row) => reaction(state, id, &row, at),
        Row::Read(row) => read(state, id, &row),
        Row::Block(row) => block(state, id, &row),
    }
}

fn conversation(state: &mut State, id: ConversationId, row: &ConversationRow) -> Effects {
    let mut effects = Effects::none();
    state.about = Some(About { match_id: row.match_id, a: row.user_a_id, b: row.user_b_id, opened_at: row.opened_at });
    if row.status == Status::Closed {
        // The row says when; a block's row only guesses.
        state.closed_at = Some(row.closed_at.unwrap_or(row.opened_at));
    }
    view::put_conversation(&mut effects, id, state);
    effects
}

fn message(state: &mut State, id: ConversationId, row: MessageRow, at: &Moment<'_>) -> Effects {
    let mut effects = Effects::none();
    let message = row.into_message();
    let before = state.last_position;
    state.note_message(message.position, message.sender_id, message.event_id, message.sent_at);
    state.changes.forget_until(at.version);
    view::put_message(&mut effects, id, at.version, &message, state.last_position);
    if state.last_position > before {
        view::put_last(&mut effects, id, state);
        view::age(&mut effects, id, before, state.last_position);
    }
    if state.read_by(message.sender_id) == message.position {
        view::put_read(&mut effects, id, message.sender_id, message.position);
    }
    effects
}

fn reaction(state: &mut State, id: ConversationId, row: &ReactionRow, at: &Moment<'_>) -> Effects {
    let mut effects = Effects::none();
    state.changes.forget_until(at.version);
    let mark = view::Mark {
        position: row.position,
        user: row.user_id,
        emoji: &row.emoji,
        removed: row.removed,
        at: row.reacted_at,
    };
    view::put_reaction(&mut effects, id, at.version, &mark, state.last_position.max(row.position));
    effects
}

fn read(state: &mut State, id: ConversationId, row: &ReadRow) -> Effects {
    let mut effects = Effects::none();
    state.note_stored(row.user_id, row.position);
    if state.note_read(row.user_id, row.position) {
        view::put_read(&mut effects, id, row.user_id, row.position);
    }
    effects
}

fn block(state: &mut State, id: ConversationId, row: &BlockRow) -> Effects {
    let mut effects = Effects::none();
    effects.block(NAME, row.blocker_id, row.blocked_id);
    state.blocked = true;
    state.closed_at.get_or_insert(row.blocked_at);
    view::put_end(&mut effects, id, state);
    effects
}
