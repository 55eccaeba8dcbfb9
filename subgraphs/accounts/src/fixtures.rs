//! What tests are made of.

use crate::{
    command::{Decision, RegisterCommand, decide},
    model::{DISTANCE_KM_MAX, Email, Preferences, Side, VerificationStatus},
    row::UserRow,
};
use velvet_kernel::{graph::Gender, id::UserId, time::fresh_id};

/// A registration under an address, with ids of its own.
pub(crate) fn register(email: &str) -> RegisterCommand {
    let email = Email::parse(email).unwrap();
    RegisterCommand {
        command_id: fresh_id(),
        user_id: UserId(fresh_id()),
        email: email.as_written().to_owned(),
        email_normalized: email.normalized().to_owned(),
        password_hash: "$argon2id$hash".to_owned(),
        display_name: "Alice".to_owned(),
        bio: String::new(),
        birth_date: "1990-05-01".parse().unwrap(),
        gender: Gender::Female,
        side: Side::Creator,
        preferences: Preferences::first(DISTANCE_KM_MAX),
        cell: None,
        last_active_at: None,
        verification_status: VerificationStatus::Unverified,
        created_at: "2026-07-27T12:00:00Z".parse().unwrap(),
    }
}

/// An account.
pub(crate) fn user(email: &str) -> Box<UserRow> {
    match decide(None, register(email)) {
        Decision::Registered(user) => user,
        Decision::Refused => unreachable!("the address is free"),
    }
}

/// Numbers that look like chance and follow from the first.
pub(crate) fn numbers(mut last: u64) -> impl FnMut() -> u64 {
    move || {
        last = last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        last >> 33
    }
}
