//! The rule of an account: what a fact about a user means.
//!
//! A user's profile and sessions are one entity, so that signing out and refreshing at the same
//! instant meet in one order. A partner is another, with its keys and operations, and its usage a
//! third.

mod partners;
mod sessions;
mod usage;

use crate::{
    DOMAIN_NAME,
    event::{
        Ended, Fact, ProfileChange, ProfileOutcome, RegisterOutcome, USER_ACTIVE, USER_CREATED, USER_LOCATED,
        USER_UPDATED, USER_VERIFIED,
    },
    model::VerificationStatus,
    row::{Row, SessionRow, UserRow},
    view,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;
use velvet_kernel::fold::{Effects, Fold, Moment, Version};

pub use partners::PartnerState;
pub use sessions::REFRESH_TOKEN_LIFETIME;
pub use usage::UsageState;

/// The rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct Accounts;

/// What is remembered of a user, of a partner, or of a partner's usage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The account, once it is registered.
    pub user: Option<Kept<Box<UserRow>>>,
    /// The newest sessions; ended ones stay for a while, so that an old row does not revive them.
    #[serde(default)]
    pub sessions: BTreeMap<Uuid, Kept<SessionRow>>,
    /// The partner, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<Box<PartnerState>>,
    /// A partner's usage, once anything was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Box<UsageState>>,
}

/// A row and the version of what last changed it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept<R> {
    /// The row.
    pub row: R,
    /// Its version.
    pub version: Version,
}

impl Fold for Accounts {
    type State = State;
    type Fact = Fact;
    type Row = Row;

    fn fold(&self, state: &mut State, fact: Fact, at: &Moment<'_>) -> Effects {
        let mut effects = Effects::none();
        match fact {
            Fact::Registered { command_id, user } => register(state, command_id, user, at, &mut effects),
            Fact::RegisterRefused { command_id } => {
                effects.tell(DOMAIN_NAME, command_id, &RegisterOutcome::EmailTaken);
            }
            Fact::ProfileUpdated(change) => {
                answer(&mut effects, |effects| edit(state, USER_UPDATED, at, effects, |user| apply(user, change)));
            }
            Fact::Located { cell } => answer(&mut effects, |effects| {
                edit(state, USER_LOCATED, at, effects, |user| {
                    user.cell = Some(cell);
                    ProfileOutcome::Changed
                })
            }),
            Fact::Verified { status } => answer(&mut effects, |effects| {
                // Other domains listen for a user's being verified; the other statuses are the user's own affair.
                let kind = if status == VerificationStatus::Verified { USER_VERIFIED } else { USER_UPDATED };
                edit(state, kind, at, effects, |user| {
                    user.verification_status = status;
                    ProfileOutcome::Changed
                })
            }),
            Fact::RoleSet { role, held } => answer(&mut effects, |effects| {
                edit(state, USER_UPDATED, at, effects, |user| {
                    user.roles.retain(|known| *known != role);
                    user.roles.extend(held.then_some(role));
                    user.roles.sort_unstable();
                    ProfileOutcome::Changed
                })
            }),
            Fact::Partner(fact) => {
                let outcome = partners::fold(&mut state.partner, *fact, at, &mut effects);
                effects.answer(&outcome);
            }
            Fact::Usage(fact) => usage::fold(&mut state.usage, *fact, at, &mut effects),
            Fact::Active => active(state, at, &mut effects),
            Fact::SessionStarted { family_id, token_hash } => {
                let outcome = sessions::start(state, family_id, token_hash, at, &mut effects);
                effects.answer(&outcome);
            }
            Fact::SessionRotated { family_id, presented_hash, next_hash } => {
                let outcome = sessions::rotate(state, family_id, &presented_hash, next_hash, at, &mut effects);
                effects.answer(&outcome);
            }
            Fact::SessionEnded { family_id } => {
                sessions::end(state, family_id, at, &mut effects);
                effects.answer(&Ended);
            }
            Fact::Hidden { other, acknowledge } => {
                if let Some(user) = velvet_kernel::id::UserId::parse(at.entity) {
                    effects.block(DOMAIN_NAME, user, other);
                }
                effects.tell("matching", acknowledge, &true);
            }
        }
        effects
    }

    fn restore(&self, state: &mut State, row: Row, at: &Moment<'_>) -> Effects {
        let mut effects = Effects::none();
        match row {
            Row::User(row) => {
                let kept = match &mut state.user {
                    Some(kept) if kept.version >= at.version => kept,
                    user => user.insert(Kept { row, version: at.version }),
                };
                effects.view(view::put_account(&kept.row, kept.version));
                effects.view(view::put_login(&kept.row, kept.version));
            }
            Row::Session(row) => sessions::restore(state, row, at.version, &mut effects),
            Row::Block(row) => {
                effects.block(DOMAIN_NAME, row.blocker_id, row.blocked_id);
            }
            Row::Partner(row) => partners::restore_partner(&mut state.partner, row, at.version, &mut effects),
            Row::PartnerKey(row) => partners::restore_key(&mut state.partner, row, at.version, &mut effects),
            Row::PartnerOperation(row) => {
                partners::restore_operation(&mut state.partner, &row, at.version, &mut effects);
            }
            Row::PartnerAudit(row) => {
                effects.view(view::partners::put_audit(&row, at.version));
            }
            Row::PartnerUsage(row) => usage::restore_hour(&mut state.usage, row, at.version, &mut effects),
            Row::PartnerUsageTotal(row) => usage::restore_total(&mut state.usage, row, at.version, &mut effects),
            Row::PartnerUsageRouter(row) => usage::restore_router(&mut state.usage, &row, at.version, &mut effects),
        }
        effects
    }
}

/// The version of the next decided event of a fact.
fn next_version(at: &Moment<'_>, effects: &Effects) -> Version {
    Version(at.version.0 + effects.decided.len() as u64)
}

fn answer(effects: &mut Effects, outcome: impl FnOnce(&mut Effects) -> ProfileOutcome) {
    let outcome = outcome(effects);
    effects.answer(&outcome);
}

fn register(state: &mut State, command_id: Uuid, user: Box<UserRow>, at: &Moment<'_>, effects: &mut Effects) {
    effects.tell(DOMAIN_NAME, command_id, &RegisterOutcome::Registered { user_id: user.user_id });
    if state.user.is_some() {
        return;
    }
    let version = next_version(at, effects);
    effects.view(view::put_account(&user, version));
    effects.view(view::put_login(&user, version));
    effects.decide(USER_CREATED, at.entity, &user);
    state.user = Some(Kept { row: user, version });
}

/// Changes the account and says so, unless the change comes to nothing.
fn edit(
    state: &mut State,
    kind: &'static str,
    at: &Moment<'_>,
    effects: &mut Effects,
    change: impl FnOnce(&mut UserRow) -> ProfileOutcome,
) -> ProfileOutcome {
    let Some(kept) = &mut state.user else {
        return ProfileOutcome::NoAccount;
    };
    let mut changed = kept.row.clone();
    let outcome = change(&mut changed);
    if outcome == ProfileOutcome::Changed && changed != kept.row {
        changed.updated_at = at.time;
        keep(kept, changed, kind, at, effects);
    }
    outcome
}

fn keep(kept: &mut Kept<Box<UserRow>>, row: Box<UserRow>, kind: &'static str, at: &Moment<'_>, effects: &mut Effects) {
    *kept = Kept { row, version: next_version(at, effects) };
    effects.view(view::put_account(&kept.row, kept.version));
    effects.decide(kind, at.entity, &kept.row);
}

fn apply(user: &mut UserRow, change: ProfileChange) -> ProfileOutcome {
    if let Some(preferences) = change.preferences {
        match preferences.applied(&user.preferences) {
            Some(preferences) => user.preferences = preferences,
            None => return ProfileOutcome::AgesCrossed,
        }
    }
    if let Some(display_name) = change.display_name {
        user.display_name = display_name;
    }
    if let Some(bio) = change.bio {
        user.bio = bio;
    }
    if change.avatar_url.is_some() {
        user.avatar_url = change.avatar_url;
    }
    ProfileOutcome::Changed
}

fn active(state: &mut State, at: &Moment<'_>, effects: &mut Effects) {
    if let Some(kept) = &mut state.user
        && kept.row.last_active_at < at.time
    {
        let mut row = kept.row.clone();
        row.last_active_at = at.time;
        keep(kept, row, USER_ACTIVE, at, effects);
    }
}

#[cfg(test)]
mod tests;
