//! Partners: the keys that let them in and the operations that they may call.
//!
//! The bodies of operations are in views and rows; the state keeps their hashes, which is all that
//! judging needs. What is over stays in the state for a while, so that its id is not taken again.

mod operations;

use super::{Kept, next_version};
use crate::{
    event::{
        NewKey, PARTNER, PARTNER_AUDIT, PARTNER_KEY, PartnerChange, PartnerFact, PartnerOutcome, PartnerUpdate,
        Replacement,
    },
    model::{Limits, Slug},
    row::{AuditRow, KeyRow, OperationRow, PartnerRow},
    view::partners as view,
};
use chrono::{DateTime, TimeDelta, Utc};
use operations::KnownOperation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use velvet_kernel::{
    fold::{Effects, Moment, Version},
    id::UserId,
};

/// Keys that a partner has at once.
const KEYS_LIVE_MAX: usize = 20;
/// Keys that are remembered, those that are over among them.
const KEYS_KNOWN_MAX: usize = 100;

type Partner = Option<Box<PartnerState>>;

/// What is remembered of a partner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PartnerState {
    /// The partner; in a rebuild, its keys may come before it.
    row: Option<Kept<PartnerRow>>,
    /// Its keys, by their prefixes.
    #[serde(default)]
    keys: BTreeMap<String, Kept<KeyRow>>,
    /// Its operations, by their ids.
    #[serde(default)]
    operations: BTreeMap<String, Kept<KnownOperation>>,
    /// Its newest release.
    #[serde(default)]
    release: u32,
}

/// One fact while it is judged.
struct Judging<'a> {
    slug: Slug,
    by: String,
    at: &'a Moment<'a>,
    effects: &'a mut Effects,
}

impl Judging<'_> {
    fn next_version(&self) -> Version {
        next_version(self.at, self.effects)
    }

    /// The key of decided events: the rows' owner.
    fn owner(&self) -> String {
        self.slug.id().to_string()
    }

    fn audit(&mut self, action: &str, subject: &str) {
        let row = AuditRow {
            partner_id: self.slug.id(),
            slug: self.slug.clone(),
            event_id: self.at.event_id,
            at: self.at.time,
            by: self.by.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
        };
        self.effects.view(view::put_audit(&row, self.next_version()));
        self.effects.decide(PARTNER_AUDIT, self.owner(), &row);
    }

    fn keep_partner(&mut self, row: PartnerRow) -> Kept<PartnerRow> {
        let version = self.next_version();
        for call in view::put_partner(&row, version) {
            self.effects.view(call);
        }
        self.effects.decide(PARTNER, self.owner(), &row);
        Kept { row, version }
    }

    fn keep_key(&mut self, row: KeyRow) -> Kept<KeyRow> {
        let version = self.next_version();
        for call in view::put_key(&row, version) {
            self.effects.view(call);
        }
        self.effects.decide(PARTNER_KEY, self.owner(), &row);
        Kept { row, version }
    }
}

pub(super) fn fold(partner: &mut Partner, fact: PartnerFact, at: &Moment<'_>, effects: &mut Effects) -> PartnerOutcome {
    let Some(slug) = Slug::of_entity(at.entity) else {
        return PartnerOutcome::NotFound;
    };
    let mut judging = Judging { slug, by: fact.by, at, effects };
    if let PartnerChange::Created { name, user_id, limits } = fact.change {
        return create(partner, name, user_id, limits, &mut judging);
    }
    let Some(state) = partner.as_deref_mut().filter(|state| state.row.is_some()) else {
        return PartnerOutcome::NotFound;
    };
    match fact.change {
        PartnerChange::Created { .. } => PartnerOutcome::Exists,
        PartnerChange::Updated(update) => state.update(update, &mut judging),
        PartnerChange::KeyCreated(key) => state.create_key(key, &mut judging),
        PartnerChange::KeyRotated { prefix, replacement, overlap_s } => {
            state.rotate_key(&prefix, replacement, TimeDelta::seconds(i64::from(overlap_s)), &mut judging)
        }
        PartnerChange::KeyRevoked { prefix } => state.revoke_key(&prefix, &mut judging),
        PartnerChange::Published { client_name, operations } => state.publish(&client_name, operations, &mut judging),
        PartnerChange::OperationRetired { id, body } => state.retire(&id, body, &mut judging),
    }
}

fn create(
    partner: &mut Partner,
    name: String,
    user_id: UserId,
    limits: Limits,
    judging: &mut Judging<'_>,
) -> PartnerOutcome {
    let state = partner.get_or_insert_default();
    if let Some(kept) = &state.row {
        let repeated = kept.row.request_id == judging.at.event_id;
        return if repeated { PartnerOutcome::Done } else { PartnerOutcome::Exists };
    }
    let row = PartnerRow {
        partner_id: judging.slug.id(),
        slug: judging.slug.clone(),
        name,
        user_id,
        limits,
        disabled: false,
        created_at: judging.at.time,
        request_id: judging.at.event_id,
    };
    state.row = Some(judging.keep_partner(row));
    let slug = judging.slug.to_string();
    judging.audit("partner.created", &slug);
    PartnerOutcome::Done
}

impl PartnerState {
    fn update(&mut self, update: PartnerUpdate, judging: &mut Judging<'_>) -> PartnerOutcome {
        let Some(kept) = &mut self.row else {
            return PartnerOutcome::NotFound;
        };
        let mut row = kept.row.clone();
        row.limits = update.limits.applied(&row.limits);
        row.name = update.name.unwrap_or(row.name);
        row.user_id = update.user_id.unwrap_or(row.user_id);
        row.disabled = update.disabled.unwrap_or(row.disabled);
        if row != kept.row {
            let action = match (kept.row.disabled, row.disabled) {
                (false, true) => "partner.disabled",
                (true, false) => "partner.enabled",
                _ => "partner.updated",
            };
            *kept = judging.keep_partner(row);
            let slug = judging.slug.to_string();
            judging.audit(action, &slug);
        }
        PartnerOutcome::Done
    }

    fn create_key(&mut self, key: NewKey, judging: &mut Judging<'_>) -> PartnerOutcome {
        if let Some(known) = self.known_key(&key.prefix, judging) {
            return known;
        }
        let NewKey { prefix, hash, mode, scopes, require_signature, expires_at } = key;
        let row = KeyRow {
            partner_id: judging.slug.id(),
            slug: judging.slug.clone(),
            prefix,
            hash,
            mode,
            scopes,
            require_signature,
            created_at: judging.at.time,
            expires_at,
            revoked_at: None,
            request_id: judging.at.event_id,
        };
        self.add_key(row, "key.created", judging)
    }

    fn rotate_key(
        &mut self,
        prefix: &str,
        replacement: Replacement,
        overlap: TimeDelta,
        judging: &mut Judging<'_>,
    ) -> PartnerOutcome {
        if let Some(known) = self.known_key(&replacement.prefix, judging) {
            return known;
        }
        let now = judging.at.time;
        let Some(old) = self.keys.get(prefix).map(|kept| kept.row.clone()).filter(|row| is_live(row, now)) else {
            return PartnerOutcome::KeyNotFound;
        };
        let row = KeyRow {
            prefix: replacement.prefix,
            hash: replacement.hash,
            created_at: now,
            expires_at: replacement.expires_at,
            request_id: judging.at.event_id,
            ..old.clone()
        };
        let outcome = self.add_key(row, "key.rotated", judging);
        if matches!(outcome, PartnerOutcome::Key { .. }) {
            // It never lasts longer for being rotated.
            let ends = old.expires_at.map_or(now + overlap, |ends| ends.min(now + overlap));
            self.keys.insert(prefix.to_owned(), judging.keep_key(KeyRow { expires_at: Some(ends), ..old }));
        }
        outcome
    }

    fn revoke_key(&mut self, prefix: &str, judging: &mut Judging<'_>) -> PartnerOutcome {
        let Some(kept) = self.keys.get_mut(prefix) else {
            return PartnerOutcome::KeyNotFound;
        };
        if kept.row.revoked_at.is_none() {
            *kept = judging.keep_key(KeyRow { revoked_at: Some(judging.at.time), ..kept.row.clone() });
            judging.audit("key.revoked", prefix);
        }
        PartnerOutcome::Key { prefix: prefix.to_owned() }
    }

    /// The key that the same request made before, if it did.
    fn known_key(&self, prefix: &str, judging: &Judging<'_>) -> Option<PartnerOutcome> {
        let made = self.keys.values().find(|kept| kept.row.request_id == judging.at.event_id);
        let known = made.or_else(|| self.keys.get(prefix))?;
        Some(PartnerOutcome::Key { prefix: known.row.prefix.clone() })
    }

    fn add_key(&mut self, row: KeyRow, action: &str, judging: &mut Judging<'_>) -> PartnerOutcome {
        let live = self.keys.values().filter(|kept| is_live(&kept.row, judging.at.time)).count();
        if live >= KEYS_LIVE_MAX {
            return PartnerOutcome::TooManyKeys;
        }
        let prefix = row.prefix.clone();
        self.keys.insert(prefix.clone(), judging.keep_key(row));
        judging.audit(action, &prefix);
        self.forget_keys();
        PartnerOutcome::Key { prefix }
    }

    /// Forgets the keys that were over first. As fewer are live than are remembered, no live one goes.
    fn forget_keys(&mut self) {
        let end = |row: &KeyRow| row.expires_at.into_iter().chain(row.revoked_at).min();
        while self.keys.len() > KEYS_KNOWN_MAX {
            let order = |row: &KeyRow| (end(row).unwrap_or(DateTime::<Utc>::MAX_UTC), row.created_at);
            let over = self.keys.iter().min_by_key(|(prefix, kept)| (order(&kept.row), (*prefix).clone()));
            let Some(prefix) = over.map(|(prefix, _)| prefix.clone()) else { break };
            self.keys.remove(&prefix);
        }
    }
}

fn is_live(row: &KeyRow, now: DateTime<Utc>) -> bool {
    row.revoked_at.is_none() && row.expires_at.is_none_or(|ends| now < ends)
}

/// Whether a row is newer than what is kept.
fn is_newer<R>(kept: Option<&Kept<R>>, version: Version) -> bool {
    kept.is_none_or(|kept| kept.version < version)
}

pub(super) fn restore_partner(partner: &mut Partner, row: PartnerRow, version: Version, effects: &mut Effects) {
    for call in view::put_partner(&row, version) {
        effects.view(call);
    }
    let state = partner.get_or_insert_default();
    if is_newer(state.row.as_ref(), version) {
        state.row = Some(Kept { row, version });
    }
}

pub(super) fn restore_key(partner: &mut Partner, row: KeyRow, version: Version, effects: &mut Effects) {
    for call in view::put_key(&row, version) {
        effects.view(call);
    }
    let state = partner.get_or_insert_default();
    if is_newer(state.keys.get(&row.prefix), version) {
        state.keys.insert(row.prefix.clone(), Kept { row, version });
        state.forget_keys();
    }
}

pub(super) fn restore_operation(partner: &mut Partner, row: &OperationRow, version: Version, effects: &mut Effects) {
    for call in view::put_operation(row, version) {
        effects.view(call);
    }
    partner.get_or_insert_default().restore_operation(row, version);
}

#[cfg(test)]
mod tests;
