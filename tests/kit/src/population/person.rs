//! One made-up person, the same for the same seed, number and day.

use chrono::{Datelike, NaiveDate};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::born;
use super::cities::Cities;
use super::names::{FEMALE, LIKES, LOOKS_FOR, MALE, NEUTRAL};

/// Of everybody in the demo; it opens nothing but a loopback address.
pub const PASSWORD: &str = "correct-horse-battery";

/// A line of the import file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Person {
    pub email: String,
    pub password: &'static str,
    pub display_name: String,
    pub bio: String,
    pub birth_date: String,
    pub gender: &'static str,
    pub side: &'static str,
    pub latitude: f64,
    pub longitude: f64,
    pub preferences: Preferences,
    pub last_active_seconds_ago: u64,
    pub verified: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preferences {
    pub age_min: u32,
    pub age_max: u32,
    pub distance_km_max: u32,
    pub genders: Vec<&'static str>,
    pub verified_only: bool,
}

const GENDERS: [&str; 3] = ["FEMALE", "MALE", "NON_BINARY"];
const SIDES: [&str; 2] = ["PATRON", "CREATOR"];
const YOUNGEST: u32 = 18;
const OLDEST: u32 = 79;
/// The centre of Berlin, where the two with a sign-in live.
const BERLIN: (f64, f64) = (52.524_37, 13.410_53);
/// Among the first thousands one in four lives around Berlin, so that the two never run out of people.
const BERLIN_AMONG: u64 = 4_000;
/// How far from the centre people live, one standard deviation.
const SPREAD_KM: f64 = 8.0;
const KM_PER_DEGREE: f64 = 111.2;
const HOUR: f64 = 3_600.0;

pub fn person(cities: &Cities, seed: u64, index: u64, today: NaiveDate) -> Person {
    // An odd factor spreads neighbouring numbers over all seeds.
    let mut rng = StdRng::seed_from_u64(seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let gender = match rng.random_range(0..100) {
        0..48 => "FEMALE",
        48..95 => "MALE",
        _ => "NON_BINARY",
    };
    let age = age(&mut rng);
    let name = first_name(&mut rng, gender);
    let (latitude, longitude) = home(&mut rng, cities, index);
    Person {
        email: format!("person-{index}@demo.velvet.test"),
        password: PASSWORD,
        display_name: name.to_owned(),
        bio: bio(&mut rng),
        birth_date: iso(born(today, age, rng.random_range(0..365))),
        gender,
        side: pick(&mut rng, &SIDES),
        latitude,
        longitude,
        preferences: preferences(&mut rng, gender, age),
        last_active_seconds_ago: last_active(&mut rng),
        verified: rng.random_bool(0.3),
    }
}

/// Somebody to sign in as.
#[derive(Debug, Clone, Copy)]
pub struct Demo {
    pub name: &'static str,
    pub email: &'static str,
}

pub const ALICE: Demo = Demo { name: "Alice", email: "alice@demo.velvet.test" };
pub const BOB: Demo = Demo { name: "Bob", email: "bob@demo.velvet.test" };

/// Alice and Bob, near each other and each within the other's preferences.
pub fn demo_people(today: NaiveDate) -> [Person; 2] {
    let one = |demo: Demo, gender, side, wants: [&'static str; 2], years, offset: f64| Person {
        email: demo.email.to_owned(),
        password: PASSWORD,
        display_name: demo.name.to_owned(),
        bio: format!("{} of the demo. Sign in as me.", demo.name),
        birth_date: iso(born(today, years, 100)),
        gender,
        side,
        latitude: BERLIN.0 + offset,
        longitude: BERLIN.1 + offset,
        preferences: Preferences {
            age_min: YOUNGEST,
            age_max: 60,
            distance_km_max: 50,
            genders: wants.to_vec(),
            verified_only: false,
        },
        last_active_seconds_ago: 0,
        verified: true,
    };
    [
        one(ALICE, "FEMALE", "CREATOR", ["MALE", "NON_BINARY"], 29, 0.0),
        one(BOB, "MALE", "PATRON", ["FEMALE", "NON_BINARY"], 34, 0.01),
    ]
}

/// Most are in their twenties and thirties, some much older.
fn age(rng: &mut StdRng) -> u32 {
    let young = YOUNGEST + rng.random_range(0..12) + rng.random_range(0..12);
    match rng.random_range(0..10) {
        0..8 => young,
        _ => rng.random_range(young..OLDEST),
    }
}

fn first_name(rng: &mut StdRng, gender: &str) -> &'static str {
    match gender {
        "FEMALE" => pick(rng, &FEMALE),
        "MALE" => pick(rng, &MALE),
        _ => pick(rng, &NEUTRAL),
    }
}

fn bio(rng: &mut StdRng) -> String {
    let likes: Vec<&str> = LIKES.choose_multiple(rng, 2).copied().collect();
    format!("{} and {}. {}", capitalised(likes[0]), likes[1], pick(rng, &LOOKS_FOR))
}

fn preferences(rng: &mut StdRng, gender: &'static str, age: u32) -> Preferences {
    let other = if gender == "FEMALE" { "MALE" } else { "FEMALE" };
    let genders = match rng.random_range(0..10) {
        _ if gender == "NON_BINARY" => GENDERS.to_vec(),
        0..7 => vec![other],
        7 => vec![gender],
        _ => GENDERS.to_vec(),
    };
    Preferences {
        age_min: age.saturating_sub(rng.random_range(4..15)).max(YOUNGEST),
        age_max: age + rng.random_range(4..20),
        distance_km_max: pick(rng, &[10, 20, 30, 40, 50]),
        genders,
        verified_only: rng.random_bool(0.05),
    }
}

/// From minutes to two months, most within a few days: the square of an exponential variable of mean 4 hours' root.
fn last_active(rng: &mut StdRng) -> u64 {
    let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
    let hours = (4.0 * uniform.ln().powi(2)).min(24.0 * 60.0);
    whole(hours * HOUR)
}

fn home(rng: &mut StdRng, cities: &Cities, index: u64) -> (f64, f64) {
    let (latitude, longitude) = if index < BERLIN_AMONG && index.is_multiple_of(4) {
        BERLIN
    } else {
        let city = cities.home(rng.random_range(0..cities.total().max(1)));
        (city.latitude, city.longitude)
    };
    let (north_km, east_km) = (SPREAD_KM * normal(rng), SPREAD_KM * normal(rng));
    let degree_east_km = KM_PER_DEGREE * latitude.to_radians().cos();
    (rounded(latitude + north_km / KM_PER_DEGREE), rounded(longitude + east_km / degree_east_km))
}

/// A sum of twelve uniform variables less its mean: normal enough, and never beyond six deviations.
fn normal(rng: &mut StdRng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

/// Five digits are a metre.
fn rounded(degrees: f64) -> f64 {
    (degrees * 1e5).round() / 1e5
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative and far below 2^53")]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn iso(date: NaiveDate) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn people_are_the_same_each_time_and_plausible() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/data/cities.csv");
        let cities = Cities::read(&path).expect("the list of cities");
        let today = NaiveDate::from_ymd_opt(2026, 3, 1).expect("a day");
        let adult = NaiveDate::from_ymd_opt(2008, 3, 1).expect("a day").to_string();
        let mut near_berlin = 0;
        for index in 0..2_000 {
            let one = person(&cities, 1, index, today);
            assert_eq!(one, person(&cities, 1, index, today));
            assert!(one.birth_date <= adult, "{one:?}");
            assert!(one.preferences.age_min >= 18 && one.preferences.age_min <= one.preferences.age_max, "{one:?}");
            assert!(one.latitude.abs() <= 90.0 && one.longitude.abs() <= 180.0, "{one:?}");
            near_berlin += u32::from((one.latitude - BERLIN.0).hypot(one.longitude - BERLIN.1) < 1.0);
        }
        assert!(near_berlin >= 500, "{near_berlin} people around the two with a sign-in");
    }
}
