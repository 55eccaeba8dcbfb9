//! The viewer's own account.

use super::user::User;
use crate::{model, model::VerificationStatus, view::AccountView};
use async_graphql::SimpleObject;
use chrono::{DateTime, NaiveDate, Utc};
use velvet_kernel::graph::{Date, Gender};

/// The viewer's own account, with what others never see.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct Account {
    /// What others see.
    pub user: User,
    /// The address that the account is signed in by, as its owner wrote it.
    pub email: String,
    /// The birth date; others see the age alone.
    pub birth_date: Date,
    /// What an operator has found out about who the user is.
    pub verification_status: VerificationStatus,
    /// Whom the user wants to meet.
    pub preferences: Preferences,
    /// When the account was made.
    pub created_at: DateTime<Utc>,
}

/// Whom a user wants to meet.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(super) struct Preferences {
    /// The youngest, in years: 18 to 120.
    pub age_min: i32,
    /// The oldest, in years: `ageMin` to 120.
    pub age_max: i32,
    /// The farthest, in kilometres.
    pub distance_km_max: i32,
    /// Of these genders: one to three.
    pub genders: Vec<Gender>,
    /// Only users that an operator has verified.
    pub verified_only: bool,
}

impl Account {
    /// The account as its owner sees it today.
    pub fn of(account: AccountView, today: NaiveDate) -> Self {
        Self {
            user: User::of(&account, today),
            email: account.email,
            birth_date: Date(account.birth_date),
            verification_status: account.verification_status,
            preferences: account.preferences.into(),
            created_at: account.created_at,
        }
    }
}

impl From<model::Preferences> for Preferences {
    fn from(preferences: model::Preferences) -> Self {
        let model::Preferences { age_min, age_max, distance_km_max, genders, verified_only } = preferences;
        Self { age_min, age_max, distance_km_max, genders, verified_only }
    }
}
