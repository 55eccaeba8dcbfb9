//! Sessions: families of refresh tokens, each token good once.
//!
//! The first rotation in log order wins. Who presents the token just replaced may have lost the
//! answer, so it gets a fresh pair once more for a short while; any older or unknown token has been
//! copied, and the whole family ends.

use super::{Kept, State, next_version};
use crate::{
    event::{SESSION_ENDED, SESSION_ROTATED, SESSION_STARTED, SessionOutcome},
    row::SessionRow,
    view,
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;
use velvet_kernel::{
    fold::{Effects, Moment, Version},
    id::UserId,
};

/// How long a refresh token lasts.
pub const REFRESH_TOKEN_LIFETIME: TimeDelta = TimeDelta::days(30);
/// How long the token just replaced is let in once more.
pub const GRACE: TimeDelta = TimeDelta::seconds(30);
/// Sessions that a user has at once; one more ends the oldest.
pub const SESSIONS_MAX: usize = 50;

pub(super) fn start(
    state: &mut State,
    family_id: Uuid,
    token_hash: String,
    at: &Moment<'_>,
    effects: &mut Effects,
) -> SessionOutcome {
    let (Some(_), Some(user_id)) = (&state.user, UserId::parse(at.entity)) else {
        return SessionOutcome::Refused;
    };
    if let Some(kept) = state.sessions.get(&family_id) {
        return outcome(kept.row.current_hash == token_hash && is_live(&kept.row, at.time), kept.row.expires_at);
    }
    let row = SessionRow {
        user_id,
        family_id,
        current_hash: token_hash,
        previous_hash: None,
        replaced_at: None,
        grace_used: false,
        started_at: at.time,
        expires_at: at.time + REFRESH_TOKEN_LIFETIME,
        ended_at: None,
    };
    let expires_at = row.expires_at;
    let version = next_version(at, effects);
    effects.view(view::put_session(&row, version));
    effects.decide(SESSION_STARTED, at.entity, &row);
    state.sessions.insert(family_id, Kept { row, version });
    while state.sessions.len() > SESSIONS_MAX {
        let Some(least) = least(state, Some(family_id)) else { break };
        end(state, least, at, effects);
        state.sessions.remove(&least);
    }
    outcome(true, expires_at)
}

pub(super) fn rotate(
    state: &mut State,
    family_id: Uuid,
    presented_hash: &str,
    next_hash: String,
    at: &Moment<'_>,
    effects: &mut Effects,
) -> SessionOutcome {
    let Some(kept) = state.sessions.get_mut(&family_id).filter(|kept| is_live(&kept.row, at.time)) else {
        return SessionOutcome::Refused;
    };
    let row = &mut kept.row;
    if row.current_hash == next_hash {
        return outcome(true, row.expires_at);
    }
    let in_grace = row.replaced_at.is_some_and(|replaced| at.time - replaced <= GRACE);
    if row.current_hash == presented_hash {
        row.previous_hash = Some(std::mem::replace(&mut row.current_hash, next_hash));
        row.replaced_at = Some(at.time);
        row.grace_used = false;
    } else if row.previous_hash.as_deref() == Some(presented_hash) && in_grace && !row.grace_used {
        row.current_hash = next_hash;
        row.grace_used = true;
    } else {
        end(state, family_id, at, effects);
        return SessionOutcome::Refused;
    }
    row.expires_at = at.time + REFRESH_TOKEN_LIFETIME;
    kept.version = next_version(at, effects);
    effects.view(view::put_session(&kept.row, kept.version));
    effects.decide(SESSION_ROTATED, at.entity, &kept.row);
    outcome(true, kept.row.expires_at)
}

pub(super) fn end(state: &mut State, family_id: Uuid, at: &Moment<'_>, effects: &mut Effects) {
    if let Some(kept) = state.sessions.get_mut(&family_id)
        && kept.row.ended_at.is_none()
    {
        kept.row.ended_at = Some(at.time);
        kept.version = next_version(at, effects);
        effects.view(view::remove_session(&kept.row));
        effects.decide(SESSION_ENDED, at.entity, &kept.row);
    }
}

pub(super) fn restore(state: &mut State, row: SessionRow, version: Version, effects: &mut Effects) {
    let family_id = row.family_id;
    let newer = state.sessions.get(&family_id).is_none_or(|kept| kept.version < version);
    if newer {
        state.sessions.insert(family_id, Kept { row, version });
    }
    if let Some(kept) = state.sessions.get(&family_id) {
        effects.view(match kept.row.ended_at {
            None => view::put_session(&kept.row, kept.version),
            Some(_) => view::remove_session(&kept.row),
        });
    }
    while state.sessions.len() > SESSIONS_MAX {
        let Some(least) = least(state, None) else { break };
        state.sessions.remove(&least);
    }
}

/// The session that can be spared first: an ended one, else the oldest.
fn least(state: &State, spare: Option<Uuid>) -> Option<Uuid> {
    state
        .sessions
        .values()
        .map(|kept| (kept.row.ended_at.is_none(), kept.row.started_at, kept.row.family_id))
        .filter(|(_, _, family_id)| Some(*family_id) != spare)
        .min()
        .map(|(_, _, family_id)| family_id)
}

fn is_live(row: &SessionRow, now: DateTime<Utc>) -> bool {
    row.ended_at.is_none() && now < row.expires_at
}

fn outcome(granted: bool, expires_at: DateTime<Utc>) -> SessionOutcome {
    if granted { SessionOutcome::Granted { expires_at } } else { SessionOutcome::Refused }
}
