//! Passwords as people give them. What is stored is in [`crate::hasher`].

use super::Parsed;

/// The shortest password, in characters.
pub const PASSWORD_LENGTH_MIN: usize = 10;
/// The longest password, in characters: it bounds what one attempt costs.
pub const PASSWORD_LENGTH_MAX: usize = 128;

/// Passwords of ten characters and more that head the lists of leaked ones; anyone tries these first.
const COMMON: [&str; 32] = [
    "1234567890",
    "0123456789",
    "0987654321",
    "12345678910",
    "123456789a",
    "1q2w3e4r5t",
    "1qaz2wsx3edc",
    "a123456789",
    "abcdefghij",
    "abcd123456",
    "administrator",
    "basketball",
    "changeme123",
    "football123",
    "iloveyou12",
    "iloveyou123",
    "letmein123",
    "monkey1234",
    "password01",
    "password12",
    "password123",
    "password1234",
    "passwordpassword",
    "princess123",
    "q1w2e3r4t5",
    "qwerty1234",
    "qwerty12345",
    "qwertyuiop",
    "sunshine123",
    "superman123",
    "welcome123",
    "zaq12wsxcde3",
];

/// A password within its bounds. It never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// A password that is good enough to be chosen.
    pub fn choose(text: &str) -> Parsed<Self> {
        let length = text.chars().count();
        if !(PASSWORD_LENGTH_MIN..=PASSWORD_LENGTH_MAX).contains(&length) {
            return Err("must have 10 to 128 characters".into());
        }
        let first = text.chars().next();
        if COMMON.contains(&text.to_lowercase().as_str()) || text.chars().all(|char| Some(char) == first) {
            return Err("is among the first that anyone would try".into());
        }
        Ok(Self(text.to_owned()))
    }

    /// A password that is tried. One that could never have been chosen is none.
    pub fn attempt(text: &str) -> Option<Self> {
        let within = text.len() <= PASSWORD_LENGTH_MAX * 4 && text.chars().count() <= PASSWORD_LENGTH_MAX;
        within.then(|| Self(text.to_owned()))
    }

    /// What is hashed.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_10_to_128_characters() {
        let password = |length: usize| "añb".chars().cycle().take(length).collect::<String>();
        assert!(Password::choose(&password(9)).is_err());
        assert!(Password::choose(&password(10)).is_ok());
        assert!(Password::choose(&password(128)).is_ok());
        assert!(Password::choose(&password(129)).is_err());
    }

    #[test]
    fn what_everyone_tries_first_cannot_be_chosen() {
        assert!(Password::choose("Password123").is_err());
        assert!(Password::choose("aaaaaaaaaaaa").is_err());
        assert!(COMMON.iter().all(|common| common.len() >= PASSWORD_LENGTH_MIN && Password::choose(common).is_err()));
    }

    #[test]
    fn an_attempt_is_bounded_as_well() {
        assert!(Password::attempt("short").is_some());
        assert!(Password::attempt(&"x".repeat(128)).is_some());
        assert!(Password::attempt(&"x".repeat(129)).is_none());
    }

    #[test]
    fn a_password_does_not_show() {
        assert_eq!(format!("{:?}", Password::choose("correct horse battery").unwrap()), "Password");
    }
}
