//! Values of matching: pairs, profiles as the deck needs them, matches, quotas.

use async_graphql::Enum;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use velvet_kernel::{graph::Gender, id::UserId, time::derived_id, typed_id};

typed_id!(
    /// A match of two people.
    MatchId
);
typed_id!(
    /// A conversation that a match opens.
    ConversationId
);

/// What somebody says of somebody else's card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwipeAction {
    /// Yes.
    Like,
    /// No.
    Pass,
    /// Yes, and the other side is told so by the card's place and mark.
    SuperLike,
}

impl SwipeAction {
    /// Whether it counts for a mutual like.
    pub fn likes(self) -> bool {
        matches!(self, Self::Like | Self::SuperLike)
    }
}

/// Which side of the market somebody is on; the deck of one shows the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Side {
    /// Who looks for creators.
    Patron,
    /// Who looks for patrons.
    Creator,
}

impl Side {
    /// The side that this one looks for.
    #[must_use]
    pub fn sought(self) -> Self {
        match self {
            Self::Patron => Self::Creator,
            Self::Creator => Self::Patron,
        }
    }
}

/// Two people, whichever of them comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    low: UserId,
    high: UserId,
}

impl Pair {
    /// The pair of two different people; nobody is a pair with themselves.
    pub fn of(one: UserId, other: UserId) -> Option<Self> {
        match one.cmp(&other) {
            std::cmp::Ordering::Less => Some(Self { low: one, high: other }),
            std::cmp::Ordering::Greater => Some(Self { low: other, high: one }),
            std::cmp::Ordering::Equal => None,
        }
    }

    /// Reads the text of an entity.
    pub fn parse(entity: &str) -> Option<Self> {
        let (low, high) = entity.split_once(':')?;
        Self::of(UserId::parse(low)?, UserId::parse(high)?)
    }

    /// Both, the smaller id first.
    pub fn both(self) -> [UserId; 2] {
        [self.low, self.high]
    }

    /// The partner of one of the two; nothing for a stranger.
    pub fn other(self, one: UserId) -> Option<UserId> {
        match one {
            one if one == self.low => Some(self.high),
            one if one == self.high => Some(self.low),
            _ => None,
        }
    }

    /// The id of the one match that the two can have.
    pub fn match_id(self) -> MatchId {
        MatchId(derived_id(&["match", &self.low.to_string(), &self.high.to_string()]))
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.low, self.high)
    }
}

impl MatchId {
    /// The id of the conversation that this match opens.
    pub fn conversation(self) -> ConversationId {
        ConversationId(derived_id(&["conversation", &self.to_string()]))
    }
}

/// A place, already snapped to the grid of accounts: degrees north and east.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
}

/// Whom somebody wants to meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// Youngest age in years.
    pub age_min: u32,
    /// Oldest age in years.
    pub age_max: u32,
    /// Farthest distance in kilometres.
    pub distance_km_max: u32,
    /// Genders; none named means all.
    #[serde(default)]
    pub genders: Vec<Gender>,
    /// Only people whose identity was verified.
    pub verified_only: bool,
}

impl Preferences {
    /// The genders that are sought.
    pub fn sought_genders(&self) -> Vec<Gender> {
        const ALL: [Gender; 3] = [Gender::Female, Gender::Male, Gender::NonBinary];
        ALL.into_iter().filter(|gender| self.accepts_gender(*gender)).collect()
    }

    /// Whether a gender is sought.
    pub fn accepts_gender(&self, gender: Gender) -> bool {
        self.genders.is_empty() || self.genders.contains(&gender)
    }
}

/// What matching keeps of a user, to build decks from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Their side.
    pub side: Side,
    /// Their gender.
    pub gender: Gender,
    /// When they were born.
    pub birth_date: NaiveDate,
    /// Whom they want to meet.
    pub preferences: Preferences,
    /// Whether their identity was verified.
    pub verified: bool,
    /// Where they are; in no deck without.
    pub cell: Option<Point>,
    /// When they were last active.
    pub last_active_at: DateTime<Utc>,
}

impl Profile {
    /// The age in whole years on a day.
    pub fn age_on(&self, day: NaiveDate) -> u32 {
        // Born on 29 February: a year older on 1 March of other years.
        let birthday_passed = (day.month(), day.day()) >= (self.birth_date.month(), self.birth_date.day());
        let years = day.year() - self.birth_date.year() - i32::from(!birthday_passed);
        u32::try_from(years).unwrap_or(0)
    }
}

/// What has become of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchStatus {
    /// It stands.
    Active,
    /// One of the two ended it.
    Unmatched,
    /// One of the two blocked the other.
    Blocked,
}

/// A match as its views have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchDocument {
    /// Its id.
    pub match_id: MatchId,
    /// The partner with the smaller id.
    pub user_a_id: UserId,
    /// The partner with the larger id.
    pub user_b_id: UserId,
    /// When the second like came.
    pub matched_at: DateTime<Utc>,
    /// Its conversation, once that is open.
    pub conversation_id: Option<ConversationId>,
    /// What has become of it.
    pub status: MatchStatus,
}

impl MatchDocument {
    /// The partner of one of the two; nothing for a stranger.
    pub fn other(&self, user: UserId) -> Option<UserId> {
        Pair::of(self.user_a_id, self.user_b_id)?.other(user)
    }
}

/// The settings of this domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Likes and super likes that a user has per window; no limit without.
    pub likes_per_day: Option<u32>,
    /// Super likes that a user has per window, within the likes; no limit of their own without.
    pub super_likes_per_day: Option<u32>,
    /// When the count starts again.
    pub quota_window: QuotaWindow,
}

/// When the count of swipes starts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaWindow {
    /// At midnight, UTC.
    #[default]
    UtcDay,
    /// Each swipe counts for 24 hours.
    Rolling,
}

impl QuotaWindow {
    /// From when on swipes count.
    pub fn start(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::UtcDay => now.date_naive().and_time(chrono::NaiveTime::MIN).and_utc(),
            Self::Rolling => now - TimeDelta::days(1),
        }
    }

    /// When the count starts again, or the oldest swipe of a rolling window stops to count.
    pub fn resets_at(self, now: DateTime<Utc>, oldest: Option<DateTime<Utc>>) -> DateTime<Utc> {
        match self {
            Self::UtcDay => self.start(now) + TimeDelta::days(1),
            Self::Rolling => oldest.map_or(now, |oldest| oldest + TimeDelta::days(1)),
        }
    }
}

/// When an id of version 7 was made.
pub fn made_at(id: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    #[test]
    fn a_pair_is_the_same_from_both_sides() {
        let pair = Pair::of(user(2), user(1)).unwrap();
        assert_eq!(Some(pair), Pair::of(user(1), user(2)));
        assert_eq!(Some(pair), Pair::parse(&pair.to_string()));
        assert_eq!(pair.other(user(1)), Some(user(2)));
        assert_eq!(pair.other(user(3)), None);
        assert_eq!(Pair::of(user(1), user(1)), None);
        assert_eq!(Pair::parse("no pair"), None);
    }

    #[test]
    fn windows_start_and_end() {
        let now: DateTime<Utc> = "2026-02-03T04:05:06Z".parse().unwrap();
        assert_eq!(QuotaWindow::UtcDay.start(now).to_rfc3339(), "2026-02-03T00:00:00+00:00");
        assert_eq!(QuotaWindow::UtcDay.resets_at(now, None).to_rfc3339(), "2026-02-04T00:00:00+00:00");
        let oldest = now - TimeDelta::hours(23);
        assert_eq!(QuotaWindow::Rolling.resets_at(now, Some(oldest)), now + TimeDelta::hours(1));
        assert_eq!(QuotaWindow::Rolling.resets_at(now, None), now);
    }

    #[test]
    fn ids_tell_when_they_were_made() {
        let id = velvet_kernel::time::fresh_id();
        assert!(made_at(id).unwrap() > "2024-01-01T00:00:00Z".parse::<DateTime<Utc>>().unwrap());
        assert_eq!(made_at(Uuid::from_u128(7)), None);
    }
}
