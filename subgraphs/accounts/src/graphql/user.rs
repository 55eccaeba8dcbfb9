//! What a user shows to others.

use crate::{
    model::{Side, VerificationStatus, age_on},
    view::AccountView,
};
use async_graphql::{ID, SimpleObject};
use chrono::NaiveDate;
use velvet_kernel::{
    graph::{Gender, annotations::cache_control},
    id::UserId,
};

/// Who reads profiles again and again may keep one for this long, in seconds: a change, or a block, shows that much later
/// to a caller that does.
const PROFILE_HOLDS_S: i32 = 30;

/// A user, as others see them. One who is hidden from the viewer has an empty display name and shows
/// nothing else.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
#[graphql(directive = cache_control::apply(Some(PROFILE_HOLDS_S), Some("PRIVATE".to_owned()), None))]
pub(super) struct User {
    /// The user's id.
    pub id: ID,
    /// Which side of the platform the user is on.
    pub side: Side,
    /// What others call the user: 1 to 50 characters.
    pub display_name: String,
    /// What the user says of themselves: at most 500 characters.
    pub bio: String,
    /// Where a picture of the user is.
    pub avatar_url: Option<String>,
    /// The age, in whole years.
    pub age: i32,
    /// The user's gender.
    pub gender: Gender,
    /// Whether an operator has found the user to be who they say they are.
    pub verified: bool,
}

impl User {
    /// What others see of an account.
    pub fn of(account: &AccountView, today: NaiveDate) -> Self {
        Self {
            id: account.user_id.global(),
            side: account.side,
            display_name: account.display_name.clone(),
            bio: account.bio.clone(),
            avatar_url: account.avatar_url.clone(),
            age: age_on(account.birth_date, today),
            gender: account.gender,
            verified: account.verification_status == VerificationStatus::Verified,
        }
    }

    /// What stands for a user whom the viewer does not see: nothing of it is theirs but the id.
    pub fn tombstone(id: UserId) -> Self {
        Self {
            id: id.global(),
            side: Side::Patron,
            display_name: String::new(),
            bio: String::new(),
            avatar_url: None,
            age: 0,
            gender: Gender::NonBinary,
            verified: false,
        }
    }
}
