//! Accounts and their addresses.

use super::{Found, text};
use crate::evidence::Evidence;
use std::collections::{BTreeMap, BTreeSet};

/// An address has one account, in PostgreSQL and in what clients were told.
pub fn one_for_each_address(evidence: &Evidence) -> Vec<Found> {
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for row in evidence.rows.of("users") {
        owners.entry(text(&row["email"]).to_owned()).or_default().insert(text(&row["user_id"]).to_owned());
        *rows.entry(text(&row["email"])).or_default() += 1;
    }
    for fate in evidence.fates().iter().filter(|fate| fate.request.operation == "register") {
        if let Some(session) = fate.told("Session") {
            let user = text(&session["account"]["user"]["id"]).to_owned();
            owners.entry(fate.input("email").to_owned()).or_default().insert(user);
        }
    }
    let twice = owners.into_iter().filter(|(_, users)| users.len() > 1);
    let mut found: Vec<Found> =
        twice.map(|(email, users)| (format!("{email} has {} accounts: {users:?}", users.len()), vec![email])).collect();
    let stored_twice = rows.into_iter().filter(|(_, rows)| *rows > 1);
    found.extend(stored_twice.map(|(email, rows)| (format!("{email} has {rows} rows"), vec![email.to_owned()])));
    found
}
