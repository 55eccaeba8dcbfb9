//! What a user says of themselves.

use super::Parsed;
use chrono::{Datelike as _, NaiveDate};

/// The youngest that an account's owner may be, in years.
pub const AGE_MIN_YEARS: i32 = 18;
/// Nobody is older than this, in years; a birth date before is a slip.
pub const AGE_MAX_YEARS: i32 = 120;
/// The longest display name, in characters.
pub const DISPLAY_NAME_LENGTH_MAX: usize = 50;
/// The longest bio, in characters.
pub const BIO_LENGTH_MAX: usize = 500;
/// The longest address of an avatar, in bytes.
pub const AVATAR_URL_SIZE_MAX_BYTES: usize = 2048;

/// A display name: trimmed, 1 to 50 characters, none of them a control character.
pub fn display_name(text: &str) -> Parsed<String> {
    let name = text.trim();
    if !(1..=DISPLAY_NAME_LENGTH_MAX).contains(&name.chars().count()) {
        return Err("must have 1 to 50 characters, not counting spaces around it".into());
    }
    if name.chars().any(char::is_control) {
        return Err("must not have control characters".into());
    }
    Ok(name.to_owned())
}

/// A bio: at most 500 characters; of control characters only line breaks and tabs.
pub fn bio(text: &str) -> Parsed<String> {
    if text.chars().count() > BIO_LENGTH_MAX {
        return Err("must have at most 500 characters".into());
    }
    if text.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\r' | '\t')) {
        return Err("must not have control characters other than line breaks and tabs".into());
    }
    Ok(text.to_owned())
}

/// An avatar's address: https, with a host, at most 2048 bytes.
pub fn avatar_url(text: &str) -> Parsed<String> {
    if text.len() > AVATAR_URL_SIZE_MAX_BYTES {
        return Err("must have at most 2048 bytes".into());
    }
    let odd = |char: char| char.is_whitespace() || char.is_control() || matches!(char, '"' | '<' | '>' | '\\' | '`');
    let host = text
        .get(..8)
        .filter(|scheme| scheme.eq_ignore_ascii_case("https://"))
        .and_then(|_| text[8..].split(['/', '?', '#']).next());
    // An address with credentials before the host is a trick more often than a picture.
    let sound = host.is_some_and(|host| !host.is_empty() && !host.starts_with(':') && !host.contains('@'));
    if !sound || text.chars().any(odd) {
        return Err("must be an https address".into());
    }
    Ok(text.to_owned())
}

/// A birth date: at least 18 and at most 120 years before today.
pub fn birth_date(date: NaiveDate, today: NaiveDate) -> Parsed<NaiveDate> {
    match age_on(date, today) {
        age if age < AGE_MIN_YEARS => Err("must be at least 18 years ago".into()),
        age if age > AGE_MAX_YEARS => Err("must be at most 120 years ago".into()),
        _ => Ok(date),
    }
}

/// How old somebody is on a day, in whole years; negative before the birth. Who was born on
/// 29 February grows older on 1 March in other years.
pub fn age_on(birth: NaiveDate, day: NaiveDate) -> i32 {
    let had_birthday = (day.month(), day.day()) >= (birth.month(), birth.day());
    day.year() - birth.year() - i32::from(!had_birthday)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn a_display_name_has_1_to_50_characters() {
        assert!(display_name("").is_err() && display_name(" \u{2003} ").is_err());
        assert_eq!(display_name("  Zoë ").unwrap(), "Zoë");
        assert!(display_name(&"ß".repeat(50)).is_ok());
        assert!(display_name(&"ß".repeat(51)).is_err());
        assert!(display_name("a\u{7}b").is_err() && display_name("a\nb").is_err());
    }

    #[test]
    fn a_bio_has_at_most_500_characters() {
        assert!(bio("").is_ok() && bio("one\ntwo\tthree").is_ok());
        assert!(bio(&"ü".repeat(500)).is_ok());
        assert!(bio(&"ü".repeat(501)).is_err());
        assert!(bio("a\0b").is_err());
    }

    #[test]
    fn an_avatar_is_at_an_https_address() {
        let long = |length: usize| format!("https://a.example/{}", "p".repeat(length - 18));
        assert!(avatar_url("https://cdn.example/a.png?size=2#x").is_ok() && avatar_url("HTTPS://cdn.example").is_ok());
        assert!(avatar_url(&long(2048)).is_ok());
        assert!(avatar_url(&long(2049)).is_err());
        for text in [
            "",
            "http://a.example/",
            "https://",
            "https:///a",
            "javascript:alert(1)",
            "https://a b/",
            "https://u@h/",
            "https:/é",
        ] {
            assert!(avatar_url(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn who_turns_18_today_may_register() {
        let today = day("2026-07-27");
        assert!(birth_date(day("2008-07-27"), today).is_ok());
        assert!(birth_date(day("2008-07-28"), today).is_err());
        assert!(birth_date(day("2027-01-01"), today).is_err());
    }

    #[test]
    fn nobody_is_121() {
        let today = day("2026-07-27");
        assert!(birth_date(day("1905-07-28"), today).is_ok());
        assert!(birth_date(day("1905-07-27"), today).is_err());
    }

    #[test]
    fn a_leap_day_counts_on_the_first_of_march() {
        let born = day("2008-02-29");
        assert_eq!(age_on(born, day("2026-02-28")), 17);
        assert_eq!(age_on(born, day("2026-03-01")), 18);
        assert_eq!(age_on(born, day("2028-02-29")), 20);
    }
}
