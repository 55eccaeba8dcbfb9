//! Who may be shown to whom: pure rules over two profiles.

use super::grid::shown_km;
use crate::model::{Preferences, Profile};
use chrono::NaiveDate;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use velvet_kernel::{fault::Fault, graph::Gender};

/// Nobody farther away than this is shown, whatever the preferences say (DC-34).
pub const DISTANCE_KM_MAX: u32 = 50;
/// The ages that a filter may name.
const AGES: std::ops::RangeInclusive<i32> = 18..=120;
/// Hexadecimal digits of a fingerprint: enough that two of one viewer never meet by accident.
const PRINT_LENGTH: usize = 12;

/// What narrows the stored preferences for one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Youngest age.
    pub age_min: Option<i32>,
    /// Oldest age.
    pub age_max: Option<i32>,
    /// Farthest distance in kilometres.
    pub distance_km_max: Option<i32>,
    /// Genders.
    pub genders: Option<Vec<Gender>>,
    /// Only people whose identity was verified.
    pub verified_only: Option<bool>,
}

impl Filter {
    /// Refuses bounds that no stored preference could have.
    pub fn check(&self) -> Result<(), Fault> {
        let ages = [self.age_min, self.age_max];
        if ages.into_iter().flatten().any(|age| !AGES.contains(&age)) {
            return Err(Fault::invalid("ages are 18 to 120"));
        }
        if let [Some(min), Some(max)] = ages
            && min > max
        {
            return Err(Fault::invalid("ageMin must not be above ageMax"));
        }
        if self.distance_km_max.is_some_and(|km| km < 1) {
            return Err(Fault::invalid("distanceKmMax is at least 1"));
        }
        if self.genders.as_ref().is_some_and(Vec::is_empty) {
            return Err(Fault::invalid("genders names at least one gender, or is left out"));
        }
        Ok(())
    }

    /// The preferences of one call: the stored ones, narrowed. Nothing when nobody can be left.
    pub fn narrow(&self, stored: &Preferences) -> Option<Preferences> {
        let years = |age: i32| u32::try_from(age).unwrap_or(0);
        let mut narrowed = stored.clone();
        narrowed.age_min = stored.age_min.max(self.age_min.map_or(0, years));
        narrowed.age_max = stored.age_max.min(self.age_max.map_or(u32::MAX, years));
        narrowed.distance_km_max = stored.distance_km_max.min(self.distance_km_max.map_or(u32::MAX, years));
        narrowed.genders = stored.sought_genders();
        if let Some(genders) = &self.genders {
            narrowed.genders.retain(|gender| genders.contains(gender));
        }
        narrowed.verified_only |= self.verified_only == Some(true);
        let somebody = narrowed.age_min <= narrowed.age_max && !narrowed.genders.is_empty();
        somebody.then_some(narrowed)
    }
}

/// Who looks, and for whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Seeker {
    /// The viewer, with the preferences of this call.
    pub profile: Profile,
    /// The day that ages are counted on.
    pub today: NaiveDate,
}

impl Seeker {
    /// How far the seeker looks, in kilometres.
    pub fn reach_km(&self) -> u32 {
        self.profile.preferences.distance_km_max.clamp(1, DISTANCE_KM_MAX)
    }

    /// The distance to somebody who may be shown; nothing when either does not want the other.
    pub fn meets(&self, other: &Profile) -> Option<u32> {
        let distance_km = shown_km(self.profile.cell?, other.cell?);
        let sought = other.side == self.profile.side.sought()
            && distance_km <= self.reach_km()
            && accepts(&self.profile.preferences, other, distance_km, self.today)
            && accepts(&other.preferences, &self.profile, distance_km, self.today);
        sought.then_some(distance_km)
    }

    /// Names what the seeker's cards depend on. Cards of another print are stale.
    pub fn print(&self) -> String {
        let mut profile = self.profile.clone();
        profile.last_active_at = chrono::DateTime::UNIX_EPOCH;
        let text = serde_json::to_vec(&profile).unwrap_or_default();
        let mut print = String::with_capacity(PRINT_LENGTH);
        for byte in &Sha256::digest(text)[..PRINT_LENGTH / 2] {
            // Writing to a string cannot fail.
            let _ = write!(print, "{byte:02x}");
        }
        print
    }
}

/// Whether somebody is what these preferences ask for.
fn accepts(preferences: &Preferences, other: &Profile, distance_km: u32, today: NaiveDate) -> bool {
    (preferences.age_min..=preferences.age_max).contains(&other.age_on(today))
        && distance_km <= preferences.distance_km_max.max(1)
        && preferences.accepts_gender(other.gender)
        && (other.verified || !preferences.verified_only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Point, Side};
    use chrono::DateTime;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn person(side: Side, gender: Gender, born: &str) -> Profile {
        Profile {
            side,
            gender,
            birth_date: day(born),
            preferences: Preferences {
                age_min: 18,
                age_max: 99,
                distance_km_max: 50,
                genders: vec![],
                verified_only: false,
            },
            verified: false,
            cell: Some(Point { latitude: 52.525, longitude: 13.375 }),
            last_active_at: DateTime::UNIX_EPOCH,
        }
    }

    fn alice() -> Seeker {
        Seeker { profile: person(Side::Creator, Gender::Female, "1996-03-01"), today: day("2026-03-01") }
    }

    fn bob() -> Profile {
        person(Side::Patron, Gender::Male, "1986-03-02")
    }

    #[test]
    fn neighbours_of_opposite_sides_meet() {
        assert_eq!(alice().meets(&bob()), Some(1));
        assert_eq!(alice().meets(&Profile { side: Side::Creator, ..bob() }), None);
    }

    #[test]
    fn ages_count_both_ways_and_by_the_day() {
        let (mut alice, mut bob) = (alice(), bob());
        assert_eq!((alice.profile.age_on(alice.today), bob.age_on(alice.today)), (30, 39));
        alice.profile.preferences.age_max = 39;
        bob.preferences.age_min = 30;
        assert_eq!(alice.meets(&bob), Some(1));
        let tomorrow = Seeker { today: day("2026-03-02"), ..alice.clone() };
        assert_eq!(tomorrow.meets(&bob), None, "bob is 40 tomorrow");
        bob.preferences.age_min = 31;
        assert_eq!(alice.meets(&bob), None, "alice is too young for bob");
    }

    #[test]
    fn a_leap_day_is_followed_by_the_first_of_march() {
        let leapling = person(Side::Patron, Gender::Male, "2004-02-29");
        assert_eq!(leapling.age_on(day("2026-02-28")), 21);
        assert_eq!(leapling.age_on(day("2026-03-01")), 22);
    }

    #[test]
    fn genders_and_verification_count_both_ways() {
        let (mut alice, mut bob) = (alice(), bob());
        bob.preferences.genders = vec![Gender::Male];
        assert_eq!(alice.meets(&bob), None);
        bob.preferences.genders = vec![Gender::Female];
        alice.profile.preferences.genders = vec![Gender::NonBinary, Gender::Male];
        assert_eq!(alice.meets(&bob), Some(1));
        bob.preferences.verified_only = true;
        assert_eq!(alice.meets(&bob), None);
        alice.profile.verified = true;
        assert_eq!(alice.meets(&bob), Some(1));
        alice.profile.preferences.verified_only = true;
        assert_eq!(alice.meets(&bob), None);
    }

    #[test]
    fn distance_counts_both_ways_over_the_antimeridian_and_ends_at_50_km() {
        let place = |longitude: f64| Some(Point { latitude: -16.525, longitude });
        let (mut alice, mut bob) = (alice(), bob());
        alice.profile.cell = place(179.975);
        bob.cell = place(-179.975);
        assert_eq!(alice.meets(&bob), Some(6));
        bob.preferences.distance_km_max = 5;
        assert_eq!(alice.meets(&bob), None);
        bob.preferences.distance_km_max = 500;
        alice.profile.preferences.distance_km_max = 500;
        bob.cell = place(-179.425);
        assert_eq!(alice.meets(&bob), None, "64 km");
    }

    #[test]
    fn nobody_without_a_place_is_shown() {
        assert_eq!(alice().meets(&Profile { cell: None, ..bob() }), None);
    }

    #[test]
    fn a_filter_narrows_and_never_widens() {
        let stored = Preferences {
            age_min: 25,
            age_max: 40,
            distance_km_max: 20,
            genders: vec![Gender::Male],
            verified_only: true,
        };
        let wide = Filter {
            age_min: Some(18),
            age_max: Some(99),
            distance_km_max: Some(50),
            genders: Some(vec![Gender::Male, Gender::Female]),
            verified_only: Some(false),
        };
        assert_eq!(wide.narrow(&stored), Some(stored.clone()));
        let narrow = Filter { age_min: Some(30), distance_km_max: Some(5), ..Filter::default() };
        assert_eq!(narrow.narrow(&stored), Some(Preferences { age_min: 30, distance_km_max: 5, ..stored.clone() }));
        let nobody = Filter { genders: Some(vec![Gender::Female]), ..Filter::default() };
        assert_eq!(nobody.narrow(&stored), None);
        assert_eq!(Filter { age_min: Some(41), ..Filter::default() }.narrow(&stored), None);
    }

    #[test]
    fn a_filter_out_of_bounds_is_refused() {
        let age = |min, max| Filter { age_min: min, age_max: max, ..Filter::default() };
        assert!(age(Some(18), Some(120)).check().is_ok());
        assert!(age(Some(17), None).check().is_err());
        assert!(age(None, Some(121)).check().is_err());
        assert!(age(Some(31), Some(30)).check().is_err());
        assert!(Filter { distance_km_max: Some(0), ..Filter::default() }.check().is_err());
        assert!(Filter { genders: Some(vec![]), ..Filter::default() }.check().is_err());
    }

    #[test]
    fn a_print_changes_with_what_cards_depend_on_and_with_nothing_else() {
        let mut active = alice();
        active.profile.last_active_at = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        assert_eq!(active.print(), alice().print());
        let mut moved = alice();
        moved.profile.cell = Some(Point { latitude: 48.125, longitude: 11.575 });
        assert_ne!(moved.print(), alice().print());
        assert_eq!(alice().print().len(), PRINT_LENGTH);
    }
}
