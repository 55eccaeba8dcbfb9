//! What clients send, and how it becomes values: all problems of an input at once.

use crate::{
    event::ProfileChange,
    model::{self, Cell, Email, Password, PreferencesChange, Side},
    service::Registration,
};
use async_graphql::InputObject;
use chrono::NaiveDate;
use velvet_kernel::graph::{Date, Gender, InputInvalid, Problems};

/// Asks for an account. A repeat with the same idempotencyKey and the same password gets a session of
/// the account that the first one made.
#[derive(InputObject)]
pub(super) struct RegisterInput {
    /// The address to sign in by, unique whatever its case: at most 254 bytes, at most 64 before the @.
    email: String,
    /// 10 to 128 characters, and not one that anyone would try first.
    password: String,
    /// What others call the user: 1 to 50 characters.
    display_name: String,
    /// At least 18 and at most 120 years ago.
    birth_date: Date,
    /// The user's gender.
    gender: Gender,
    /// Which side of the platform the user is on, for good.
    side: Side,
    /// Names the request, so that a repeat is the same one: 1 to 128 characters.
    idempotency_key: Option<String>,
}

impl RegisterInput {
    pub fn parse(self, today: NaiveDate) -> Result<Registration, InputInvalid> {
        let mut problems = Problems::default();
        let email = problems.check("email", Email::parse(&self.email));
        let password = problems.check("password", Password::choose(&self.password));
        let display_name = problems.check("displayName", model::display_name(&self.display_name));
        let birth_date = problems.check("birthDate", model::birth_date(self.birth_date.0, today));
        if let Some(key) = &self.idempotency_key {
            problems.check("idempotencyKey", model::idempotency_key(key));
        }
        match (email, password, display_name, birth_date) {
            (Some(email), Some(password), Some(display_name), Some(birth_date)) if problems.is_empty() => {
                let Self { gender, side, idempotency_key, .. } = self;
                Ok(Registration { email, password, display_name, birth_date, gender, side, idempotency_key })
            }
            _ => Err(problems.into()),
        }
    }
}

/// What proves who somebody is.
#[derive(InputObject)]
pub(super) struct LoginInput {
    /// The account's address, in any case.
    pub email: String,
    /// The account's password.
    pub password: String,
}

/// Continues a session.
#[derive(InputObject)]
pub(super) struct RefreshSessionInput {
    /// The newest refresh token of the session.
    pub refresh_token: String,
}

/// Ends a session.
#[derive(InputObject)]
pub(super) struct LogoutInput {
    /// A refresh token of the session.
    pub refresh_token: String,
}

/// What of the profile changes; what is absent or null stays.
#[derive(InputObject)]
pub(super) struct UpdateProfileInput {
    /// What others call the user: 1 to 50 characters.
    display_name: Option<String>,
    /// What the user says of themselves: at most 500 characters.
    bio: Option<String>,
    /// Where a picture of the user is: an https address of at most 2048 bytes.
    avatar_url: Option<String>,
    /// Whom the user wants to meet.
    preferences: Option<PreferencesInput>,
}

/// What of the preferences changes; what is absent or null stays.
#[derive(InputObject)]
pub(super) struct PreferencesInput {
    /// The youngest, in years: 18 to 120.
    age_min: Option<i32>,
    /// The oldest, in years: `ageMin` to 120.
    age_max: Option<i32>,
    /// The farthest, in kilometres: 1 to the largest that the platform allows.
    distance_km_max: Option<i32>,
    /// Of these genders: one to three, each once.
    genders: Option<Vec<Gender>>,
    /// Only users that an operator has verified.
    verified_only: Option<bool>,
}

impl UpdateProfileInput {
    pub fn parse(self, distance_km_max: i32) -> Result<ProfileChange, InputInvalid> {
        let mut problems = Problems::default();
        let mut check =
            |field, parsed: Option<model::Parsed<String>>| parsed.and_then(|parsed| problems.check(field, parsed));
        let mut change = ProfileChange {
            display_name: check("displayName", self.display_name.as_deref().map(model::display_name)),
            bio: check("bio", self.bio.as_deref().map(model::bio)),
            avatar_url: check("avatarUrl", self.avatar_url.as_deref().map(model::avatar_url)),
            preferences: None,
        };
        if let Some(preferences) = self.preferences {
            let PreferencesInput { age_min, age_max, distance_km_max: farthest, genders, verified_only } = preferences;
            let preferences = PreferencesChange { age_min, age_max, distance_km_max: farthest, genders, verified_only };
            preferences.check("preferences", distance_km_max, &mut problems);
            change.preferences = Some(preferences);
        }
        if problems.is_empty() { Ok(change) } else { Err(problems.into()) }
    }
}

/// Where the viewer is. Snapped to a coarse cell before it is stored anywhere; the exact point is
/// never kept.
#[derive(InputObject)]
pub(super) struct SetLocationInput {
    /// Degrees north: -90 to 90.
    latitude: f64,
    /// Degrees east: -180 to 180.
    longitude: f64,
}

impl SetLocationInput {
    pub fn parse(&self) -> Result<Cell, InputInvalid> {
        let mut problems = Problems::default();
        let latitude = problems.check("latitude", model::latitude(self.latitude));
        let longitude = problems.check("longitude", model::longitude(self.longitude));
        match (latitude, longitude) {
            (Some(latitude), Some(longitude)) => Ok(Cell::snap(latitude, longitude)),
            _ => Err(problems.into()),
        }
    }
}
