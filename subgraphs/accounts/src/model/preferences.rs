//! Whom a user wants to meet.

use super::{AGE_MIN_YEARS, Parsed};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use velvet_kernel::graph::{Gender, Problems};

/// The youngest age that can be asked for.
pub const PREFERRED_AGE_MIN: i32 = AGE_MIN_YEARS;
/// The oldest age that can be asked for.
pub const PREFERRED_AGE_MAX: i32 = 120;
/// The oldest age that a new account asks for.
const PREFERRED_AGE_MAX_FIRST: i32 = 99;
/// The farthest distance that can be asked for unless the configuration says otherwise, in kilometres.
pub const DISTANCE_KM_MAX: i32 = 50;
/// Every gender there is.
pub const GENDERS: [Gender; 3] = [Gender::Female, Gender::Male, Gender::NonBinary];

/// Whom a user wants to meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// The youngest, in years.
    pub age_min: i32,
    /// The oldest, in years.
    pub age_max: i32,
    /// The farthest, in kilometres.
    pub distance_km_max: i32,
    /// Of these genders.
    pub genders: Vec<Gender>,
    /// Only users that an operator has verified.
    pub verified_only: bool,
}

impl Preferences {
    /// What a new account asks for: nearly everyone.
    pub fn first(distance_km_max: i32) -> Self {
        Self {
            age_min: PREFERRED_AGE_MIN,
            age_max: PREFERRED_AGE_MAX_FIRST,
            distance_km_max,
            genders: GENDERS.to_vec(),
            verified_only: false,
        }
    }
}

/// What of the preferences changes; the rest stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreferencesChange {
    /// The youngest, in years.
    pub age_min: Option<i32>,
    /// The oldest, in years.
    pub age_max: Option<i32>,
    /// The farthest, in kilometres.
    pub distance_km_max: Option<i32>,
    /// Of these genders.
    pub genders: Option<Vec<Gender>>,
    /// Only users that an operator has verified.
    pub verified_only: Option<bool>,
}

impl PreferencesChange {
    /// Notes what is out of bounds by itself, under `prefix`. Whether the ages are in order only the
    /// fold can say, as it knows those that stay; see [`PreferencesChange::applied`].
    pub fn check(&self, prefix: &str, distance_km_max: i32, problems: &mut Problems) {
        let ages = PREFERRED_AGE_MIN..=PREFERRED_AGE_MAX;
        let mut note = |field: &str, wrong: bool, message: Cow<'static, str>| {
            if wrong {
                problems.add(&format!("{prefix}.{field}"), message);
            }
        };
        note("ageMin", self.age_min.is_some_and(|age| !ages.contains(&age)), "must be 18 to 120".into());
        note("ageMax", self.age_max.is_some_and(|age| !ages.contains(&age)), "must be 18 to 120".into());
        let distances = 1..=distance_km_max;
        let far = self.distance_km_max.is_some_and(|distance| !distances.contains(&distance));
        note("distanceKmMax", far, format!("must be 1 to {distance_km_max}").into());
        if let Some(Err(problem)) = self.genders.as_deref().map(genders) {
            note("genders", true, problem);
        }
        if let (Some(from), Some(to)) = (self.age_min, self.age_max) {
            note("ageMax", from > to, "must not be less than ageMin".into());
        }
    }

    /// The preferences after the change; none when the ages would not be in order.
    pub fn applied(self, to: &Preferences) -> Option<Preferences> {
        let after = Preferences {
            age_min: self.age_min.unwrap_or(to.age_min),
            age_max: self.age_max.unwrap_or(to.age_max),
            distance_km_max: self.distance_km_max.unwrap_or(to.distance_km_max),
            genders: self.genders.unwrap_or_else(|| to.genders.clone()),
            verified_only: self.verified_only.unwrap_or(to.verified_only),
        };
        (after.age_min <= after.age_max).then_some(after)
    }
}

/// Genders that are asked for: one to three, each once.
fn genders(genders: &[Gender]) -> Parsed<()> {
    let distinct = genders.iter().enumerate().all(|(index, gender)| !genders[..index].contains(gender));
    if distinct && (1..=GENDERS.len()).contains(&genders.len()) {
        Ok(())
    } else {
        Err("must name one to three genders, each once".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use velvet_kernel::graph::InputInvalid;

    fn problems(change: &PreferencesChange) -> Vec<String> {
        let mut problems = Problems::default();
        change.check("preferences", DISTANCE_KM_MAX, &mut problems);
        InputInvalid::from(problems).fields.into_iter().map(|problem| problem.field).collect()
    }

    fn ages(from: i32, to: i32) -> PreferencesChange {
        PreferencesChange { age_min: Some(from), age_max: Some(to), ..PreferencesChange::default() }
    }

    #[test]
    fn ages_are_18_to_120_and_in_order() {
        assert!(problems(&ages(18, 120)).is_empty());
        assert!(problems(&ages(30, 30)).is_empty());
        assert_eq!(problems(&ages(17, 120)), ["preferences.ageMin"]);
        assert_eq!(problems(&ages(18, 121)), ["preferences.ageMax"]);
        assert_eq!(problems(&ages(31, 30)), ["preferences.ageMax"]);
    }

    #[test]
    fn distances_are_1_to_the_configured_maximum() {
        let distance = |km| PreferencesChange { distance_km_max: Some(km), ..PreferencesChange::default() };
        assert!(problems(&distance(1)).is_empty() && problems(&distance(50)).is_empty());
        assert_eq!(problems(&distance(0)), ["preferences.distanceKmMax"]);
        assert_eq!(problems(&distance(51)), ["preferences.distanceKmMax"]);
    }

    #[test]
    fn genders_are_one_to_three_and_each_once() {
        let of =
            |genders: &[Gender]| PreferencesChange { genders: Some(genders.to_vec()), ..PreferencesChange::default() };
        assert!(problems(&of(&GENDERS)).is_empty() && problems(&of(&[Gender::Male])).is_empty());
        assert_eq!(problems(&of(&[])), ["preferences.genders"]);
        assert_eq!(problems(&of(&[Gender::Male, Gender::Male])), ["preferences.genders"]);
        assert_eq!(problems(&of(&[GENDERS[0], GENDERS[1], GENDERS[2], GENDERS[0]])), ["preferences.genders"]);
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let before = Preferences::first(DISTANCE_KM_MAX);
        assert_eq!(PreferencesChange::default().applied(&before), Some(before.clone()));
        let narrower =
            PreferencesChange { age_max: Some(40), ..PreferencesChange::default() }.applied(&before).unwrap();
        assert_eq!(narrower, Preferences { age_max: 40, ..before });
        let crossed = PreferencesChange { age_min: Some(41), ..PreferencesChange::default() };
        assert_eq!(crossed.applied(&narrower), None);
    }
}
