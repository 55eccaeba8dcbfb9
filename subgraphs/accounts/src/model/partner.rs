//! What partners, their keys and their operations may be.

use super::Parsed;
use crate::DOMAIN_NAME;
use async_graphql::Enum;
use serde::{Deserialize, Serialize};
use std::fmt;
use velvet_kernel::{graph::Problems, time::derived_id, typed_id};

/// The most scopes of a key: with the longest of them a token still fits a header.
pub const SCOPES_MAX: usize = 32;
/// The longest name of a partner or of a client, in characters.
const NAME_LENGTH_MAX: usize = 80;
/// The longest id or name of an operation, in bytes.
const OPERATION_NAME_SIZE_MAX_BYTES: usize = 128;
/// The longest name of a subgraph in a scope, in bytes.
const SUBGRAPH_SIZE_MAX_BYTES: usize = 32;
/// What the entities of partners begin with.
const ENTITY: &str = "partner:";

typed_id!(
    /// A partner. It follows from the slug, so that a slug is one partner's.
    PartnerId
);

/// A partner's short name: 3 to 32 of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slug(String);

impl Slug {
    /// Reads a slug.
    pub fn parse(text: &str) -> Parsed<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (3..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must have 3 to 32 characters of a-z, 0-9 and -".into())
        }
    }

    /// The slug of a partner's entity.
    pub fn of_entity(entity: &str) -> Option<Self> {
        entity.strip_prefix(ENTITY).and_then(|slug| Self::parse(slug).ok())
    }

    /// What all facts about the partner are keyed by.
    pub fn entity(&self) -> String {
        format!("{ENTITY}{}", self.0)
    }

    /// The partner's id.
    pub fn id(&self) -> PartnerId {
        PartnerId(derived_id(&[DOMAIN_NAME, "partner", &self.0]))
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much a partner may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Requests in a second, in the long run: 1 to 10,000.
    pub requests_per_second: u32,
    /// Requests at once: 1 to 20,000.
    pub burst: u32,
    /// The sum of operations' costs in a minute: 1 to 100,000,000.
    pub cost_per_minute: u32,
    /// Requests in a calendar month: 1 to 2,000,000,000.
    pub monthly_quota: u64,
}

impl Default for Limits {
    /// What a partner gets whom nobody has thought about: an application with a few thousand users.
    fn default() -> Self {
        Self { requests_per_second: 50, burst: 100, cost_per_minute: 60_000, monthly_quota: 10_000_000 }
    }
}

/// What of the limits changes; the rest stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsChange {
    /// Requests in a second, in the long run.
    pub requests_per_second: Option<u32>,
    /// Requests at once.
    pub burst: Option<u32>,
    /// The sum of operations' costs in a minute.
    pub cost_per_minute: Option<u32>,
    /// Requests in a calendar month.
    pub monthly_quota: Option<u64>,
}

impl LimitsChange {
    /// Notes what is out of its bounds.
    pub fn check(&self, prefix: &str, problems: &mut Problems) {
        let parts = [
            ("requestsPerSecond", self.requests_per_second.map(u64::from), 10_000),
            ("burst", self.burst.map(u64::from), 20_000),
            ("costPerMinute", self.cost_per_minute.map(u64::from), 100_000_000),
            ("monthlyQuota", self.monthly_quota, 2_000_000_000),
        ];
        for (field, value, most) in parts {
            if value.is_some_and(|value| !(1..=most).contains(&value)) {
                problems.add(&format!("{prefix}.{field}"), format!("must be 1 to {most}"));
            }
        }
    }

    /// The limits after the change.
    pub fn applied(self, to: &Limits) -> Limits {
        Limits {
            requests_per_second: self.requests_per_second.unwrap_or(to.requests_per_second),
            burst: self.burst.unwrap_or(to.burst),
            cost_per_minute: self.cost_per_minute.unwrap_or(to.cost_per_minute),
            monthly_quota: self.monthly_quota.unwrap_or(to.monthly_quota),
        }
    }
}

/// What a key is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[graphql(name = "PartnerKeyMode")]
pub enum KeyMode {
    /// For trying things out.
    Test,
    /// For the partner's users.
    Live,
}

impl KeyMode {
    /// The mode as it stands in a key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Live => "live",
        }
    }

    /// The mode as it stands in a key, and as operators write it.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Test, Self::Live].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Enum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Reads.
    Query,
    /// Changes.
    Mutation,
    /// Follows.
    Subscription,
}

/// What a key is for: `<subgraph>:<query|mutation|subscription>`, or `*` for everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(pub String);

impl Scope {
    fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
        let sound = text == "*"
            || text.split_once(':').is_some_and(|(subgraph, kind)| {
                (1..=SUBGRAPH_SIZE_MAX_BYTES).contains(&subgraph.len())
                    && subgraph.bytes().all(allowed)
                    && matches!(kind, "query" | "mutation" | "subscription")
            });
        sound.then(|| Self(text.to_owned()))
    }
}

/// The scopes of a key: 1 to 32, in order and each once.
pub fn scopes<T: AsRef<str>>(texts: &[T]) -> Parsed<Vec<Scope>> {
    if !(1..=SCOPES_MAX).contains(&texts.len()) {
        return Err("must be 1 to 32 scopes".into());
    }
    let read = texts.iter().map(|text| Scope::parse(text.as_ref())).collect::<Option<Vec<Scope>>>();
    let mut scopes = read.ok_or("a scope is <subgraph>:<query|mutation|subscription>, or *")?;
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

/// A partner's name: trimmed, 1 to 80 characters, none of them a control character.
pub fn partner_name(text: &str) -> Parsed<String> {
    let name = text.trim();
    if (1..=NAME_LENGTH_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        Ok(name.to_owned())
    } else {
        Err("must have 1 to 80 characters, none of them a control character".into())
    }
}

/// The name of a partner's client, which may be empty.
pub fn client_name(text: &str) -> Parsed<String> {
    if text.trim().is_empty() { Ok(String::new()) } else { partner_name(text) }
}

/// An operation's id: 1 to 128 visible characters of ASCII.
pub fn operation_id(text: &str) -> Parsed<&str> {
    if (1..=OPERATION_NAME_SIZE_MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err("must have 1 to 128 visible characters of ASCII".into())
    }
}

/// An operation's name, as GraphQL writes names: 1 to 128 characters.
pub fn operation_name(text: &str) -> Parsed<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let sound = (1..=OPERATION_NAME_SIZE_MAX_BYTES).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with(|char: char| char.is_ascii_digit());
    if sound { Ok(text) } else { Err("must be a name of 1 to 128 letters, digits and _".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_has_3_to_32_plain_characters() {
        for good in ["abc", "acme-2", &"a".repeat(32)] {
            assert_eq!(Slug::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "ab", "Acme", "a b c", "a_b", "ácme", &"a".repeat(33)] {
            assert!(Slug::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entity_is_one_partners() {
        let acme = Slug::parse("acme").unwrap();
        assert_eq!(acme.entity(), "partner:acme");
        assert_eq!(Slug::of_entity("partner:acme"), Some(acme.clone()));
        assert_eq!(Slug::of_entity("00000000-0000-0000-0000-000000000001"), None);
        assert_eq!(acme.id(), Slug::parse("acme").unwrap().id());
        assert_ne!(acme.id(), Slug::parse("acme-2").unwrap().id());
    }

    #[test]
    fn scopes_are_bounded_ordered_and_each_once() {
        let read = |texts: &[&str]| scopes(texts).map(|scopes| scopes.into_iter().map(|scope| scope.0).collect());
        assert_eq!(
            read(&["messaging:subscription", "matching:query", "matching:query"]),
            Ok(vec!["matching:query".to_owned(), "messaging:subscription".to_owned()])
        );
        assert_eq!(read(&["*"]), Ok(vec!["*".to_owned()]));
        for bad in [&[][..], &["matching"], &["matching:read"], &[":query"], &["Matching:query"], &["*"; 33]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_learn_of_all_their_problems_at_once() {
        let mut problems = Problems::default();
        let none = LimitsChange {
            requests_per_second: Some(0),
            burst: Some(20_001),
            cost_per_minute: None,
            monthly_quota: Some(0),
        };
        none.check("limits", &mut problems);
        let fields: Vec<String> = velvet_kernel::graph::InputInvalid::from(problems)
            .fields
            .into_iter()
            .map(|problem| problem.field)
            .collect();
        assert_eq!(fields, ["limits.requestsPerSecond", "limits.burst", "limits.monthlyQuota"]);
    }

    #[test]
    fn an_operation_is_named_as_graphql_names_things() {
        for bad in ["", "1st", "a-b", "a b", &"a".repeat(129)] {
            assert!(operation_name(bad).is_err(), "{bad}");
        }
        assert!(operation_name("Deck_2").is_ok());
        assert!(operation_id("sha256:ab/c+d=").is_ok());
        assert!(operation_id("a b").is_err() && operation_id("").is_err());
    }
}
